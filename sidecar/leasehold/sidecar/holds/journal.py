"""The journal: an append-only file that survives the sidecar's own restart.

- Not a machine's restart: nothing is synced to disk. What died with the machine died with the process we speak for.
- One line per entry: CRC-32, a space, JSON. A torn last line is cut off and counted; a line broken in the middle is
  counted, reported and skipped, never a crash.
- One write per turn of the event loop (``flush`` at the end of the turn, or sooner by whoever is about to commit).
- Bounded: ``append`` says no once the file has reached ``max_bytes`` and cannot be made smaller, or the disk refuses.
  Then nothing more is protected, and traffic flows. What *ends* operations is always taken (``note``).
- Compaction writes a snapshot in a thread, adds what was appended meanwhile, and renames. It happens when most of the
  file is dead, so its cost is a constant share of the appends.
- One sidecar per folder, by ``flock`` on a file of its own: the journal itself is renamed over.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from leasehold.sidecar.holds.entries import VERSION, Entry, Head, State

log = structlog.get_logger()

MAX_BYTES = 256 * 1024 * 1024
"""About a million pending registrations: hours of outage."""
COMPACT_FROM_BYTES = 4 * 1024 * 1024
TRY_AGAIN_SECONDS = 1.0
MOSTLY_DEAD = 2.5
"""Compacted when the file holds so many times more lines than there are live entries."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class JournalLocked(OSError):
    """Another sidecar uses this folder."""


class JournalOfAnother(OSError):
    """What is in this folder was written for another tenant or service."""


class JournalMetrics(Protocol):
    """What the journal has counted."""

    def journal_damaged(self, kind: str) -> None:
        """``torn`` (the last line) or ``corrupt`` (one in the middle)."""
        ...

    def journal_failed(self) -> None:
        """The disk refused a write."""
        ...


class Journal:
    """The file and the state it adds up to. ``open`` before use; ``close`` gives the lock back."""

    def __init__(self, folder: Path, metrics: JournalMetrics, *, whose: str = "", max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._whose = whose
        self.state = State()
        self.bytes = 0
        self._lines = 0
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._path = folder / "journal"
        self._lock = -1
        self._file = -1
        self._buffer: list[bytes] = []
        self._scheduled = False
        self._failing = False
        self._trying_again: asyncio.TimerHandle | None = None
        self._compacting: asyncio.Task[None] | None = None
        self._meanwhile: list[bytes] | None = None

    # --- life ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the lock and replay. Raises ``JournalLocked``, ``JournalOfAnother`` or another ``OSError``."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            self._lock = -1
            raise JournalLocked(f"{self.folder}: another sidecar is using this journal") from error
        # A compaction that was interrupted left a copy that nobody needs.
        self._new_path.unlink(missing_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._replay(self._path.read_bytes())
        if self.state.whose not in {"", self._whose}:
            raise JournalOfAnother(f"{self.folder}: this journal is of {self.state.whose}, expected {self._whose}")
        if not self._lines:
            self.note(Head(VERSION, self.state.next, self._whose))

    async def close(self) -> None:
        """Write what is left and let go of the file."""
        if self._compacting is not None:
            await asyncio.wait([self._compacting])
        self.flush()
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    # --- writing ------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether ``append`` would say no."""
        return self._failing or self.bytes >= self._max_bytes

    def append(self, entry: Entry) -> bool:
        """Apply an entry and write it by the end of this turn. ``False``: full, and nothing was changed."""
        if self.full:
            return False
        self.note(entry)
        return True

    def note(self, entry: Entry) -> None:
        """The same for what must not be refused: it ends something, or is rare and small."""
        self.state.apply(entry)
        line = _line(entry)
        self.bytes += len(line)
        self._lines += 1
        self._buffer.append(line)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_of_turn)

    def flush(self) -> None:
        """Write what is buffered, now. A disk that refuses is counted, and what was refused is kept for later."""
        if not self._buffer or self._file < 0:
            return
        data = b"".join(self._buffer)
        self._buffer.clear()
        try:
            written = os.write(self._file, data)
        except OSError as error:
            self._refused(data, str(error))
            return
        if self._meanwhile is not None:
            self._meanwhile.append(data[:written])
        if written < len(data):
            self._refused(data[written:], "the disk is full")
            return
        if self._failing:
            self._failing = False
            log.info("journal_writes_again", folder=str(self.folder))

    def _end_of_turn(self) -> None:
        self._scheduled = False
        self.flush()
        if self._compacting is None and self._worth_compacting():
            self._compacting = asyncio.get_running_loop().create_task(self._compact(), name="journal compaction")

    def _refused(self, rest: bytes, reason: str) -> None:
        # The rest continues a half-written line when the disk has room again; until then `full` lets nothing in.
        self._buffer.insert(0, rest)
        if not self._failing:
            self._failing = True
            log.error("journal_cannot_be_written", folder=str(self.folder), error=reason)
        self._metrics.journal_failed()
        if self._trying_again is None:
            self._trying_again = asyncio.get_running_loop().call_later(TRY_AGAIN_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._trying_again = None
        self.flush()

    # --- compaction ---------------------------------------------------------------------------------------------

    @property
    def _new_path(self) -> Path:
        return self.folder / "journal.new"

    def _worth_compacting(self) -> bool:
        mostly_dead = self._lines > MOSTLY_DEAD * self.state.live_entries()
        return mostly_dead and self.bytes > COMPACT_FROM_BYTES and not self._failing

    async def _compact(self) -> None:
        entries = self.state.snapshot()
        self._meanwhile = []
        try:
            size = await asyncio.to_thread(_write_snapshot, self._new_path, entries)
            # From here to the rename nothing else runs: the new file is the snapshot plus all that came after it.
            self.flush()
            later = b"".join(self._meanwhile)
            file = os.open(self._new_path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            if os.write(file, later) != len(later) or self._buffer:
                os.close(file)
                raise OSError("the disk is full")
            self._new_path.rename(self._path)
            os.close(self._file)
            self._file = file
            self.bytes = size + len(later)
            self._lines = len(entries) + later.count(b"\n")
        except OSError as error:
            log.error("journal_not_compacted", folder=str(self.folder), error=str(error))
            self._metrics.journal_failed()
            self._new_path.unlink(missing_ok=True)
        finally:
            self._meanwhile = None
            self._compacting = None

    # --- reading ------------------------------------------------------------------------------------------------

    def _replay(self, data: bytes) -> None:
        for start, line in _lines(data):
            entry = _parse(line)
            if entry is not None:
                self.state.apply(entry)
                self._lines += 1
            elif start + len(line) == len(data):
                self._metrics.journal_damaged("torn")
                log.warning("journal_tail_dropped", folder=str(self.folder), bytes=len(line))
                os.ftruncate(self._file, start)
                data = data[:start]
            else:
                self._metrics.journal_damaged("corrupt")
                log.error("journal_line_skipped", folder=str(self.folder), offset=start, bytes=len(line))
        self.bytes = len(data)


def replay(data: bytes) -> State:
    """The state a journal with these bytes adds up to; what is damaged counts for nothing."""
    state = State()
    apply: Callable[[Entry], None] = state.apply
    for _, line in _lines(data):
        entry = _parse(line)
        if entry is not None:
            apply(entry)
    return state


def _line(entry: Entry) -> bytes:
    body = _encoder.encode(entry)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _parse(line: bytes) -> Entry | None:
    body = line[9:-1]
    if line[8:9] != b" " or not line.endswith(b"\n") or line[:8] != b"%08x" % zlib.crc32(body):
        return None
    try:
        entry: Entry = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return entry


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield start, data[start:end]
        start = end


def _write_snapshot(path: Path, entries: list[Entry]) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    size = 0
    with open(file, "wb") as out:  # noqa: PTH123 - by descriptor, for its mode
        for start in range(0, len(entries), 1000):
            size += out.write(b"".join(_line(entry) for entry in entries[start : start + 1000]))
    return size
