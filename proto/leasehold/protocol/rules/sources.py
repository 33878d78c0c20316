"""Where a text comes from in a call: an id, an incarnation, an ETag."""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all models of a rule file share: nothing unknown is let in, nothing that is a default is written out."""


class Side(StrEnum):
    """Which half of a call."""

    REQUEST = "request"
    RESPONSE = "response"


class Message(Model, frozen=True, rename={"side": "from"}):
    """A field of a gRPC message, from the outside in: by numbers (``"1.2"``), or by names (``"blob.id"``), for which
    the owner needs a ``descriptor_set``. Of a stream of messages the first is meant."""

    field: str
    side: Side = Side.RESPONSE

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The path in numbers; ``None`` where it is given in names."""
        parts = self.field.split(".")
        return tuple(int(part) for part in parts) if all(re.fullmatch("[0-9]{1,9}", part) for part in parts) else None


class Source(Model, frozen=True):
    """Where a text comes from in a call: exactly one of the first four.

    ``json``: a JMESPath expression over the response body. ``header``: a response header (in gRPC: metadata), its whole
    value or what ``pattern`` (a path template) finds in it. ``path``: a variable of the rule's path. ``grpc``: a field
    of a gRPC message.
    """

    json: str | None = None
    header: str | None = None
    path: str | None = None
    grpc: Message | None = None
    pattern: str | None = None
