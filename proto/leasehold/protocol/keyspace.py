"""Every key and prefix of the protocol, built and parsed here and nowhere else.

Layout: ``/leasehold/1/<tenant>/<family>/...``. Every component is percent-encoded (all but ``A-Za-z0-9._~-``), so no
id can forge a key, contain a slash or run into its neighbour: the mapping is injective and, because components never
contain a slash, a prefix that ends in one is prefix-free. ``tests/properties/test_keyspace.py`` holds both to that.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from urllib.parse import quote, unquote
from zlib import crc32

import msgspec

from leasehold.protocol.names import (
    CallId,
    ClassName,
    Holder,
    OwnerName,
    Resource,
    RuleName,
    ServiceName,
    Tenant,
    TypeName,
)
from leasehold.protocol.store import KeyRange

ROOT = b"/leasehold/1/"


class Family(Enum):
    """The first component after the tenant: what kind of fact a key is."""

    BEACONS = "beacons"
    ROSTER = "roster"
    RESOURCES = "resources"
    HOLDS = "holds"
    REFS = "refs"
    INTENTS = "intents"
    TOMBSTONES = "tombstones"
    EPOCHS = "epochs"
    EPOCH_LEASES = "epoch-leases"
    NOTICES = "notices"
    SWEEPS = "sweeps"
    GRAVES = "graves"
    PINS = "pins"
    SHARDS = "shards"
    REPLICAS = "replicas"
    CONTROL = "control"
    OWNERS = "owners"
    RULES = "rules"
    SHADOWS = "shadows"
    HASTES = "hastes"
    AUDIT = "audit"

    __hash__ = object.__hash__  # there is one of each, and they are looked up for every key


_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")
_is_plain = _PLAIN.fullmatch
_DEPTHS = {
    Family.BEACONS: 1, Family.ROSTER: 1, Family.RESOURCES: 3, Family.HOLDS: 4, Family.REFS: 6, Family.INTENTS: 2,
    Family.TOMBSTONES: 3, Family.EPOCHS: 2, Family.EPOCH_LEASES: 2, Family.SWEEPS: 3, Family.GRAVES: 3,
    Family.NOTICES: 3, Family.PINS: 3, Family.SHARDS: 1, Family.REPLICAS: 1, Family.CONTROL: 1, Family.OWNERS: 1,
    Family.RULES: 1, Family.SHADOWS: 1, Family.HASTES: 3, Family.AUDIT: 1,
}  # fmt: skip
_SHAPES: dict[str, tuple[Family | None, int]] = {family.value: (family, depth) for family, depth in _DEPTHS.items()}
_NO_SHAPE = (None, 0)


class Key(msgspec.Struct, frozen=True, gc=False):
    """A key taken apart: its family and decoded components."""

    family: Family
    parts: tuple[str, ...]

    @property
    def resource(self) -> Resource:
        """The resource this key is about (families below ``<res>`` only)."""
        return _resource(self.parts[:3])

    @property
    def holder(self) -> Holder:
        """The holder this key is about: of a beacon, roster entry, intent or hold."""
        return self.parts[3] if self.family is Family.HOLDS else self.parts[0]  # type: ignore[return-value]

    @property
    def source(self) -> Resource:
        """Of an inbound reference: the resource that refers."""
        return _resource(self.parts[3:6])


def _resource(parts: tuple[str, ...]) -> Resource:
    # Past the named tuple's own constructor, which is not compiled: a million of these are made at a start.
    return tuple.__new__(Resource, parts)


@lru_cache(maxsize=4096)
def _encode(component: str) -> bytes:
    if not component:
        raise ValueError("an empty key component")
    if _PLAIN.fullmatch(component):
        return component.encode("ascii")  # most are, and ``quote`` takes three times as long to find out
    return quote(component, safe="").encode("ascii")


@lru_cache(maxsize=16384)  # mostly holders, which have an ``@``
def _decode(part: str) -> str | None:
    """What ``_encode`` makes this of; ``None``: nothing."""
    try:
        component = unquote(part, errors="strict")
    except UnicodeDecodeError:
        return None
    return component if component and quote(component, safe="") == part else None


@lru_cache(maxsize=256)  # one registration builds four keys of the same resource
def _path(resource: Resource) -> bytes:
    # The id past the cache of components: it is hardly ever seen again.
    return b"%s/%s/%s" % (_encode(resource.owner), _encode(resource.type), _encode.__wrapped__(resource.id))


@lru_cache(maxsize=16384)  # whoever works on a resource asks for it several times
def shard_of(resource: Resource, shards: int) -> int:
    """Which of a tenant's ``shards`` a resource belongs to: CRC-32 of its path as it stands in keys, modulo.

    It must never change: replicas that disagree would act on one resource under two fences.
    """
    return crc32(_path.__wrapped__(resource)) % shards


def shard_of_class(name: ClassName, shards: int) -> int:
    """Which shard's holder measures the epochs of a grace class."""
    return crc32(_encode(name)) % shards


class Keyspace:
    """The keys of one tenant."""

    __slots__ = ("_base", "_families", "_last", "tenant")

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self._base = base = ROOT + _encode(tenant) + b"/"
        self._families = {family: base + family.value.encode() + b"/" for family in Family}
        self._last: tuple[Resource | None, bytes] = (None, b"")

    # --- ranges -----------------------------------------------------------------------------------------------

    @property
    def everything(self) -> KeyRange:
        """All keys of this tenant."""
        return KeyRange.under(ROOT + _encode(self.tenant) + b"/")

    def family(self, family: Family) -> KeyRange:
        """All keys of one family."""
        return KeyRange.under(self._families[family])

    def holds_of(self, resource: Resource) -> KeyRange:
        """Every hold on a resource."""
        return KeyRange.under(self._resource(Family.HOLDS, resource) + b"/")

    def refs_to(self, resource: Resource) -> KeyRange:
        """Every inbound reference of a resource."""
        return KeyRange.under(self._resource(Family.REFS, resource) + b"/")

    def tombstones_of(self, owner: OwnerName, kind: TypeName) -> KeyRange:
        """Every tombstone of one owner's type."""
        return KeyRange.under(b"%s%s/%s/" % (self._families[Family.TOMBSTONES], _encode(owner), _encode(kind)))

    def sweeps_of(self, owner: OwnerName, kind: TypeName) -> KeyRange:
        """Every sweep of one owner's type."""
        return KeyRange.under(b"%s%s/%s/" % (self._families[Family.SWEEPS], _encode(owner), _encode(kind)))

    def intents_of(self, holder: Holder) -> KeyRange:
        """Every intent of a holder."""
        return KeyRange.under(self._families[Family.INTENTS] + _encode(holder) + b"/")

    def epochs_of(self, name: ClassName) -> KeyRange:
        """Every epoch of a class."""
        return KeyRange.under(self._families[Family.EPOCHS] + _encode(name) + b"/")

    def of_owner(self, family: Family, owner: OwnerName) -> KeyRange:
        """Every key of one family (below ``<res>`` only) about one owner's resources."""
        return KeyRange.under(b"%s%s/" % (self._families[family], _encode(owner)))

    def of_service(self, family: Family, service: ServiceName) -> tuple[bytes | KeyRange, ...]:
        """The keys of one family (by holder) of a service's holders: itself, its timers, its processes. Nothing else:
        a name holds neither ``%`` nor a slash, so that ``web`` does not reach ``web-2``."""
        base = self._families[family] + _encode(service)
        whole = KeyRange.under(base + b"/") if family is Family.INTENTS else base
        timers, processes = (base + quote(mark, safe="").encode("ascii") for mark in "!@")
        return whole, *(KeyRange(start, start[:-1] + bytes((start[-1] + 1,))) for start in (timers, processes))

    # --- single keys ------------------------------------------------------------------------------------------

    def beacon(self, holder: Holder) -> bytes:
        return self._families[Family.BEACONS] + _encode(holder)

    def roster(self, holder: Holder) -> bytes:
        return self._families[Family.ROSTER] + _encode(holder)

    def record(self, resource: Resource) -> bytes:
        return self._resource(Family.RESOURCES, resource)

    def hold(self, resource: Resource, holder: Holder) -> bytes:
        return self._resource(Family.HOLDS, resource) + b"/" + _encode(holder)

    def ref(self, target: Resource, source: Resource) -> bytes:
        """The index entry "``source`` needs ``target``"."""
        return self._resource(Family.REFS, target) + b"/" + _path(source)

    def intent(self, holder: Holder, call: CallId) -> bytes:
        return self._families[Family.INTENTS] + _encode(holder) + b"/" + _encode(call)

    def tombstone(self, resource: Resource) -> bytes:
        return self._resource(Family.TOMBSTONES, resource)

    def epoch(self, name: ClassName, number: int) -> bytes:
        # Zero-padded, so that key order is epoch order.
        return self._families[Family.EPOCHS] + _encode(name) + b"/%012d" % number

    def epoch_lease(self, name: ClassName, number: int) -> bytes:
        return self._families[Family.EPOCH_LEASES] + _encode(name) + b"/%012d" % number

    def sweep(self, resource: Resource) -> bytes:
        return self._resource(Family.SWEEPS, resource)

    def notice(self, resource: Resource) -> bytes:
        return self._resource(Family.NOTICES, resource)

    def grave(self, resource: Resource) -> bytes:
        return self._resource(Family.GRAVES, resource)

    def pin(self, resource: Resource) -> bytes:
        return self._resource(Family.PINS, resource)

    def haste(self, resource: Resource) -> bytes:
        """The leased key that shortens the grace of one tombstone."""
        return self._resource(Family.HASTES, resource)

    def audit(self, name: str) -> bytes:
        """The leased key of one entry; names sort by time."""
        return self._families[Family.AUDIT] + _encode(name)

    def shard(self, number: int) -> bytes:
        return self._families[Family.SHARDS] + b"%d" % number

    def replica(self, name: str) -> bytes:
        """The leased key of a control plane that is alive."""
        return self._families[Family.REPLICAS] + _encode(name)

    @property
    def armed(self) -> bytes:
        return self._families[Family.CONTROL] + b"armed"

    @property
    def cluster(self) -> bytes:
        return self._families[Family.CONTROL] + b"cluster"

    def control(self, name: str) -> bytes:
        """Any key of ``control/`` by its last component."""
        return self._families[Family.CONTROL] + _encode(name)

    @property
    def tripped(self) -> bytes:
        """Who took ``armed`` away, and why."""
        return self._families[Family.CONTROL] + b"tripped"

    @property
    def window(self) -> bytes:
        """What vanished lately without a word."""
        return self._families[Family.CONTROL] + b"window"

    @property
    def canary(self) -> bytes:
        return self._families[Family.CONTROL] + b"canary"

    def events(self, sink: str) -> bytes:
        """How far a receiver of events was told."""
        return self._families[Family.CONTROL] + b"events-" + _encode(sink)

    def shadow(self, name: RuleName) -> bytes:
        """What a rule that may not sweep would have swept."""
        return self._families[Family.SHADOWS] + _encode(name)

    @property
    def objects(self) -> bytes:
        """Which owners and rules came from Kubernetes objects."""
        return self._families[Family.CONTROL] + b"objects"

    def owner(self, name: OwnerName) -> bytes:
        return self._families[Family.OWNERS] + _encode(name)

    def rule(self, name: RuleName) -> bytes:
        return self._families[Family.RULES] + _encode(name)

    # --- and back ---------------------------------------------------------------------------------------------

    def parse(self, key: bytes) -> Key | None:
        """Take a key of this tenant apart; ``None`` for anything that ``Keyspace`` would not have built."""
        if not key.startswith(self._base):
            return None
        try:
            first, *parts = key[len(self._base) :].decode("ascii").split("/")
        except UnicodeDecodeError:
            return None
        family, depth = _SHAPES.get(first, _NO_SHAPE)
        if family is None or len(parts) != depth:
            return None
        for n, part in enumerate(parts):
            if not _is_plain(part):
                component = _decode(part)
                if component is None:
                    return None  # another spelling of a key of ours
                parts[n] = component
        return Key(family, tuple(parts))

    @staticmethod
    def _path(resource: Resource) -> bytes:
        return b"%s/%s/%s" % (_encode(resource.owner), _encode(resource.type), _encode(resource.id))

    def _resource(self, family: Family, resource: Resource) -> bytes:
        # A transaction builds several keys of one resource in a row; quoting is most of the work.
        last, path = self._last
        if resource is not last:
            path = self._path(resource)
            self._last = (resource, path)
        return self._families[family] + path
