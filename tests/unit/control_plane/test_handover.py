"""What was just prepared is handed over once, and only as what it was."""

from __future__ import annotations

from leasehold.control_plane.handover import Handover, Prepared
from leasehold.protocol.names import Revision
from leasehold.protocol.records import ResourceRecord, SweepRecord, SweepState
from tests.unit.control_plane.world import blob


def prepared(revision: int) -> Prepared:
    sweep = SweepRecord(SweepState.PREPARED, "i", 1, 1, 1, "1s/1")
    return Prepared(Revision(revision), sweep, ResourceRecord("i", "r", "1s", "h"))


def test_it_is_taken_once() -> None:
    handover = Handover()
    handover.give(blob("x"), prepared(7))
    assert handover.take(blob("x"), Revision(7)) == prepared(7)
    assert handover.take(blob("x"), Revision(7)) is None


def test_what_was_written_since_is_to_be_read() -> None:
    handover = Handover()
    handover.give(blob("x"), prepared(7))
    assert handover.take(blob("x"), Revision(8)) is None
    assert handover.take(blob("y"), Revision(7)) is None


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    handover = Handover(capacity=2)
    for name in ("a", "b", "c"):
        handover.give(blob(name), prepared(7))
    assert [handover.take(blob(name), Revision(7)) is not None for name in ("a", "b", "c")] == [False, True, True]
