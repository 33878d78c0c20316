"""What an observed call meant: the values that leave the observers."""

from __future__ import annotations

from dataclasses import dataclass

from leasehold.protocol.names import CallId, Resource
from leasehold.protocol.rules import Rule


@dataclass(frozen=True, slots=True)
class Creation:
    """The owner created (or confirmed) a resource for us.

    ``incarnation`` tells it from a later one with the same id: the owner's uid or ETag where the rule names or the
    answer shows one, else ``call:<call>``.
    """

    rule: Rule
    resource: Resource
    incarnation: str
    call: CallId
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """A call used a resource: whoever holds by use holds it now."""

    rule: Rule
    resource: Resource


@dataclass(frozen=True, slots=True)
class Deletion:
    """The app deleted the resource itself."""

    rule: Rule
    resource: Resource


Observation = Creation | Use | Deletion


@dataclass(frozen=True, slots=True)
class Unusable:
    """A call matched a rule, but no id could be had from it; nothing is registered. ``reason`` is a metric label:
    ``no-id``, ``not-text``, ``empty``, ``too-long``, ``not-utf8``, ``control-characters``, ``unsafe-path``,
    ``pattern``, ``body-too-large``, ``body-unreadable``, ``no-descriptor``, ``aborted``; or ``crashed``, which is a bug
    of ours."""

    rule: Rule
    reason: str
