"""A haste shortens the grace of one tombstone, and of no other."""

from __future__ import annotations

from leasehold.control_plane.core.epochs import Seen
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State, Step, state_of
from leasehold.control_plane.core.verdict import Evidence, Keep, Ripe, ripe
from leasehold.protocol import transactions as tx
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import (
    ClassName,
    Holder,
    LeaseId,
    OwnerName,
    Resource,
    ResourceId,
    Revision,
    Tenant,
    TypeName,
)
from leasehold.protocol.records import (
    EpochRecord,
    HasteRecord,
    HolderKind,
    HoldRecord,
    ResourceRecord,
    RosterRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    encode,
)  # fmt: skip
from leasehold.protocol.store import Change, Event, KeyValue
from leasehold.protocol.transactions import EpochFound

KEYS = Keyspace(Tenant("t"))
IT = Resource(OwnerName("store"), TypeName("blob"), ResourceId("x"))
HOLDER = Holder("svc@a~1")
RECORD = ResourceRecord("i", "make", "3600s", HOLDER)


def item(key: bytes, value: bytes, revision: int) -> KeyValue:
    return KeyValue(key, value, Revision(revision), Revision(revision), 1, LeaseId(0))


def index_of(*events: tuple[bytes, bytes, int]) -> Index:
    index = Index(KEYS)
    for key, value, revision in events:
        put(index, key, value, revision)
    return index


def put(index: Index, key: bytes, value: bytes, revision: int) -> None:
    index.apply(Event(Change.PUT, item(key, value, revision)))


def drop(index: Index, key: bytes, revision: int) -> None:
    index.apply(Event(Change.DELETE, item(key, b"", revision)))


def haste(tombstone: int) -> bytes:
    return encode(HasteRecord("ada", "disk", tombstone))


CONDEMNED = (
    (KEYS.record(IT), encode(RECORD), 2),
    (KEYS.hold(IT, HOLDER), encode(HoldRecord("b", 1)), 2),
    (KEYS.roster(HOLDER), encode(RosterRecord("svc", "a", HolderKind.PROCESS, "b", 60)), 3),
    (KEYS.tombstone(IT), encode(TombstoneRecord("i", "1 dead", 3)), 5),
)
DONE = (KEYS.epoch(ClassName("1s"), 1), encode(EpochRecord(1.0, 7, done=True)), 9)


def test_a_done_epoch_of_the_short_class_counts_for_what_was_hastened_only() -> None:
    index = index_of(*CONDEMNED, DONE)
    assert index.step_of(IT) is None
    put(index, KEYS.haste(IT), haste(5), 10)
    assert index.step_of(IT) is Step.PREPARE
    drop(index, KEYS.haste(IT), 11)
    assert index.step_of(IT) is None
    assert index.entry(IT).grace_class == "3600s"  # type: ignore[union-attr]


def test_a_haste_of_another_tombstone_hastens_nothing() -> None:
    index = index_of(*CONDEMNED, DONE)
    put(index, KEYS.haste(IT), haste(4), 10)
    assert index.step_of(IT) is None


def test_a_later_tombstone_has_its_whole_grace() -> None:
    index = index_of(*CONDEMNED, DONE)
    put(index, KEYS.haste(IT), haste(5), 10)
    drop(index, KEYS.tombstone(IT), 11)
    entry = index.entry(IT)
    assert entry is not None
    assert entry.grace_class == "3600s"
    put(index, KEYS.tombstone(IT), encode(TombstoneRecord("i", "1 dead", 11)), 12)
    assert entry.grace_class == "3600s"
    assert state_of(entry.facts) is State.CONDEMNED


def test_a_haste_that_is_known_before_its_resource_counts_the_same() -> None:
    index = index_of((KEYS.haste(IT), haste(5), 10), DONE, *CONDEMNED)
    assert index.step_of(IT) is Step.PREPARE
    assert KEYS.haste(IT) in {key for key, revision in index.known() if revision}
    drop(index, KEYS.record(IT), 20)
    drop(index, KEYS.hold(IT, HOLDER), 20)
    drop(index, KEYS.tombstone(IT), 20)
    drop(index, KEYS.haste(IT), 21)
    assert index.entry(IT) is None


def evidence(hastened: bytes | None, roster: int = 3) -> Evidence:
    return Evidence(
        IT, Revision(20), record=item(KEYS.record(IT), encode(RECORD), 2),
        tombstone=item(KEYS.tombstone(IT), encode(TombstoneRecord("i", "1 dead", 3)), 5),
        armed=item(KEYS.armed, b"{}", 1), holds={HOLDER: item(KEYS.hold(IT, HOLDER), encode(HoldRecord("b", 1)), 2)},
        rosters={HOLDER: item(KEYS.roster(HOLDER), CONDEMNED[2][1], roster)},
        haste=item(KEYS.haste(IT), hastened, 10) if hastened is not None else None,
    )  # fmt: skip


def epochs(name: ClassName) -> list[Seen]:
    if name != "1s":
        return []
    record = EpochRecord(1.0, 7, done=True)
    return [Seen(EpochFound(name, 1, KEYS.epoch(name, 1), Revision(9), Revision(12), record), measured=False)]


def test_the_evidence_needs_the_haste_itself_and_all_else_as_ever() -> None:
    found = ripe(evidence(haste(5)), epochs)
    assert isinstance(found, Ripe)
    assert found.haste == 10
    for weaker in (evidence(None), evidence(haste(4)), evidence(b"{"), evidence(haste(5), roster=6)):
        assert isinstance(ripe(weaker, epochs), Keep)


def test_prepare_compares_that_the_haste_is_still_there() -> None:
    found = ripe(evidence(haste(5)), epochs)
    assert isinstance(found, Ripe)
    by = tx.Authority(0, Revision(1), found.armed)
    sweep = SweepRecord(SweepState.PREPARED, "i", 1, 20, 5, "1s/1", (HOLDER,))
    with_it = tx.prepare(KEYS, by, found.facts, found.tombstone, found.epoch, sweep, found.haste)
    without = tx.prepare(KEYS, by, found.facts, found.tombstone, found.epoch, sweep)
    (more,) = [one for one in with_it.compares if one not in without.compares]
    assert more == tx.unchanged(KEYS.haste(IT), Revision(10))
