"""The gate: who waits, who may pass, and that frames never mix."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leasehold.sidecar.capture.budget import Budget
from leasehold.sidecar.capture.gate import MAX_HELD, Gate
from leasehold.sidecar.capture.overtaking import Barrier
from leasehold.sidecar.observe.frames import FENCE, OPENS, READS, WRITES, Frame
from tests.properties.test_relay import Wire


def gate() -> tuple[Gate, Wire]:
    made, wire = Gate(Budget()), Wire()
    made.connect(wire)  # type: ignore[arg-type]
    return made, wire


def frame(data: bytes, stream: int, order: int = 0, left: int = 0) -> Frame:
    return Frame(data, stream, left, order)


def held(order: int = 0) -> tuple[Gate, Wire, Callable[[], None]]:
    """A gate in which stream 1 is held by one frame, and what lifts it."""
    made, wire = gate()
    barrier = Barrier(1)
    made.raise_barrier(barrier)
    made.write_frame(frame(b"1", 1, order))
    assert wire.written == b""
    return made, wire, lambda: made.lift(barrier)


@pytest.mark.parametrize(
    ("waits", "comes", "stream", "passes"),
    [
        (0, 0, 3, True),
        (0, 0, 0, True),
        (0, 0, 1, False),
        (READS, READS, 3, True),
        (READS, WRITES, 3, False),
        (WRITES, READS, 3, False),
        (WRITES, WRITES, 3, False),
        (WRITES, 0, 3, True),
        (0, WRITES | READS, 3, True),
        (OPENS, OPENS, 3, False),
        (OPENS | WRITES, 0, 0, True),
        (0, FENCE, 0, False),
        (FENCE, 0, 3, False),
    ],
)
def test_a_frame_overtakes_only_what_it_cannot_harm(waits: int, comes: int, stream: int, passes: bool) -> None:
    made, wire, lift = held(waits)
    made.write_frame(frame(b"2", stream, comes))
    assert wire.written == (b"2" if passes else b"")
    lift()
    assert wire.written == (b"21" if passes else b"12")
    assert made.open


def test_what_waits_for_one_that_waits_waits_too() -> None:
    made, wire, lift = held(WRITES)
    made.write_frame(frame(b"3", 3, READS))
    made.write_frame(frame(b"a", 3))
    made.write_frame(frame(b"b", 5))
    assert wire.written == b"b"
    lift()
    assert wire.written == b"b13a"


def test_plain_bytes_overtake_nothing() -> None:
    made, wire, lift = held()
    made.write(b"plain")
    made.write_frame(frame(b"3", 3))
    assert wire.written == b""
    lift()
    assert wire.written == b"1plain3"


def test_two_frames_never_mix() -> None:
    made, wire, lift = held()
    made.write_frame(frame(b"[da", 3, left=3))
    lift()
    assert wire.written == b"[da"
    made.write_frame(frame(b"ta]", 3))
    assert wire.written == b"[data]1"
    assert made.open


def test_bytes_that_nobody_cuts_any_more_complete_the_frame_that_is_going_out() -> None:
    made, wire, lift = held()
    made.write_frame(frame(b"[da", 3, left=3))
    made.write(b"ta]and more")
    assert wire.written == b"[data]"
    lift()
    assert wire.written == b"[data]1and more"


def test_a_frame_that_waits_in_parts_goes_out_whole() -> None:
    made, wire, lift = held()
    made.write_frame(frame(b"[da", 1, left=3))
    made.write(b"ta]and more")
    lift()
    assert wire.written == b"1[data]and more"


def test_nothing_follows_half_a_frame() -> None:
    made, wire, _ = held()
    made.write_frame(frame(b"[da", 3, left=3))
    made.then(wire.close)
    assert wire.closed
    assert wire.written == b"[da"


def test_frames_of_ours_wait_for_the_end_of_another() -> None:
    made, wire = gate()
    made.interject(b"ours", 3)
    assert not made.open
    made.write_frame(frame(b"ta]", 3))
    assert wire.written == b"ta]ours"
    assert made.open
    made.interject(b"more", 0)
    assert wire.written == b"ta]oursmore"


def test_what_waits_is_bounded_but_for_what_must_come() -> None:
    made, _ = gate()
    barrier = Barrier(1, needs_more=True, room=1000)
    made.raise_barrier(barrier)
    made.write_frame(frame(b"x" * (MAX_HELD + 1000), 1))
    assert not made.congested
    made.write_frame(frame(b"x", 1))
    assert made.congested
    made.lift(barrier)
    assert not made.congested


def data(stream: int, payload: bytes) -> Frame:
    return frame(len(payload).to_bytes(3, "big") + b"\0\0" + stream.to_bytes(4, "big") + payload, stream)


def opening(stream: int, order: int = OPENS) -> Frame:
    return frame(b"\0\0\0\1....%d" % stream, stream, order)


def test_a_refused_stream_vanishes_and_its_window_is_given_back() -> None:
    made, wire = gate()
    barrier = Barrier(1)
    made.raise_barrier(barrier)
    made.write_frame(opening(1))
    made.write_frame(data(1, b"body"))
    made.write_frame(opening(3))
    made.refuse(1, asked=False)
    assert wire.written == b"\0\0\0\1....3"
    made.write_frame(data(1, b"more"))
    assert made.refused.credit == 8
    assert made.refused.since == 0
    assert not made.open  # what still comes of it has to be told apart
    made.lift(barrier)
    assert wire.written == b"\0\0\0\1....3"


def test_behind_a_refused_block_that_wrote_the_table_nothing_new_is_served() -> None:
    made, wire = gate()
    made.raise_barrier(Barrier(1))
    made.write_frame(opening(1, OPENS | WRITES))
    made.write_frame(opening(3))
    made.refuse(1, asked=True)
    made.write_frame(opening(5))
    assert wire.written == b""
    assert made.refused.since == 1


def test_older_streams_go_on_unless_they_read_what_was_never_written() -> None:
    made, wire = gate()
    made.raise_barrier(Barrier(3))
    made.write_frame(opening(3, OPENS | WRITES))
    made.refuse(3, asked=True)
    made.write_frame(frame(b"1", 1))
    assert wire.written == b"1"
    assert made.refused.garbles(frame(b"", 1, READS))
    assert not made.refused.garbles(frame(b"", 1))


def test_a_stream_refused_before_its_frames_have_come_vanishes_too() -> None:
    made, wire = gate()
    made.raise_barrier(Barrier(1))
    made.refuse(1, asked=True)
    made.write_frame(opening(1, OPENS | WRITES))
    assert wire.written == b""
    assert made.refused.since == 1
