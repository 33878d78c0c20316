"""A real sidecar process under bodies without end, readers that do not read, and thousands of connections that do
nothing: every byte arrives, and its memory stays where it was."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasehold.sidecar.capture.budget import CONNECTIONS
from tests.bench.large import MAX_GROWTH, SidecarProcess, connected, listening, pass_through, sidecar_to
from tests.fakes.torrent import Torrent, both_ways, expect

GIB = 1 << 30
OURS = 256 * 1024
"""Bytes in each buffer of the two ends' own sockets."""


def _buffered() -> int:
    """Bytes that the kernel may keep for one connection, to and from the relay."""
    most = [int(Path(f"/proc/sys/net/ipv4/tcp_{which}").read_text().split()[2]) for which in ("rmem", "wmem")]
    return sum(most)


PENT_UP = _buffered() + 4 * 1024 * 1024
"""Bytes on the way to somebody who does not read: what the kernel's buffers take, and a little of ours."""
STALLED = 8
PER_STALLED = 1024 * 1024
PER_IDLE = 24 * 1024
ENOUGH = 4000
GET = b"GET /other HTTP/1.1\r\nHost: blobs.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("framing", "size", "matched"),
    [
        ("sized", 2 * GIB, False),
        ("chunked", GIB, True),
        ("until close", GIB, True),
        ("http2", GIB, False),
    ],
)
async def test_bodies_of_any_size_pass_in_constant_memory(framing: str, size: int, matched: bool) -> None:
    figures = await pass_through(framing, size, matched=matched)
    assert figures.growth_mb * 1e6 < MAX_GROWTH
    assert figures.followed


# --- readers that do not read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["sized", "chunked", "until close", "http2"])
@pytest.mark.parametrize("reader", ["app", "owner"])
async def test_who_does_not_read_stops_who_writes_and_then_gets_every_byte(framing: str, reader: str) -> None:
    asked, told = both_ways(framing, 4 * PENT_UP, matched=False)
    with listening() as owner:
        async with sidecar_to(owner) as sidecar:
            await asyncio.to_thread(_stall, sidecar, owner, asked, told, reader)
            assert await sidecar.followed()


def _stall(sidecar: SidecarProcess, owner: socket.socket, asked: Torrent, told: Torrent, reader: str) -> None:
    before = sidecar.resident()
    pairs = []
    with contextlib.ExitStack() as ends:
        for _ in range(STALLED):
            app, other = connected(sidecar.port, owner, 20)
            pairs.append((ends.enter_context(app), ends.enter_context(other)))
            for end in pairs[-1]:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, OURS)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, OURS)
        for app, other in pairs:
            if reader == "app":  # the owner may answer only what was asked
                app.sendall(asked.head)
                expect(other, asked.head)
        said = told if reader == "app" else asked
        writers = [other if reader == "app" else app for app, other in pairs]
        written = _until_stopped(writers, said)
        assert max(written) < PENT_UP
        assert sidecar.highest() - before < STALLED * PER_STALLED
        for writer, sent, (app, other) in zip(writers, written, pairs, strict=True):
            _go_on(writer, said, sent, app if reader == "app" else other)


def _until_stopped(writers: list[socket.socket], said: Torrent) -> list[int]:
    """Write until nobody takes any more; how much of each was taken. Nobody: not within a second, on a loopback."""
    sent = dict.fromkeys(writers, 0)
    start = b"".join(said.start_of(2 * PENT_UP))
    for sock in writers:
        sock.setblocking(False)
    while ready := select.select([], [sock for sock in writers if sent[sock] < len(start)], [], 1.0)[1]:
        for sock in ready:
            sent[sock] += sock.send(memoryview(start)[sent[sock] : sent[sock] + 65536])
    return list(sent.values())


def _go_on(writer: socket.socket, said: Torrent, sent: int, reader: socket.socket) -> None:
    """The reader reads after all, and all that was taken comes, unchanged and in order."""
    writer.shutdown(socket.SHUT_WR)
    for piece in said.start_of(sent):
        expect(reader, piece)
    assert reader.recv(1) == b""


# --- many connections --------------------------------------------------------------------------------------------


@pytest.fixture
def connections() -> Iterator[int]:
    """How many fit: two descriptors here for each, and the same there."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    fitting = min(ENOUGH, CONNECTIONS, (limits[1] - 400) // 2)
    if fitting < 100:
        pytest.skip("needs more file descriptors")
    yield fitting
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_thousands_of_idle_connections_cost_little_and_all_still_work(connections: int) -> None:
    with listening(1024) as owner:
        async with sidecar_to(owner) as sidecar:
            per_idle = await asyncio.to_thread(_idle, sidecar, owner, connections)
            assert await sidecar.followed()
    assert 0 < per_idle < PER_IDLE


def _idle(sidecar: SidecarProcess, owner: socket.socket, count: int) -> float:
    with contextlib.ExitStack() as ends:
        pairs = []

        def open_one() -> None:
            app, other = connected(sidecar.port, owner, 20)
            pairs.append((ends.enter_context(app), ends.enter_context(other)))

        for _ in range(50):  # what the first ones cost, the others do not
            open_one()
            _call(*pairs[-1])
        before = sidecar.resident()
        while len(pairs) < count:
            open_one()
            _call(*pairs[-1])
        per_idle = (sidecar.resident() - before) / (count - 50)
        for app, other in pairs:
            _call(app, other)
        for app, _ in pairs[::2]:
            app.close()
        for app, other in pairs[1::2]:
            _call(app, other)
        for _, other in pairs[::2]:
            assert other.recv(1) == b""
    print(f"{per_idle / 1024:.1f} KiB for each of {count} idle connections")
    return per_idle


def _call(app: socket.socket, owner: socket.socket) -> None:
    app.sendall(GET)
    expect(owner, GET)
    owner.sendall(OK)
    expect(app, OK)
