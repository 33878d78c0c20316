"""Only who acts for the tenant moves a cursor, and only from where it was read."""

from __future__ import annotations

from dataclasses import replace

from leasehold.control_plane.events.cursor import Cursor, Cursors, Standing
from leasehold.protocol.names import Revision
from tests.unit.control_plane.stage import Stage, rule_set
from tests.unit.control_plane.world import DEADLINE


async def test_a_cursor_is_moved_under_the_fence_and_from_where_it_was_read_only(stage: Stage) -> None:
    plane = await stage.leading(rule_set(stage))
    by = plane.leadership.authority_of_tenant()
    assert by is not None
    cursors = Cursors(stage.client, stage.keys, "webhook", deadline=DEADLINE)
    found = (await cursors.find()).cursor
    assert found.seen == 0
    assert found.revision >= plane.observer.sight.revision, "without a cursor it begins now"
    stale = replace(by, fence=Revision(by.fence - 1))
    assert await cursors.move(stale, found, Revision(5), "") is None
    moved = await cursors.move(by, found, Revision(5), "")
    assert moved is not None
    assert await cursors.find() == Standing(moved)
    assert await cursors.move(by, found, Revision(6), "") is None, "it was moved since"
    assert await cursors.move(by, Cursor(moved.revision, moved.seen), Revision(6), "") is not None
