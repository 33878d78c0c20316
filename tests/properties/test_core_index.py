"""The index equals one built from scratch, whatever order events came in and however often."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State, Step
from leasehold.control_plane.core.roll_call import RollCall
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import (
    CallId,
    ClassName,
    Holder,
    LeaseId,
    OwnerName,
    Resource,
    ResourceId,
    Revision,
    RuleName,
    Tenant,
    TypeName,
)
from leasehold.protocol.records import (
    ArmedRecord,
    CanaryRecord,
    EpochRecord,
    HolderKind,
    HoldRecord,
    IntentRecord,
    PinRecord,
    ResourceRecord,
    RosterRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    TrippedRecord,
    WindowRecord,
    encode,
)
from leasehold.protocol.store import Change, Event, KeyValue
from leasehold.protocol.transactions import every

KEYS = Keyspace(Tenant("t"))
RESOURCES = [Resource(OwnerName("o"), TypeName("t"), ResourceId(n)) for n in ("a", "b")]
HOLDERS = [Holder("h@1"), Holder("h@2")]
CLASS = ClassName("5s")

NEEDS = ((("o", "t", "a"),), (("o", "t", "b"), ("o", "t", "*")))
WRITES: list[tuple[bytes, list[bytes]]] = [
    (KEYS.armed, [encode(ArmedRecord("w", "y"))]),
    (KEYS.tripped, [encode(TrippedRecord("w", "y"))]),
    (KEYS.window, [encode(WindowRecord(1, 1))]),
    (KEYS.canary, [encode(CanaryRecord("w")), b"junk"]),
]
for holder in HOLDERS:
    WRITES.append((KEYS.beacon(holder), [b"boot"]))
    WRITES.append((KEYS.intent(holder, CallId("c")), [encode(IntentRecord("r", "POST", "/", "c")), b"junk"]))
    WRITES.append((KEYS.roster(holder), [encode(RosterRecord("h", "1", HolderKind.PROCESS, "b", 10)), b"junk"]))
for resource in RESOURCES:
    records = [ResourceRecord("i", rule, grace, "h@1") for rule, grace in (("r", CLASS), ("s", CLASS), ("r", "9s"))]
    records += [ResourceRecord("i", "r", CLASS, "h@1", references=needed) for needed in NEEDS]
    WRITES.append((KEYS.record(resource), [*map(encode, records), b"junk"]))
    WRITES.append((KEYS.pin(resource), [encode(PinRecord("w", "y"))]))
    WRITES.append((KEYS.tombstone(resource), [encode(TombstoneRecord("i", "r", 1)), b"junk"]))
    sweeps = [SweepRecord(state, "i", 1, 1, 1, "e") for state in SweepState]
    WRITES.append((KEYS.sweep(resource), [*map(encode, sweeps), b"junk"]))
    holds = [encode(HoldRecord("b", 1)), encode(HoldRecord("b", 1, released=True)), b"junk"]
    WRITES += [(KEYS.hold(resource, holder), holds) for holder in HOLDERS]
    WRITES += [(KEYS.ref(target, resource), [b"{}"]) for target in (*RESOURCES, every(RESOURCES[0]))]
for number in (1, 2):
    epochs = [
        encode(EpochRecord(5.0, 1)),
        encode(EpochRecord(5.0, 1, True)),
        encode(EpochRecord(1.0, 1, True)),
        b"junk",
    ]
    WRITES.append((KEYS.epoch(CLASS, number), epochs))
    WRITES.append((KEYS.epoch_lease(CLASS, number), [b""]))
WRITES.append((KEYS.rule(RuleName("r")), [b"junk", b"{}"]))
ODD = Resource(OwnerName("o"), TypeName("t"), ResourceId("é/%"))
WRITES.append((KEYS.record(ODD), [encode(ResourceRecord("i", "r", CLASS, "h@1"))]))
WRITES.append((KEYS.hold(ODD, HOLDERS[0]), [encode(HoldRecord("b", 1))]))
MISSPELT = [
    KeyValue(
        KEYS.hold(RESOURCES[0], HOLDERS[0]).replace(b"h%40", odd), b"{}", Revision(99), Revision(99), 1, LeaseId(0)
    )
    for odd in (b"h%4", b"%68%40")
]

MOVES = st.lists(
    st.sampled_from(WRITES).flatmap(
        lambda write: st.tuples(st.just(write[0]), st.one_of(st.none(), st.sampled_from(write[1])))
    ),
    max_size=40,
)


def history(moves: list[tuple[bytes, bytes | None]]) -> tuple[list[Event], dict[bytes, KeyValue]]:
    """What etcd would have told, and what it would hold in the end."""
    events: list[Event] = []
    store: dict[bytes, KeyValue] = {}
    for n, (key, value) in enumerate(moves, start=1):
        revision = Revision(n)
        if value is None:
            if store.pop(key, None) is not None:
                gone = KeyValue(key, b"", Revision(0), revision, 0, LeaseId(0))
                events.append(Event(Change.DELETE, gone))
            continue
        before = store.get(key)
        created = before.create_revision if before else revision
        store[key] = KeyValue(key, value, created, revision, 1, LeaseId(0))
        events.append(Event(Change.PUT, store[key]))
    return events, store


def opinion(index: Index) -> dict[str, Any]:
    """Everything the index believes that somebody acts on or shows."""
    return {
        "entries": {
            str(e.resource): (
                e.facts, e.step, e.record, sorted((h.holder, h.revision, h.released) for h in e.holds),
                sorted(e.sources), e.pin, e.tombstone, e.sweep, e.created, e.readable, e.rule, e.grace_class,
                e.incarnation, e.creator,
            )
            for e in index.entries()
        },
        "holders": {
            h: (f.beacon, f.roster, f.readable, sorted(map(str, f.resources))) for h, f in index.holders()
        },
        "nominated": {step: sorted(map(str, found)) for step, found in index.nominated.items()},
        "counts": dict(index.counts),
        "epochs": {n: sorted((s.found.number, s.found.mod_revision, s.measured) for s in index.epochs_of(n))
                   for n in index.classes() if index.epochs_of(n)},
        "condemned": index.newest_tombstone(CLASS) > 0,
        "armed": index.armed,
        "told": (index.tripped, index.window, index.canary),
        "picture": {str(one): sorted(map(str, sources)) for one, sources in index.picture()},
        "shards": index.shards,
        "unreadable": index.unreadable,
        "known": sorted((key, revision) for key, revision in index.known() if revision),
    }  # fmt: skip


def rebuilt(store: dict[bytes, KeyValue]) -> Index:
    index = Index(KEYS)
    for key in sorted(store):
        index.apply(Event(Change.PUT, store[key]))
    return index


@settings(max_examples=300, deadline=None)
@given(MOVES, st.randoms(use_true_random=False))
def test_the_index_equals_a_rebuild_whatever_the_order(moves: list[tuple[bytes, bytes | None]], random: Any) -> None:
    events, store = history(moves)
    shuffled = [*events, *random.sample(events, len(events) // 2)]
    random.shuffle(shuffled)
    index = Index(KEYS)
    for event in shuffled:
        index.apply(event)
    assert opinion(index) == opinion(rebuilt(store))
    assert sorted(key for key, revision in index.known() if revision) == sorted(store)


@settings(max_examples=300, deadline=None)
@given(MOVES, st.randoms(use_true_random=False), st.booleans())
def test_what_is_loaded_as_a_whole_equals_a_rebuild(
    moves: list[tuple[bytes, bytes | None]], random: Any, in_order: bool
) -> None:
    _, store = history(moves)
    items = [*store.values(), *MISSPELT]
    store.update((item.key, item) for item in MISSPELT)
    if in_order:
        items.sort(key=lambda item: item.key)
    else:
        random.shuffle(items)
    index = Index(KEYS)
    assert index.blank
    filling = index.loading()
    half = random.randrange(len(items) + 1)
    filling.take(items[:half])
    filling.take(items[half:])
    for _ in index.loaded():
        pass
    assert opinion(index) == opinion(rebuilt(store))
    assert {one: step for one, step in rebuilt(store).take_fresh().items() if step} == index.take_fresh()


@settings(max_examples=300, deadline=None)
@given(MOVES, MOVES, st.data())
def test_a_roll_call_mends_whatever_was_missed(
    moves: list[tuple[bytes, bytes | None]], more: list[tuple[bytes, bytes | None]], data: st.DataObject
) -> None:
    events, store = history([*moves, *more])
    index = Index(KEYS)
    for event in events:
        if data.draw(st.booleans()):
            index.apply(event)
    for _ in range(2):  # as well as when there is nothing to mend
        roll = RollCall(index)
        for item in store.values():
            roll.call(item)
        for absent in roll.absentees(Revision(1000)):
            for key in absent:
                index.apply(Event(Change.DELETE, KeyValue(key, b"", Revision(0), Revision(1000), 0, LeaseId(0))))
        assert opinion(index) == opinion(rebuilt(store))
        index.settle(Revision(1000))


@settings(max_examples=300, deadline=None)
@given(MOVES, MOVES)
def test_a_roll_call_of_the_past_takes_nothing_newer_away(
    moves: list[tuple[bytes, bytes | None]], more: list[tuple[bytes, bytes | None]]
) -> None:
    events, store = history([*moves, *more])
    past, at = history(moves)[1], Revision(len(moves))
    index = Index(KEYS)
    for event in events:
        index.apply(event)
    roll = RollCall(index)
    assert sum(map(roll.call, past.values())) == 0
    assert not [key for absent in roll.absentees(at) for key in absent]
    assert opinion(index) == opinion(rebuilt(store))


@settings(max_examples=200, deadline=None)
@given(MOVES)
def test_in_order_deletions_may_be_forgotten_at_once(moves: list[tuple[bytes, bytes | None]]) -> None:
    events, store = history(moves)
    index = Index(KEYS)
    for event in events:
        index.apply(event)
        index.settle(event.item.mod_revision)
    assert opinion(index) == opinion(rebuilt(store))


@settings(max_examples=300, deadline=None)
@given(MOVES)
def test_what_is_nominated_towards_a_delete_has_present_holds_and_no_living_holder(
    moves: list[tuple[bytes, bytes | None]],
) -> None:
    _, store = history(moves)
    index = rebuilt(store)
    for step in (Step.CONDEMN, Step.PREPARE):
        for resource in index.nominated[step]:
            holds = [key for key in store if key in KEYS.holds_of(resource)]
            assert holds, "absence permits nothing"
            assert KEYS.sweep(resource) not in store
            for key in holds:
                parsed = KEYS.parse(key)
                assert parsed is not None
                released = b'"released":true' in store[key].value
                assert released or KEYS.beacon(parsed.holder) not in store
                assert released or KEYS.roster(parsed.holder) in store
            if step is Step.PREPARE:
                assert KEYS.pin(resource) not in store
                opened = [
                    store[k].create_revision for k in store if k in KEYS.epochs_of(CLASS) and b"true" in store[k].value
                ]
                assert max(opened) > store[KEYS.tombstone(resource)].mod_revision


@settings(max_examples=200, deadline=None)
@given(MOVES)
def test_everything_with_a_record_is_counted_once(moves: list[tuple[bytes, bytes | None]]) -> None:
    _, store = history(moves)
    index = rebuilt(store)
    shown = [e for e in index.entries() if e.record or e.tombstone or e.sweep]
    assert sum(index.counts.values()) == len(shown)
    assert all(count > 0 and isinstance(place[3], State) for place, count in index.counts.items())
