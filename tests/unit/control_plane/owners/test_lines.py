"""What is read off a connection to an owner, and when a connection may be used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from leasehold.control_plane.owners.answer_reader import (
    LARGEST_ANSWER_BYTES,
    LARGEST_HEAD_BYTES,
    AnswerReader,
    BrokenAnswer,
)
from leasehold.control_plane.owners.lines import Lines

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "1"\r\n\r\nok'
WHOLE = {
    "counted": PLAIN,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    "after an interim answer": b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + PLAIN,
}


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_is_the_same_however_it_is_cut(name: str, step: int) -> None:
    reader, wire = AnswerReader("GET"), WHOLE[name]
    for start in range(0, len(wire), step):
        assert reader.answer is None
        reader.feed(wire[start : start + step])
    assert reader.answer is not None
    assert (reader.answer.status, reader.answer.body, reader.answer.whole) == (200, b"ok", True)
    assert reader.keeps
    assert "X" not in reader.answer.headers


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_that_breaks_off_is_none(name: str) -> None:
    for length in range(len(WHOLE[name])):
        reader = AnswerReader("GET")
        reader.feed(WHOLE[name][:length])
        with pytest.raises(BrokenAnswer):
            reader.end()
        assert not reader.keeps


def test_an_answer_without_a_length_lasts_until_the_owner_hangs_up() -> None:
    reader = AnswerReader("GET")
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\nok")
    assert reader.answer is None
    reader.end()
    assert reader.answer is not None
    assert reader.answer.body == b"ok"
    assert not reader.keeps


@pytest.mark.parametrize("more", [b"H", b"HTTP/1.1 404 Not Found\r\n\r\n", b"\x00"])
@pytest.mark.parametrize("together", [True, False])
def test_what_follows_an_answer_unasked_ends_the_connection(more: bytes, together: bool) -> None:
    reader = AnswerReader("GET")
    for part in [PLAIN + more] if together else [PLAIN, more]:
        reader.feed(part)
    assert reader.answer is not None
    assert reader.answer.status == 200
    assert reader.answer.body == b"ok"
    assert not reader.keeps


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_an_owner_that_says_so_is_not_asked_again_on_that_connection(wire: bytes) -> None:
    reader = AnswerReader("GET")
    reader.feed(wire)
    assert reader.answer is not None
    assert not reader.keeps


def test_an_answer_to_head_ends_with_its_head() -> None:
    reader = AnswerReader("HEAD")
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
    assert reader.answer is not None
    assert reader.answer.whole
    assert reader.answer.body == b""


def test_a_body_without_end_is_cut_off_and_said_to_be() -> None:
    reader, fed = AnswerReader("GET"), 0
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    while reader.answer is None:
        assert fed <= LARGEST_ANSWER_BYTES
        reader.feed(b"x" * 65536)
        fed += 65536
    assert not reader.answer.whole
    assert not reader.keeps


def test_a_head_without_end_is_no_answer() -> None:
    reader = AnswerReader("GET")
    reader.feed(b"HTTP/1.1 200 OK\r\n")
    line = b"X: " + b"y" * 995 + b"\r\n"
    for _ in range(LARGEST_HEAD_BYTES // 1000):
        reader.feed(line)
    with pytest.raises(BrokenAnswer):
        reader.feed(line)


def test_an_encoded_body_is_not_read() -> None:
    reader = AnswerReader("GET")
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b")
    assert reader.answer is not None
    assert not reader.answer.whole
    assert reader.answer.body == b""


@pytest.mark.parametrize("wire", [b"SSH-2.0-x\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"])
def test_what_is_no_http_is_no_answer(wire: bytes) -> None:
    reader = AnswerReader("GET")
    with pytest.raises(BrokenAnswer):
        reader.feed(wire)


Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """An owner of a few lines: what was asked, on which connection, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bytes]] = []
        self.connections = 0
        self.answers: list[bytes | None] = []
        """In turn, then ``PLAIN``. ``None``: hang up instead."""
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append((number, head))
                answer = self.answers.pop(0) if self.answers else PLAIN
                if answer is None:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.set()
        finally:
            writer.close()


@pytest.fixture
async def peer() -> AsyncIterator[tuple[Peer, Lines]]:
    it = Peer()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    lines = Lines(f"http://{host}:{port}", None, None, 2)
    yield it, lines
    lines.close()
    server.close()


def url(peer: Peer, path: str = "/x") -> str:
    return f"http://elsewhere{path}"


async def test_a_connection_is_kept_for_the_next_request(peer: tuple[Peer, Lines]) -> None:
    it, lines = peer
    for _ in range(3):
        assert (await lines.exchange("DELETE", url(it), {"X": "y"})).status == 200
    assert [number for number, _ in it.asked] == [1, 1, 1]
    assert it.asked[0][1].startswith(b"DELETE /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Length: 0\r\n" in it.asked[0][1]
    assert b"\r\nX: y\r\n" in it.asked[0][1]


async def test_a_request_is_never_told_an_answer_that_came_unasked(peer: tuple[Peer, Lines]) -> None:
    it, lines = peer
    it.answers = [PLAIN + b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]
    assert (await lines.exchange("GET", url(it), {})).status == 200
    assert (await lines.exchange("GET", url(it), {})).status == 200
    assert [number for number, _ in it.asked] == [1, 2]


async def test_a_request_on_a_kept_connection_that_breaks_is_not_repeated(peer: tuple[Peer, Lines]) -> None:
    it, lines = peer
    it.answers = [PLAIN, None]
    await lines.exchange("DELETE", url(it), {})
    with pytest.raises(ConnectionError):
        await lines.exchange("DELETE", url(it), {})
    assert len(it.asked) == 2
    assert (await lines.exchange("DELETE", url(it), {})).status == 200


async def test_who_gives_up_takes_the_connection_along(peer: tuple[Peer, Lines]) -> None:
    it, lines = peer
    it.answers = [b"HTTP/1.1 200 OK\r\n"]
    giving_up = asyncio.create_task(lines.exchange("GET", url(it), {}))
    while not it.asked:
        await asyncio.sleep(0)
    giving_up.cancel()
    await asyncio.wait([giving_up])
    assert giving_up.cancelled()
    await it.ended.wait()
    assert (await lines.exchange("GET", url(it), {})).status == 200
    assert it.asked[-1][0] == 2


async def test_no_more_connections_than_the_owner_takes(peer: tuple[Peer, Lines]) -> None:
    it, lines = peer
    await asyncio.gather(*(lines.exchange("GET", url(it), {}) for _ in range(20)))
    assert it.connections <= 2
    assert len(it.asked) == 20


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X\r\nY": "a"}, {"X": "a\0"}])
async def test_a_header_that_would_be_two_is_never_sent(peer: tuple[Peer, Lines], headers: dict[str, str]) -> None:
    it, lines = peer
    with pytest.raises(ValueError, match="nothing was sent"):
        await lines.exchange("GET", url(it), headers)
    assert it.connections == 0


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/ä"])
async def test_an_address_that_is_not_encoded_is_never_sent(peer: tuple[Peer, Lines], path: str) -> None:
    it, lines = peer
    with pytest.raises(ValueError, match="nothing was sent"):
        await lines.exchange("GET", str(lines._base) + path, {})
    assert it.connections == 0


async def test_where_nobody_listens_is_a_broken_connection() -> None:
    for origin in ("http://127.0.0.1:1", "http://nowhere.invalid"):
        with pytest.raises(ConnectionError):
            await Lines(origin, None, None, 1).exchange("GET", f"{origin}/x", {})
