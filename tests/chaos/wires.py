"""A TCP wire between two parts that can be cut, delayed, swallowed or answered with a refusal, and says what it did."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

HOST = "127.0.0.1"


class Mode(StrEnum):
    """What a wire does to bytes and to new connections."""

    OPEN = "open"
    REFUSE = "refuse"
    """New connections are reset, old ones were."""
    BLACKHOLE = "blackhole"
    """Everything is accepted and nothing comes through, in neither direction."""
    HALF_OPEN = "half-open"
    """Requests pass, answers do not."""
    DELAY = "delay"
    """Everything passes late, in order."""
    LOSSY = "lossy"
    """Connections are made anew, and news that a sieve knows do not come through them."""


@dataclass(slots=True)
class Effect:
    """What a wire really did since ``reset``: evidence."""

    refused: int = 0
    cut: int = 0
    swallowed_bytes: int = 0
    delayed: int = 0

    @property
    def any(self) -> bool:
        return bool(self.refused or self.cut or self.swallowed_bytes or self.delayed)


@dataclass(eq=False, slots=True)
class _Pair:
    down: asyncio.StreamWriter
    up: asyncio.StreamWriter
    source: int
    spared: bool = False
    sieve: Callable[[bytes], bytes] | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Wire:
    """Listens on a port of its own and leads to ``port``. ``spares(source_port)``: whose connections stay untouched."""

    def __init__(self, port: int, listen: int = 0) -> None:
        self.mode = Mode.OPEN
        self.delay = 0.2
        self.effect = Effect()
        self.spares: Callable[[int], bool] = lambda source: False
        self.names: Callable[[int], str | None] = lambda source: None
        """Whose connection it is, by its port."""
        self.sieve: Callable[[], Callable[[bytes], bytes]] | None = None
        """For ``LOSSY``: makes what an answer's bytes go through, one for each connection."""
        self.callers: dict[int, str] = {}
        """The same, by the port that the other end sees."""
        self.port = listen
        self._to = port
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def set(self, mode: Mode, delay: float = 0.2) -> None:
        """From now on. ``REFUSE`` also cuts what is there; so does a return from silence: no late bytes then."""
        before, self.mode, self.delay = self.mode, mode, delay
        if mode is not Mode.OPEN:
            self.effect = Effect()
        for pair in self._pairs:
            pair.spared = mode is not Mode.OPEN and self.spares(pair.source)
        if mode in {Mode.REFUSE, Mode.LOSSY} or before in {Mode.BLACKHOLE, Mode.HALF_OPEN, Mode.LOSSY}:
            self.cut()

    def cut(self) -> int:
        """Reset every connection there is (but the spared). Returns how many."""
        chosen = [pair for pair in self._pairs if not pair.spared]
        for pair in chosen:
            for writer in (pair.down, pair.up):
                _reset(writer)
            for task in pair.tasks:
                task.cancel()
            self._pairs.discard(pair)
        self.effect.cut += len(chosen)
        return len(chosen)

    # --- connections ----------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = writer.get_extra_info("peername")[1]
        spared = self.mode is not Mode.OPEN and self.spares(source)
        if self.mode is Mode.REFUSE and not spared:
            self.effect.refused += 1
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._to)
        except OSError:
            _reset(writer)
            return
        seen_as = up_writer.get_extra_info("sockname")[1]
        self.callers.pop(seen_as, None)  # ports come again, and perhaps nobody can tell whose it is now
        if (name := self.names(source)) is not None:
            self.callers[seen_as] = name
        sieve = self.sieve() if self.mode is Mode.LOSSY and self.sieve is not None else None
        pair = _Pair(writer, up_writer, source, spared, sieve)
        self._pairs.add(pair)
        pair.tasks = [
            asyncio.create_task(self._pump(reader, up_writer, pair, answers=False)),
            asyncio.create_task(self._pump(up_reader, writer, pair, answers=True)),
        ]
        try:
            await asyncio.wait(pair.tasks)
        finally:
            self._pairs.discard(pair)
            for end in (writer, up_writer):
                end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: _Pair, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                mode = Mode.OPEN if pair.spared else self.mode
                if mode is Mode.BLACKHOLE or (mode is Mode.HALF_OPEN and answers):
                    self.effect.swallowed_bytes += len(data)
                    continue
                if mode is Mode.DELAY:
                    self.effect.delayed += 1
                    await asyncio.sleep(self.delay)
                writer.write(pair.sieve(data) if pair.sieve is not None and answers else data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other end sees a reset, not an end."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


def owner_of_port(port: int, pids: dict[int, str]) -> str | None:
    """Which of these processes has the connected socket with this local port."""
    inode = _inode_of(port)
    if inode is None:
        return None
    for pid, name in pids.items():
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == f"socket:[{inode}]":
                        return name
    return None


def _inode_of(port: int) -> str | None:
    local = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == local and fields[9] != "0":
            return fields[9]
    return None
