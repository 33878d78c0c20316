"""What two listings prove: by table, and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core import inventory as core
from leasehold.control_plane.core.inventory import Compared, Judged, Listed, Memory, Recorded, Tally, UnderWay, compare
from leasehold.protocol.lookups import Brake
from leasehold.protocol.names import CallId, Instant, ResourceId, Revision

INTERVAL = 60.0
BRAKE = Brake(fraction=0.15, count=3)


def ours(name: str, call: str = "") -> Listed:
    return Listed(ResourceId(name), True, CallId(call))


def recorded(name: str, created: int = 1, *, swept: bool = False) -> Recorded:
    return Recorded(ResourceId(name), Revision(created), Revision(created), swept)


def scan(listed: list[Listed], records: list[Recorded], begun: int = 10, ended: int = 20) -> Compared:
    spelt = {one.id: one.id for one in records}
    tally = Tally(Revision(begun))
    tally.take(listed, spelt.get)
    return compare(tally, records, Revision(ended))


def twice(found: Compared, under_way: list[UnderWay] | None = None, *, apart: float = INTERVAL) -> Judged:
    memory = Memory()
    memory.judge(found, under_way or [], BRAKE, INTERVAL, Instant(100))
    return memory.judge(found, under_way or [], BRAKE, INTERVAL, Instant(100 + apart))


def test_what_is_recorded_and_listed_is_fine() -> None:
    found = scan([ours("a"), Listed(ResourceId("b"))], [recorded("a"), recorded("b")])
    assert (found.seen, found.candidates, found.missing, found.unmanaged) == (2, {}, {}, 0)


def test_what_nothing_proves_ours_is_unmanaged_and_no_candidate() -> None:
    found = scan([Listed(ResourceId("theirs")), Listed(ResourceId("a"))], [recorded("a")])
    assert (found.unmanaged, found.candidates) == (1, {})


def test_what_was_recorded_during_the_listing_is_neither_missing_nor_a_candidate() -> None:
    tally = Tally(Revision(10))
    tally.take([ours("new")], lambda _: None)
    found = compare(tally, [recorded("new", 15), recorded("newer", 16)], Revision(20))
    assert (found.candidates, found.missing) == ({}, {})


def test_what_is_being_swept_is_not_missing() -> None:
    assert scan([], [recorded("a", swept=True)]).missing == {}


@pytest.mark.parametrize(("apart", "concluded"), [(0.0, False), (INTERVAL - 0.1, False), (INTERVAL, True)])
def test_only_two_scans_an_interval_apart_prove_something(apart: float, concluded: bool) -> None:
    judged = twice(scan([ours("x"), ours("a")], [recorded("a"), recorded("gone")]), apart=apart)
    assert bool(judged.orphans) is concluded
    assert bool(judged.gone) is concluded


@pytest.mark.parametrize("change", ["candidate went", "record came", "another call's", "another incarnation"])
def test_a_candidate_that_changed_meanwhile_begins_anew(change: str) -> None:
    memory = Memory()
    known = [recorded("a")]
    memory.judge(scan([ours("a"), ours("x")], known), [], BRAKE, INTERVAL, Instant(0))
    between = {
        "candidate went": [ours("a")],
        "record came": [ours("a"), ours("x")],
        "another call's": [ours("a"), ours("x", "c2")],
        "another incarnation": [ours("a"), ours("x")._replace(incarnation="uid:2")],
    }[change]
    records = [*known, recorded("x")] if change == "record came" else known
    memory.judge(scan(between, records), [], BRAKE, INTERVAL, Instant(30))
    judged = memory.judge(scan([ours("a"), ours("x")], known), [], BRAKE, INTERVAL, Instant(70))
    assert judged.orphans == ()


def test_a_record_written_anew_meanwhile_is_not_gone() -> None:
    memory = Memory()
    memory.judge(scan([ours("a")], [recorded("a"), recorded("x", 3)]), [], BRAKE, INTERVAL, Instant(0))
    judged = memory.judge(scan([ours("a")], [recorded("a"), recorded("x", 4)]), [], BRAKE, INTERVAL, Instant(70))
    assert judged.gone == ()


@pytest.mark.parametrize(
    ("call", "orphan"),
    [
        (UnderWay("", Revision(20)), False),
        (UnderWay("", Revision(21)), True),
        (UnderWay("x", Revision(99)), False),
        (UnderWay("another", Revision(5)), True),
    ],
)
def test_a_call_under_way_keeps_what_it_may_have_created_from_being_an_orphan(call: UnderWay, orphan: bool) -> None:
    judged = twice(scan([ours("a"), ours("x")], [recorded("a")], ended=20), [call])
    assert [item.id for item in judged.orphans] == (["x"] if orphan else [])


@pytest.mark.parametrize(
    ("unknown", "known", "braked"),
    [(3, 1, False), (4, 1, True), (4, 22, True), (4, 23, False), (15, 85, False), (16, 84, True)],
)
def test_the_brake_needs_a_part_and_a_number(unknown: int, known: int, braked: bool) -> None:
    records = [recorded(f"k{n}") for n in range(known)]
    listed = [*(ours(f"k{n}") for n in range(known)), *(ours(f"x{n}") for n in range(unknown))]
    judged = twice(scan(listed, records))
    assert bool(judged.braked) is braked
    assert len(judged.orphans) == (0 if braked else unknown)
    missing = twice(scan(listed[:known], [*records, *(recorded(f"m{n}") for n in range(unknown))]))
    assert bool(missing.braked) is braked
    assert len(missing.gone) == (0 if braked else unknown)


def test_what_was_seen_under_the_brake_does_not_count() -> None:
    memory = Memory()
    many = [ours("a"), *(ours(f"x{n}") for n in range(9))]
    memory.judge(scan(many, [recorded("a")]), [], BRAKE, INTERVAL, Instant(0))
    judged = memory.judge(scan(many[:2], [recorded("a")]), [], BRAKE, INTERVAL, Instant(70))
    assert judged == Judged()


def test_an_index_that_knows_nothing_of_what_is_listed_finds_no_orphans() -> None:
    assert twice(scan([ours("x")], [])) == Judged()


def test_more_than_can_be_remembered_brakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "MOST_CANDIDATES", 2)
    found = scan([ours("a"), *(ours(f"x{n}") for n in range(3))], [recorded("a")])
    assert found.overflown
    assert twice(found).braked


NAMES = st.sampled_from("abcdefgh")


@given(
    st.lists(st.tuples(NAMES, st.booleans()), max_size=8),
    st.lists(st.tuples(NAMES, st.integers(1, 30)), max_size=8),
)
def test_orphans_are_listed_ours_and_unrecorded_and_what_is_gone_is_recorded_and_unlisted(
    listed: list[tuple[str, bool]], records: list[tuple[str, int]]
) -> None:
    items = [Listed(ResourceId(name), mine) for name, mine in dict(listed).items()]
    known = [recorded(name, created) for name, created in dict(records).items()]
    judged = twice(scan(items, known))
    for orphan in judged.orphans:
        assert dict(listed)[orphan.id]
        assert orphan.id not in dict(records)
    for name, revision in judged.gone:
        assert name not in dict(listed)
        assert dict(records)[name] == revision <= 10
