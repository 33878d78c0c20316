"""What an observed call meant: the values that leave the observers."""

from __future__ import annotations

import msgspec

from leasehold.protocol.names import CallId, Resource
from leasehold.protocol.rules import Rule


class Creation(msgspec.Struct, frozen=True):
    """The owner created (or confirmed) a resource for us.

    ``incarnation`` tells it from a later one with the same id: the owner's uid or ETag where the rule names or the
    answer shows one, else ``call:<call>``.
    """

    rule: Rule
    resource: Resource
    incarnation: str
    call: CallId
    trace: str = ""
    """The call's trace context, or else its request id; empty: it had neither."""
    references: tuple[Resource, ...] = ()
    """What it needs. Where that could not be read: everything of those types, and ``doubt`` says why."""
    doubt: str = ""
    """A metric label: ``references-unreadable`` or ``references-too-many``; empty: none."""


class Use(msgspec.Struct, frozen=True):
    """A call used a resource: whoever holds by use holds it now."""

    rule: Rule
    resource: Resource


class Deletion(msgspec.Struct, frozen=True):
    """The app deleted the resource itself."""

    rule: Rule
    resource: Resource


Observation = Creation | Use | Deletion


class Unusable(msgspec.Struct, frozen=True):
    """A call matched a rule, but no id could be had from it; nothing is registered. ``reason`` is a metric label:
    ``no-id``, ``not-text``, ``empty``, ``too-long``, ``not-utf8``, ``control-characters``, ``unsafe-path``,
    ``pattern``, ``body-too-large``, ``body-unreadable``, ``no-descriptor``, ``aborted``; or ``crashed``, which is a bug
    of ours."""

    rule: Rule
    reason: str
