"""Decodes the header blocks of one direction of an HTTP/2 connection, each exactly once and in their order. Pure.

A block that is skipped would put our dynamic table out of step with the peers'; so every block is decoded, whether it
interests anybody or not. Bounded: the table and a decoded list of fields by ``MAX_TABLE`` and ``MAX_LIST``.

Hot path: calls on one connection look alike. Most blocks are, byte for byte, one that was decoded before; what was
decoded is kept, and with it whatever ``http2`` made of it. A block that looks into the table means the same only as
long as that has not changed. One that does not look always means the same; what it inserts (nginx inserts all fields
of each answer, every time) is inserted again. That is a look into a dictionary instead of 10 to 50 µs.
"""

from __future__ import annotations

from typing import Final

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from leasehold.sidecar.observe.idempotency import FIELD_OVERHEAD
from leasehold.sidecar.observe.matching import NO_CANDIDATES, Candidate, Matcher
from leasehold.sidecar.observe.reasons import Unfollowable

MAX_TABLE: Final = 64 * 1024
"""What browsers ask for; gRPC stays at 4 KiB."""
MAX_LIST: Final = 64 * 1024
_MAX_KEPT: Final = 64
_MAX_KEPT_BLOCK: Final = 1024
_STATIC: Final = HeaderTable.STATIC_TABLE_LENGTH


Fields = tuple[tuple[bytes, bytes], ...]


class Block:
    """A decoded block, and what was found out about it."""

    __slots__ = ("candidates", "fields", "inserts", "matched_by", "reads", "status", "writes")

    def __init__(self, fields: Fields, inserts: Fields, *, reads: bool, writes: bool) -> None:
        self.fields = fields
        self.inserts = inserts
        """What it adds to the table, in order."""
        self.reads = reads
        """Whether it means something else when blocks before it that write are missing."""
        self.writes = writes
        """Whether blocks behind it that read mean something else without it."""
        status = self.get(b":status")
        self.status = int(status) if len(status) == 3 and status.isdigit() else 0
        self.matched_by: Matcher | None = None
        self.candidates: tuple[Candidate, ...] = NO_CANDIDATES
        """The rules of ``matched_by`` that this block, as a request, may match."""

    def get(self, name: bytes) -> bytes:
        """The first field of that (lower-case) name; empty if there is none."""
        for field, value in self.fields:
            if field == name:
                return value
        return b""

    def values(self, name: bytes) -> list[bytes]:
        """Of all fields of that (lower-case) name."""
        return [value for field, value in self.fields if field.lower() == name]

    @property
    def list_size(self) -> int:
        """As SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
        return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in self.fields)

    def headers(self) -> dict[str, bytes]:
        """By lower-case name, without pseudo-headers; of a repeated field the first."""
        headers: dict[str, bytes] = {}
        for name, value in self.fields:
            if not name.startswith(b":"):
                headers.setdefault(name.decode("latin-1").lower(), value)
        return headers


class _Table(HeaderTable):
    """Notes how it is used."""

    def __init__(self) -> None:
        self.read = False
        self.inserted: list[tuple[bytes, bytes]] = []
        super().__init__()

    def get_by_index(self, index: int) -> tuple[bytes, bytes]:
        if index > _STATIC:
            self.read = True
        return super().get_by_index(index)

    def add(self, name: bytes, value: bytes) -> None:
        self.inserted.append((bytes(name), bytes(value)))
        super().add(name, value)

    def add_again(self, fields: Fields) -> None:
        """What a block added that was decoded before."""
        for name, value in fields:
            super().add(name, value)


class HeaderBlocks:
    """One direction's decoder."""

    __slots__ = ("_decoder", "_kept", "_looking", "_table")

    def __init__(self) -> None:
        self._decoder = Decoder(MAX_LIST)
        self._table = self._decoder.header_table = _Table()
        self._kept: dict[bytes, Block] = {}
        """Blocks that do not look into the table."""
        self._looking: dict[bytes, Block] = {}
        """Blocks that do; none of them writes, and nothing has been written since."""

    def allow(self, table_size: int) -> None:
        """The receiver's SETTINGS_HEADER_TABLE_SIZE, once the sender has acknowledged it."""
        self._decoder.max_allowed_table_size = min(table_size, MAX_TABLE)
        # A block without the due update of the size is a mistake from now on.
        self._kept.clear()
        self._looking.clear()

    def decode(self, data: bytes) -> Block:
        """Raises ``Unfollowable``; then this decoder is of no more use."""
        block = self._kept.get(data)
        if block is None:
            return self._looking.get(data) or self._decode(data)
        if block.inserts:
            self._table.add_again(block.inserts)
            self._looking.clear()
        return block

    def _decode(self, data: bytes) -> Block:
        table = self._table
        table.read = False
        table.inserted = []
        size = table.maxsize
        try:
            fields = tuple((bytes(field[0]), bytes(field[1])) for field in self._decoder.decode(data, raw=True))
        except OversizedHeaderListError as error:
            raise Unfollowable("head-too-large") from error
        except HPACKError as error:
            raise Unfollowable("header-compression") from error
        resized = table.maxsize != size
        block = Block(fields, tuple(table.inserted), reads=table.read, writes=resized or bool(table.inserted))
        self._keep(data, block, resized=resized)
        return block

    def _keep(self, data: bytes, block: Block, *, resized: bool) -> None:
        if block.writes:
            self._looking.clear()
        if len(data) > _MAX_KEPT_BLOCK or resized or (block.reads and block.writes):
            return
        kept = self._looking if block.reads else self._kept
        if len(kept) >= _MAX_KEPT:
            kept.clear()
        kept[data] = block
