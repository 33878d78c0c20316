"""The caps on prepares, to the very number."""

from __future__ import annotations

from leasehold.control_plane.core.caps import OVERALL, Allowance, Caps
from leasehold.protocol.names import Instant

CAPS = Caps(per_owner=600, overall=1200, seconds=60.0)  # 10 and 20 each second; buckets of 60 and 120


def allowance(share: float = 1.0, at: float = 0.0) -> Allowance:
    made = Allowance(CAPS, Instant(at))
    made.share(Instant(at), share)
    made.know(Instant(at), ("a", "b", "c"))
    return made


def taken(of: Allowance, owner: str, at: float) -> int:
    count = 0
    while of.take({owner: 1}, Instant(at)) is None:
        count += 1
    return count


def test_whoever_begins_begins_with_nothing() -> None:
    fresh = allowance()
    assert fresh.take({"a": 1}, Instant(0.0)) == 0.1
    assert fresh.closed(Instant(0.0)) == {OVERALL, "a", "b", "c"}
    assert taken(fresh, "a", 1.0) == 10


def test_a_bucket_holds_a_tenth_so_a_window_sees_at_most_eleven_tenths() -> None:
    full = allowance()
    assert taken(full, "a", 1e6) == 60
    assert sum(taken(full, "a", 1e6 + n / 10) for n in range(1, 601)) == 600


def test_owners_share_what_is_left_over_all() -> None:
    full = allowance()
    assert [taken(full, owner, 1e6) for owner in "abc"] == [60, 60, 0]
    assert full.opens("c", Instant(1e6)) == 1e6 + 1 / 20


def test_a_replica_has_the_share_of_its_shards() -> None:
    half = allowance(share=0.5)
    assert taken(half, "a", 1e6) == 30
    assert taken(half, "a", 1e6 + 1) == 5


def test_gaining_shards_gives_nothing_at_once_and_losing_them_takes_away() -> None:
    moved = allowance(share=0.5)
    moved.share(Instant(1e6), 1.0)
    assert taken(moved, "a", 1e6) == 30
    moved.share(Instant(2e6), 0.1)
    assert taken(moved, "a", 2e6) == 6
    moved.share(Instant(3e6), 0.0)
    moved.share(Instant(3e6), 1.0)
    assert taken(moved, "a", 3e6) == 1


def test_what_is_prepared_as_one_counts_with_all_its_members_or_not_at_all() -> None:
    full = allowance()
    assert full.take({"a": 59, "b": 61}, Instant(1e6)) is None  # b's is more than its bucket holds: a full one will do
    assert full.take({"a": 2}, Instant(1e6)) == 1e6 + 0.1
    assert full.take({"b": 1}, Instant(1e6)) == 1e6 + 0.2, "it is in debt"
    assert full.take({"a": 1, "b": 1}, Instant(1e6 + 0.1)) == 1e6 + 0.2
    assert full.take({"a": 1}, Instant(1e6 + 0.1)) is None, "nothing was taken in vain"


def test_without_shards_nothing_ever_opens() -> None:
    assert allowance(share=0.0).opens("a", Instant(1e6)) == float("inf")
