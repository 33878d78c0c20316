"""What owners are owed, as a table."""

from __future__ import annotations

from itertools import product

import pytest

from leasehold.control_plane.core.notices import Due, Notice, Told, owed
from leasehold.protocol.names import Revision
from leasehold.protocol.records import NoticeRecord

NEVER = None
OF_7 = Notice(Revision(9), NoticeRecord("uid:1", 7, told=True))
TRIED = Notice(Revision(9), NoticeRecord("uid:1", 7, attempt=3))
OTHER = Notice(Revision(9), NoticeRecord("uid:0", 7, told=True))
BROKEN = Notice(Revision(9), None)


@pytest.mark.parametrize(
    ("notice", "tombstone", "incarnation", "due"),
    [
        (NEVER, 0, "uid:1", None),
        (NEVER, 7, "uid:1", Due.CONDEMN),
        (NEVER, 7, None, None),
        (OF_7, 7, "uid:1", None),
        (TRIED, 7, "uid:1", Due.CONDEMN),
        (OF_7, 8, "uid:1", Due.CONDEMN),
        (OF_7, 0, "uid:1", Due.RESTORE),
        (TRIED, 0, "uid:1", Due.RESTORE),
        (OTHER, 0, "uid:1", Due.DROP),
        (OTHER, 7, "uid:1", Due.DROP),
        (OF_7, 0, None, Due.DROP),
        (BROKEN, 0, "uid:1", None),
    ],
)
def test_the_table(notice: Notice | None, tombstone: int, incarnation: str | None, due: Due | None) -> None:
    there = incarnation is not None
    assert owed(Told(there, incarnation, Revision(tombstone), False, notice, wants_notice=True)) is due
    assert owed(Told(there, incarnation, Revision(tombstone), True, notice, wants_notice=True)) is None, "a sweep"
    assert owed(Told(True, None, Revision(tombstone), False, notice, wants_notice=True)) is None, "unreadable"


def test_whoever_was_perhaps_told_of_a_condemnation_that_is_over_is_owed_a_restore_whatever_it_wants_now() -> None:
    for notice, wants in product((OF_7, TRIED), (True, False)):
        assert owed(Told(True, "uid:1", Revision(0), False, notice, wants)) is Due.RESTORE
    assert owed(Told(True, "uid:1", Revision(8), False, OF_7, wants_notice=False)) is None
    assert owed(Told(True, "uid:1", Revision(8), False, NEVER, wants_notice=False)) is None
