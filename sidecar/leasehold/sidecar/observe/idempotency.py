"""By which key an owner will know a call, when its rule wants one: the app's own, or ours. Pure.

Ours is the call id, which nobody can guess. Where the app sends the header itself, its value is left alone and nothing
is added; the intent then records that value, if it is one that can be recorded: said once, short, printable. It only
ever becomes part of a record, never of a key in etcd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from leasehold.protocol.idempotency import IdempotencyKey
from leasehold.protocol.names import CallId

MAX_KEY: Final = 256
"""Bytes of an app's own key."""
FIELD_OVERHEAD: Final = 32
"""What a field counts in SETTINGS_MAX_HEADER_LIST_SIZE besides its name and value (RFC 9113, 6.5.2)."""


@dataclass(frozen=True, slots=True)
class Key:
    """``value``: what the owner will know the call by; empty: nothing that we could record.

    ``outcome``, for people: ``inserted``; ``from-app`` or ``from-app-unusable``, which are left alone; or why nothing
    can be inserted: ``head-gone``, a part of the head went on before the rule was known, or ``head-too-large``, it
    would be more than the owner said it takes.
    """

    value: str
    outcome: str


def key_of(
    wanted: IdempotencyKey, call: CallId, said: Callable[[bytes], Sequence[bytes]], obstacle: Callable[[int], str]
) -> Key:
    """``said``: the app's values of a header, by lower-case name. ``obstacle``: why a field of so many bytes, counted
    as HTTP/2 does, cannot be added; or nothing."""
    field = wanted.field
    values = said(field)
    if values:
        value = values[0]
        usable = len(values) == 1 and 0 < len(value) <= MAX_KEY and value.isascii() and value.decode().isprintable()
        return Key(value.decode(), "from-app") if usable else Key("", "from-app-unusable")
    why = obstacle(len(field) + len(call) + FIELD_OVERHEAD)
    return Key("", why) if why else Key(call, "inserted")
