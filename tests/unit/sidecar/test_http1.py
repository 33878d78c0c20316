"""The HTTP/1 readers: where messages end, and when nobody can know."""

from __future__ import annotations

import pytest

from leasehold.sidecar.observe.http1 import MAX_HEAD, Expect, Reader, RequestReader, ResponseReader
from leasehold.sidecar.observe.reasons import GAVE_UP, UNINSPECTED, Unfollowable


def segments(reader: Reader, *chunks: bytes) -> list[tuple[bytes, bool, bool]]:
    """(bytes, completed a head, ended a message) of every segment."""
    found = []
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            end = reader.feed(chunk, start)
            assert end > start
            found.append((chunk[start:end], reader.head is not None, reader.ended))
            start = end
    return found


def reason(reader: Reader, *chunks: bytes) -> str:
    with pytest.raises(Unfollowable) as caught:
        segments(reader, *chunks)
    assert caught.value.reason in GAVE_UP | UNINSPECTED
    return caught.value.reason


GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_without_a_body_ends_with_its_head() -> None:
    reader = RequestReader()
    assert segments(reader, GET + GET) == [(GET, True, True)] * 2
    assert (reader.method, reader.target) == (b"GET", b"/a?b=c")


def test_a_sized_body_ends_where_its_length_says() -> None:
    assert segments(RequestReader(), POST + b"abcGET", b" /x") == [
        (POST, True, False), (b"abc", False, True), (b"GET", False, False), (b" /x", False, False)
    ]  # fmt: skip


def test_a_chunked_body_ends_behind_its_trailers_and_not_at_an_empty_line_inside() -> None:
    body = b"6;ext=1\r\na\r\n\r\nb\r\n0\r\nChecksum: 1\r\nOther: 2\r\n\r\n"
    assert segments(RequestReader(), CHUNKED + body + GET) == [
        (CHUNKED, True, False), (body, False, True), (GET, True, True)
    ]  # fmt: skip


def test_empty_lines_before_a_request_belong_to_no_message() -> None:
    assert segments(RequestReader(), b"\r\n\r\n" + GET) == [(b"\r\n\r\n", False, False), (GET, True, True)]


@pytest.mark.parametrize("split", range(1, len(GET)))
def test_a_head_in_two_chunks_is_one_head(split: int) -> None:
    reader = RequestReader()
    first, second = segments(reader, GET[:split], GET[split:])
    assert not first[1]
    assert second[1:] == (True, True)
    assert reader.head == GET


@pytest.mark.parametrize(
    ("bytes_", "why"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls"),
        (b"\x16", "tls"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not-http"),
        (b"*1\r\n$4\r\nPING\r\n", "not-http"),
        (b"SET key value\r\n", "not-http"),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "not-http"),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", "bad-request"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-request"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "bad-request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "bad-request"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD, "head-too-large"),
        (CHUNKED + b"zz\r\n", "framing"),
        (CHUNKED + b"-1\r\n", "framing"),
        (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", "framing"),
        (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", "framing"),
        (CHUNKED + b"3;" + b"x" * 5000, "framing"),
    ],
)
def test_what_cannot_be_followed_says_why(bytes_: bytes, why: str) -> None:
    assert reason(RequestReader(), bytes_) == why


@pytest.mark.parametrize("bytes_", [b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"hello\n"])
def test_a_first_request_makes_what_follows_a_bad_request(bytes_: bytes) -> None:
    assert reason(RequestReader(), GET, bytes_) == "bad-request"


@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_nothing_may_follow_an_upgrade_before_its_answer(request_: bytes) -> None:
    reader = RequestReader()
    assert segments(reader, request_) == [(request_, True, True)]
    assert reader.expect is Expect.UPGRADE
    assert reason(reader, b"x") == "early-upgrade-data"
    reader.resume()
    assert segments(reader, GET) == [(GET, True, True)]


@pytest.mark.parametrize(
    ("framing", "body"), [(b"Content-Length: 2", b"ab"), (b"Transfer-Encoding: chunked", b"2\r\nab\r\n0\r\n\r\n")]
)
def test_an_upgrade_with_a_body_is_asked_for_behind_the_body(framing: bytes, body: bytes) -> None:
    reader = RequestReader()
    head = b"POST /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" + framing + b"\r\n\r\n"
    assert segments(reader, head + body) == [(head, True, False), (body, False, True)]
    assert reader.expect is Expect.UPGRADE
    assert reader.target == b"/a"


# --- responses ---------------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def test_responses_of_all_framings_follow_one_another() -> None:
    reader = ResponseReader()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert segments(reader, OK + b"ab" + chunked + b"0\r\n\r\n" + empty + hint + OK) == [
        (OK, True, False), (b"ab", False, True), (chunked, True, False), (b"0\r\n\r\n", False, True),
        (empty, True, True), (hint, True, True), (OK, True, False),
    ]  # fmt: skip


def test_a_response_to_head_has_no_body_whatever_it_says() -> None:
    reader = ResponseReader()
    reader.bodiless = True
    assert segments(reader, OK + OK) == [(OK, True, True)] * 2


def test_a_response_after_connection_close_is_still_a_response() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    assert segments(ResponseReader(), closing + OK) == [(closing, True, True), (OK, True, False)]


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"]
)
def test_a_body_without_an_end_of_its_own_lasts_until_the_close(head: bytes) -> None:
    reader = ResponseReader()
    assert segments(reader, head + b"abc", b"HTTP/1.1 ")[-1] == (b"HTTP/1.1 ", False, False)
    assert reader.end_by_close()
    assert reader.ended


@pytest.mark.parametrize(
    "bytes_",
    [
        b"220 smtp ready\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"H2",
    ],
)
def test_a_bad_response_is_told_at_once(bytes_: bytes) -> None:
    assert reason(ResponseReader(), bytes_) == "bad-response"


class Parts(list[bytes]):
    def add(self, data: bytes) -> None:
        self.append(data)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (OK, b"ab"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"ab"),
    ],
)
def test_a_collected_body_comes_without_its_framing(head: bytes, body: bytes) -> None:
    reader, parts = ResponseReader(), Parts()
    end = reader.feed(head + body, 0)
    reader.collect(head, parts)
    while end < len(head + body):
        end = reader.feed(head + body, end)
    assert b"".join(parts) == b"ab"


@pytest.mark.parametrize("end", [b"\n\n", b"\n\r\n"])
def test_an_empty_line_of_bare_line_feeds_is_not_waited_behind(end: bytes) -> None:
    assert reason(RequestReader(), GET[:-4] + end) == "bad-request"
    assert reason(ResponseReader(), b"HTTP/1.1 200 OK\r\nServer: old" + end) == "bad-response"
    assert reason(ResponseReader(), b"HTTP/1.1 200 OK\nServer: ", b"old" + end) == "bad-response"
