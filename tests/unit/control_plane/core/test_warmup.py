"""The warm-up: as long as somebody may return, and no longer."""

from __future__ import annotations

from leasehold.control_plane.core.warmup import NEVER, Attendance, ShardWarmUps, WarmUp, warm_up_seconds
from leasehold.protocol.names import Instant
from leasehold.protocol.records import Ending, HolderKind

PROCESS = Attendance(HolderKind.PROCESS, 10, None)
SERVICE = Attendance(HolderKind.SERVICE, 20, None)
TIMER = Attendance(HolderKind.TIMER, 86400, None)
ENDED = Attendance(HolderKind.SERVICE, 3600, Ending.EXITED)


def test_an_empty_house_needs_no_warm_up() -> None:
    assert warm_up_seconds([]) == 0


def test_timers_and_the_ended_cannot_return() -> None:
    assert warm_up_seconds([TIMER, ENDED]) == 0
    assert warm_up_seconds([TIMER, ENDED, PROCESS]) == 15
    assert warm_up_seconds([PROCESS, SERVICE]) == 30


def test_before_the_first_look_nothing_is_prepared_ever() -> None:
    assert not WarmUp().over(Instant(1e12))
    assert WarmUp().left(Instant(0)) == float("inf")


def test_a_running_warm_up_is_never_shortened() -> None:
    warm_up = WarmUp()
    warm_up.begin(Instant(0), [SERVICE], "first")
    warm_up.begin(Instant(1), [PROCESS], "second")
    assert warm_up.until == 30
    warm_up.begin(Instant(29), [PROCESS], "third")
    assert warm_up.until == 44
    assert warm_up.reason == "third"
    assert not warm_up.over(Instant(43.9))
    assert warm_up.over(Instant(44))


def test_while_a_gap_lasts_nothing_is_prepared() -> None:
    warm_up = WarmUp()
    warm_up.begin(Instant(0), [], "listed")
    assert warm_up.over(Instant(0))
    warm_up.forget("compacted")
    assert not warm_up.over(Instant(1e12))


def test_a_shard_warms_up_from_when_it_was_gained_and_the_others_are_not_affected() -> None:
    shards = ShardWarmUps()
    shards.begin(Instant(0), [PROCESS], [1], "gained")
    shards.begin(Instant(5), [PROCESS], [2], "gained")
    assert (shards.until(1), shards.until(2)) == (15, 20)
    assert shards.left(Instant(16)) == [4]


def test_a_shard_that_is_lost_and_gained_again_warms_up_anew() -> None:
    shards = ShardWarmUps()
    shards.begin(Instant(0), [PROCESS], [1, 2], "gained")
    shards.keep({2})
    assert (shards.until(1), shards.until(2)) == (NEVER, 15), "of what is not ours nothing is known"
    shards.begin(Instant(100), [PROCESS], [1], "gained")
    assert shards.until(1) == 115
