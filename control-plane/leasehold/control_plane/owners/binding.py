"""The calls that an owner's document describes, bound to its descriptor set, which is read again when it changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leasehold.control_plane.owners.outcome import Verdict
from leasehold.control_plane.owners.visit import Sign
from leasehold.protocol.grpc_calls import FieldReader, UnaryCall
from leasehold.protocol.protobuf import BadSchema, Schema
from leasehold.protocol.rules import Owner, Source


@dataclass(frozen=True, slots=True)
class Bound:
    """How resources of one type are deleted and looked at, and what an answer to a look shows."""

    delete: UnaryCall
    read: UnaryCall | None
    uid: FieldReader | None
    etag: FieldReader | None

    def shown(self, message: bytes) -> tuple[str | None, dict[str, Sign]]:
        """The etag to delete by, and what tells the incarnation.

        Where only one field tells both, it is an etag: another value may be the same thing changed by somebody.
        """
        uid = None if self.uid is None else self.uid.read(message)
        if self.etag is None:
            only = Sign(uid, Verdict.REFUSED)
            return uid, {"uid": only, "etag": only}
        etag = self.etag.read(message)
        signs = {"etag": Sign(etag, Verdict.REFUSED)}
        if self.uid is not None:
            signs["uid"] = Sign(uid, Verdict.REPLACED)
        return etag, signs


class Binding:
    """One owner's."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._schema: Schema | None = None
        self._seen = -1.0
        self._bound: dict[str, Bound] = {}

    def of(self, kind: str) -> Bound:
        """For resources of this type. Raises ``OSError`` when the descriptor set cannot be read, ``BadSchema`` when it
        does not have what the document names."""
        schema = self._current()
        found = self._bound.get(kind)
        if found is None:
            found = self._bound[kind] = self._bind(kind, schema)
        return found

    def _current(self) -> Schema:
        if self._owner.descriptor_set is None:
            raise BadSchema("the owner has no descriptor_set")
        path = Path(self._owner.descriptor_set)
        changed = path.stat().st_mtime
        if self._schema is None or changed != self._seen:
            self._bound.clear()
            self._schema, self._seen = Schema(path.read_bytes()), changed
        return self._schema

    def _bind(self, kind: str, schema: Schema) -> Bound:
        delete, read = self._owner.delete_of(kind), self._owner.read_of(kind)
        if delete is None or delete.grpc is None or (read is not None and read.grpc is None):
            raise BadSchema(f"expected delete (and read) of type {kind} by gRPC")
        call = UnaryCall(delete.grpc, schema)
        if read is None or read.grpc is None:
            return Bound(call, None, None, None)
        look = UnaryCall(read.grpc, schema)
        return Bound(call, look, _reader(read.incarnation, look), _reader(read.etag, look))


def _reader(source: Source | None, call: UnaryCall) -> FieldReader | None:
    return None if source is None or source.grpc is None else FieldReader(source.grpc, call.method)
