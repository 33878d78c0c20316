"""What left etcd: explained by a transaction of the protocol, or lost. Of pins and sweeps, one is too many."""

from __future__ import annotations

from leasehold.control_plane.core.index import Index
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder, LeaseId, OwnerName, Resource, ResourceId, Revision, Tenant, TypeName
from leasehold.protocol.records import (
    HoldRecord,
    PinRecord,
    ResourceRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    encode,
)
from leasehold.protocol.store import Change, Event, KeyValue
from leasehold.protocol.transactions import PINNED

KEYS = Keyspace(Tenant("t"))
X = Resource(OwnerName("o"), TypeName("t"), ResourceId("x"))
A = Holder("a@1~1")
RECORD, HOLD = encode(ResourceRecord("uid:1", "rule", "1s", A)), encode(HoldRecord("b", 1))
PIN, PINS_HOLD = encode(PinRecord("me", "why")), encode(HoldRecord("", 0, "pin"))
STONE = encode(TombstoneRecord("uid:1", "unheld", 1))
SWEEP = encode(SweepRecord(SweepState.SENT, "uid:1", 1, 1, 3, "1s/1", attempt=1))


class Told:
    """An index that is told what is put and what goes, one revision after another."""

    def __init__(self) -> None:
        self.index, self.revision = Index(KEYS), 0
        self.put((KEYS.record(X), RECORD), (KEYS.hold(X, A), HOLD))

    def put(self, *items: tuple[bytes, bytes]) -> None:
        self._apply(Change.PUT, items)

    def gone(self, *keys: bytes) -> None:
        self._apply(Change.DELETE, [(key, b"") for key in keys])

    def _apply(self, change: Change, items: object) -> None:
        self.revision += 1
        at = Revision(self.revision)
        for key, value in items:  # type: ignore[attr-defined]
            self.index.apply(Event(change, KeyValue(key, value, at, at, 1, LeaseId(0))))

    def dire(self) -> list[tuple[str, Resource]]:
        return list(self.index.departures.take().dire(self.index.entry))

    def pinned(self) -> Told:
        self.put((KEYS.pin(X), PIN), (KEYS.hold(X, PINNED), PINS_HOLD))
        return self

    def swept(self) -> Told:
        self.put((KEYS.tombstone(X), STONE))
        self.put((KEYS.sweep(X), SWEEP))
        return self


def test_a_pin_that_went_without_its_hold_is_dire_and_so_is_the_hold_without_the_pin() -> None:
    for lost in (KEYS.pin(X), KEYS.hold(X, PINNED)):
        told = Told().pinned()
        told.gone(lost)
        assert told.dire() == [("pin", X)]


def test_an_unpin_and_an_app_that_deletes_what_is_pinned_are_explained() -> None:
    told = Told().pinned()
    told.gone(KEYS.pin(X), KEYS.hold(X, PINNED))
    assert told.dire() == []
    told = Told().pinned()
    told.gone(KEYS.record(X), KEYS.hold(X, A))
    taken = told.index.departures.take()
    assert list(taken.lost(told.index.entry, told.index.holder)) == []


def test_a_sweep_that_went_while_its_tombstone_stands_is_dire() -> None:
    told = Told().swept()
    told.gone(KEYS.sweep(X))
    assert told.dire() == [("sweep", X)]


def test_a_sweep_that_was_finished_or_aborted_is_explained() -> None:
    told = Told().swept()
    told.gone(KEYS.sweep(X), KEYS.tombstone(X), KEYS.record(X), KEYS.hold(X, A))
    assert told.dire() == []
    told = Told().swept()
    told.gone(KEYS.sweep(X), KEYS.tombstone(X))
    told.put((KEYS.tombstone(X), STONE))
    assert told.dire() == [], "condemned anew before anybody looked"


def test_a_lost_pin_keeps_what_it_kept() -> None:
    told = Told()
    told.pinned()
    told.gone(KEYS.pin(X))
    entry = told.index.entry(X)
    assert entry is not None
    assert entry.step is None
    assert entry.facts.holding.value == "unaccounted"
