"""What the runbook says to look at for an alert works as it is written, in an ordinary tenant."""

from __future__ import annotations

import pytest

from tests.e2e.harness import World
from tests.runbook.hand import Hand
from tests.runbook.page import PAGE, Command, sections
from tests.runbook.stage import Depot, scene

pytestmark = [pytest.mark.etcd, pytest.mark.slow]


async def test_every_command_under_an_alert_runs(here: World, depot: Depot) -> None:
    at = await scene(here, depot)
    seen: set[Command] = set()
    for one in sections(PAGE.read_text()):
        if one.depth != 3:
            continue
        hand = Hand(here, one, at.names())
        for command in (command for block in one.blocks for command in block if command not in seen):
            await hand.type(command)
            seen.add(command)
    assert len(seen) > 10
