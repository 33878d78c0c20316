"""What real clients and servers said to each other, cut at every byte: the same bytes come out and the same is seen,
with the observer and without."""

from __future__ import annotations

import pytest

from tests.recorded.exchanges import Recorded, Turn, all_recorded
from tests.recorded.replay import replay

each = pytest.mark.parametrize("recorded", all_recorded(), ids=lambda recorded: recorded.name)
FRAME_HEAD = 9
either = pytest.mark.parametrize("observed", [True, False], ids=["observed", "unobserved"])


def test_there_is_something_of_every_kind() -> None:
    names = " ".join(recorded.name for recorded in all_recorded())
    for kind in ("curl-10", "curl-upgrade", "httpx-h2", "requests", "grpcio", "grpclib", "websocket"):
        assert kind in names
    assert sum(len(recorded.seen) for recorded in all_recorded()) > 30


async def agrees(recorded: Recorded, turns: list[Turn], *, observed: bool) -> None:
    """Each direction, byte by byte."""
    out = await replay(turns, recorded.rules, observed=observed)
    assert out.asked == recorded.side(client=True)
    assert out.told == recorded.side(client=False)
    assert out.seen == (list(recorded.seen) if observed and not unrecognisable(turns) else [])
    assert out.gave_up == []


def unrecognisable(turns: list[Turn]) -> bool:
    """A server that speaks first must not be made to wait, and so has to be recognised by its first segment."""
    return not turns[0].by_client and len(turns[0].data) < FRAME_HEAD


@each
@either
async def test_a_cut_at_any_byte_changes_nothing(recorded: Recorded, observed: bool) -> None:
    """Every turn that is long enough is cut there, so that each byte of each turn is once the last of its segment."""
    for at in range(max(len(turn.data) for turn in recorded.turns)):
        parts = ((turn, part) for turn in recorded.turns for part in (turn.data[:at], turn.data[at:]) if part)
        await agrees(recorded, [Turn(turn.by_client, part) for turn, part in parts], observed=observed)


@each
@either
async def test_a_cut_at_every_byte_changes_nothing(recorded: Recorded, observed: bool) -> None:
    turns = [Turn(turn.by_client, bytes([byte])) for turn in recorded.turns for byte in turn.data]
    await agrees(recorded, turns, observed=observed)


@each
@either
async def test_all_that_one_side_said_in_a_row_may_come_at_once(recorded: Recorded, observed: bool) -> None:
    joined: list[Turn] = []
    for turn in recorded.turns:
        if joined and joined[-1].by_client is turn.by_client:
            joined[-1] = Turn(turn.by_client, joined[-1].data + turn.data)
        else:
            joined.append(turn)
    await agrees(recorded, joined, observed=observed)
