"""What would have been deleted is wrong, by the app, or missed by nobody yet; nothing else, and nothing twice."""

from __future__ import annotations

from leasehold.control_plane.core.shadow import MAX_EXAMPLES, Phase, Shadow, Sight
from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.records import ShadowExample, ShadowRecord
from tests.unit.control_plane.world import blob

GRACE = 8.0


def at(seconds: float) -> Instant:
    return Instant(1000.0 + seconds)


def sight(name: str, phase: Phase, who: str = "", mode: str = "observe") -> Sight:
    return Sight(blob(name), "make" if phase is not Phase.GONE else "", mode, phase, who)


def ripen(shadow: Shadow, seconds: float) -> None:
    shadow.ripen(at(seconds), [(one, GRACE) for one in shadow.waiting()])


def numbers(shadow: Shadow) -> tuple[int, int, int]:
    record = shadow.records().get("make", ShadowRecord())
    return record.wrong, record.by_app, record.unheld


def test_only_after_a_whole_grace_would_it_have_been_deleted() -> None:
    shadow = Shadow()
    shadow.see(at(0), sight("x", Phase.UNHELD))
    ripen(shadow, 7.9)
    assert numbers(shadow) == (0, 0, 0)
    ripen(shadow, 8)
    assert numbers(shadow) == (0, 0, 1)


def test_who_comes_back_within_the_grace_proves_nothing_wrong() -> None:
    shadow = Shadow()
    shadow.see(at(0), sight("x", Phase.UNHELD))
    shadow.see(at(7), sight("x", Phase.NEEDED, "late@1~1"))
    ripen(shadow, 20)
    assert numbers(shadow) == (0, 0, 0)


def test_who_needs_it_afterwards_proves_it_wrong_and_is_named() -> None:
    shadow = Shadow()
    shadow.see(at(0), sight("x", Phase.UNHELD))
    ripen(shadow, 10)
    shadow.see(at(25), sight("x", Phase.NEEDED, "late@1~1"))
    assert numbers(shadow) == (1, 0, 0)
    assert shadow.records()["make"].examples == (ShadowExample("store/blob/x", "late@1~1", 15.0),)


def test_what_its_app_deletes_itself_was_right() -> None:
    shadow = Shadow()
    shadow.see(at(0), sight("x", Phase.UNHELD))
    ripen(shadow, 10)
    shadow.see(at(25), sight("x", Phase.GONE))
    assert numbers(shadow) == (0, 1, 0)
    shadow.see(at(26), sight("never-seen", Phase.GONE))
    assert numbers(shadow) == (0, 1, 0)


def test_where_the_rule_condemns_the_real_grace_counts() -> None:
    shadow = Shadow()
    shadow.see(at(0), sight("x", Phase.OVER, mode="condemn"))
    assert numbers(shadow) == (0, 0, 1)
    shadow.see(at(1), sight("x", Phase.OVER, mode="condemn"))
    assert numbers(shadow) == (0, 0, 1)


def test_what_the_brake_would_have_kept_is_not_held_against_a_rule() -> None:
    shadow = Shadow()
    shadow.see(at(0), sight("x", Phase.UNHELD))
    shadow.pause(at(100))
    ripen(shadow, 107)
    assert numbers(shadow) == (0, 0, 0)
    ripen(shadow, 108)
    shadow.pause(at(200))
    assert numbers(shadow) == (0, 0, 1)


def test_a_rule_that_may_sweep_is_no_matter_of_this_report() -> None:
    shadow = Shadow()
    shadow.see(at(0), sight("x", Phase.UNHELD))
    ripen(shadow, 10)
    shadow.see(at(11), sight("x", Phase.OTHER))
    assert numbers(shadow) == (0, 0, 0)


def test_a_successor_goes_on_and_counts_nothing_twice() -> None:
    first = Shadow()
    for name in ("x", "y", "z"):
        first.see(at(0), sight(name, Phase.UNHELD))
    ripen(first, 10)
    first.see(at(11), sight("x", Phase.NEEDED, "late"))
    record = first.records()["make"]
    second = Shadow()
    second.inherit("make", record, [Resource.parse(one) for one in record.still])
    assert numbers(second) == (1, 0, 2)
    second.see(at(20), sight("y", Phase.UNHELD))
    ripen(second, 40)
    assert numbers(second) == (1, 0, 2)
    second.see(at(41), sight("y", Phase.NEEDED, "late"))
    second.see(at(41), sight("z", Phase.GONE))
    assert numbers(second) == (2, 1, 0)


def test_the_report_is_bounded() -> None:
    shadow = Shadow()
    for n in range(500):
        shadow.see(at(0), sight(f"x{n}", Phase.UNHELD))
    ripen(shadow, 10)
    assert shadow.records()["make"].unheld == 500
    assert len(shadow.records()["make"].still) == 200
    for n in range(500):
        shadow.see(at(11), sight(f"x{n}", Phase.NEEDED, "late"))
    assert numbers(shadow) == (500, 0, 0)
    assert len(shadow.records()["make"].examples) == MAX_EXAMPLES
