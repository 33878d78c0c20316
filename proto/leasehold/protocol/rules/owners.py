"""Owners: how one is reached, and how a resource is looked at and deleted there."""

from __future__ import annotations

from enum import StrEnum

from msgspec import field

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.lookups import Inventory, Lookup
from leasehold.protocol.requests import GrpcCall
from leasehold.protocol.rules.proving import Auth
from leasehold.protocol.rules.sources import Model, Source


class Precondition(StrEnum):
    """What keeps a late delete from hitting a re-created namesake."""

    IF_MATCH = "if-match"
    NEVER_REUSED = "never-reused"
    NONE = "none"


class Tls(Model, frozen=True):
    """How to reach an ``https`` endpoint: files in PEM. Without ``ca`` the system's certificates are trusted."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None


class DeleteCall(Model, frozen=True):
    """How a resource is deleted: by HTTP (``path``) or by a gRPC method. ``unsafe: true`` allows sweeping with
    ``precondition: none``."""

    path: str = ""
    method: str = "DELETE"
    precondition: Precondition = Precondition.NONE
    unsafe: bool = False
    grpc: GrpcCall | None = None


class ReadCall(Model, frozen=True):
    """How a resource is looked at: by HTTP (``path``) or by a gRPC method.

    ``incarnation``: where the answer tells it; by HTTP the default is the ETag header. ``etag``, by gRPC only: where
    the answer tells what a delete is conditional on; default is the incarnation's field, which then counts as an ETag.
    """

    path: str = ""
    method: str = "GET"
    incarnation: Source | None = None
    grpc: GrpcCall | None = None
    etag: Source | None = None


class VerifyCall(Model, frozen=True):
    """Asks the owner, by HTTP, whether a resource is in use after all.

    ``in_use`` and ``not_in_use`` are status codes; ``json`` is a JMESPath expression over the body of any other 2xx
    answer: ``true`` is in use, ``false`` is not. Whatever else is answered is unknown, and keeps.
    """

    path: str
    method: str = "GET"
    in_use: tuple[int, ...] = ()
    not_in_use: tuple[int, ...] = ()
    json: str | None = None


class NoticeCall(Model, frozen=True):
    """Tells the owner, by HTTP, that a resource is condemned, or is not any more. Repeating it must be harmless."""

    path: str
    method: str = "POST"


class Limits(Model, frozen=True):
    """What one owner is asked to bear, and how long a call to it may take."""

    concurrency: int = 16
    per_second: float = 200.0
    timeout: Seconds = Seconds(10.0)


class Retries(Model, frozen=True):
    """How long one owner is asked the same again. The waits are random parts (full jitter) of a ceiling that doubles
    from ``first`` to ``longest``.

    ``budget``: about how long they add up to, on average, before a resource is quarantined; it is counted in attempts,
    which are stored, and so survives restarts and asks no wall clock. ``refusals``: how often one resource may be
    refused. ``slow``: about how often what is quarantined is tried again, for ever.
    """

    first: Seconds = Seconds(1.0)
    longest: Seconds = Seconds(3600.0)
    budget: Seconds = Seconds(172800.0)
    refusals: int = 5
    slow: Seconds = Seconds(3600.0)


class Calls(Model, frozen=True):
    """The calls about one type, where they differ from the owner's; and how all of the type are listed."""

    delete: DeleteCall | None = None
    read: ReadCall | None = None
    verify: VerifyCall | None = None
    condemn: NoticeCall | None = None
    restore: NoticeCall | None = None
    lookup: Lookup | None = None
    inventory: Inventory | None = None


_NOTHING_SPECIAL = Calls()


class Owner(Model, frozen=True):
    """A service that stores resources and can delete them.

    ``hosts`` are the authorities or addresses by which callers reach it; ``endpoint`` is where the collector calls
    it. What proves who asks goes along with the collector's own calls only: ``headers``, ``header_files`` (a header's
    value each), and one of ``bearer_token_file`` and ``auth``. ``descriptor_set`` is a file that
    ``protoc --include_imports --descriptor_set_out`` wrote; it names the fields of gRPC messages.
    """

    name: str
    hosts: tuple[str, ...]
    endpoint: str
    delete: DeleteCall | None = None
    read: ReadCall | None = None
    verify: VerifyCall | None = None
    condemn: NoticeCall | None = None
    restore: NoticeCall | None = None
    lookup: Lookup | None = None
    types: dict[str, Calls] = field(default_factory=dict)
    limits: Limits = Limits()
    retries: Retries = Retries()
    tls: Tls | None = None
    bearer_token_file: str | None = None
    auth: Auth | None = None
    header_files: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    descriptor_set: str | None = None

    @property
    def speaks_grpc(self) -> bool:
        """Whether any of its calls is a gRPC call."""
        every = (Calls(self.delete, self.read), *self.types.values())
        return any(call is not None and call.grpc is not None for calls in every for call in (calls.delete, calls.read))

    @property
    def is_asked(self) -> bool:
        """Whether it is asked, of any type, whether something is in use."""
        return self.verify is not None or any(calls.verify is not None for calls in self.types.values())

    def _special(self, kind: str) -> Calls:
        """What is declared for this type alone; what is not declared there is as for all."""
        return self.types.get(kind, _NOTHING_SPECIAL)

    def delete_of(self, kind: str) -> DeleteCall | None:
        """How resources of this type are deleted; ``None`` if they cannot be."""
        return self._special(kind).delete or self.delete

    def read_of(self, kind: str) -> ReadCall | None:
        """How resources of this type are looked at; ``None`` if they cannot be."""
        return self._special(kind).read or self.read

    def verify_of(self, kind: str) -> VerifyCall | None:
        """How it is asked whether a resource of this type is in use; ``None`` if it cannot be asked."""
        return self._special(kind).verify or self.verify

    def condemn_of(self, kind: str) -> NoticeCall | None:
        """How it is told that a resource of this type is condemned; ``None`` if it wants no notice."""
        return self._special(kind).condemn or self.condemn

    def restore_of(self, kind: str) -> NoticeCall | None:
        """How it is told that a resource of this type is not condemned any more."""
        return self._special(kind).restore or self.restore

    def lookup_of(self, kind: str) -> Lookup | None:
        """How one asks what became of a call that creates this type; ``None`` if one cannot."""
        return self._special(kind).lookup or self.lookup
