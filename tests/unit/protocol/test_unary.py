"""The core of unary calls against scripted servers: what is said, how calls end, and what surely did nothing."""

from __future__ import annotations

import pytest

from leasehold.protocol.etcd import frames as h2
from leasehold.protocol.etcd import unary, unary_call, unary_sending
from leasehold.protocol.etcd.unary_call import Broken, Call, Refused
from tests.fakes.unary_peer import (
    HEAD,
    OK,
    OPENING,
    Client,
    answer,
    block,
    cut,
    data,
    fields,
    goaway,
    headers,
    message,
    reset,
    window,
)


def untouched(outcome: object) -> bool:
    assert isinstance(outcome, Broken)
    return outcome.untouched


# --- what we say -----------------------------------------------------------------------------------------------------


def test_the_preface_asks_for_no_table_no_pushes_and_large_windows() -> None:
    client = Client()
    assert client.hello.startswith(h2.PREFACE)
    [settings, more] = cut(client.hello)
    assert dict(h2.read_settings(settings[3])) == {1: 0, 2: 0, 4: unary.STREAM_WINDOW_BYTES}
    assert more == (h2.WINDOW_UPDATE, 0, 0, h2.number(unary.CONNECTION_WINDOW_BYTES - 65535))


def test_a_call_is_one_head_and_one_message_and_ends_its_half_of_the_stream() -> None:
    client = Client()
    client.begins("one", b"request")
    client.begins("two", b"")
    first, body, second, empty = client.says()
    assert fields(first) == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/etcdserverpb.KV/Txn",
        ":authority": "etcd:2379",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "leasehold",
        "hasleader": "true",
    }
    assert first[3] == h2.FORGET_THE_TABLE + HEAD, "the first block says that we keep no table"
    assert second[3] == HEAD
    assert (first[2], second[2]) == (1, 3)
    assert body == (h2.DATA, h2.END_STREAM, 1, b"\0\0\0\0\x07request")
    assert empty == (h2.DATA, h2.END_STREAM, 3, b"\0\0\0\0\0")


@pytest.mark.parametrize(("seconds", "said"), [(5, "5001m"), (0.0001, "1m"), (-1, "1m"), (1e9, "99999999m")])
def test_the_server_is_told_when_nobody_waits_any_more(seconds: float, said: str) -> None:
    frame = (h2.HEADERS, 0, 1, h2.with_timeout(HEAD, seconds))
    assert fields(frame)["grpc-timeout"] == said
    assert fields(frame)[":path"] == "/etcdserverpb.KV/Txn"


def test_long_values_of_fields_are_said_in_full() -> None:
    head = h2.request_head("https", "etcd", "/p", (("token", "t" * 3000),))
    assert fields((h2.HEADERS, 0, 1, head))["token"] == "t" * 3000


def test_headers_that_fit_into_no_frame_are_refused_before_anything_is_sent() -> None:
    client = Client()
    with pytest.raises(Broken) as refused:
        client.core.begin(Call(h2.request_head("http", "a", "/p", (("token", "t" * 20_000),)), b"", "one"))
    assert refused.value.untouched
    assert not client.says()


def test_settings_and_pings_are_acknowledged_and_acknowledgements_are_not() -> None:
    client = Client()
    client.hears(h2.settings([]) + h2.frame(h2.PING, 0, 0, b"12345678"))
    client.hears(h2.frame(h2.SETTINGS, h2.ACK, 0) + h2.frame(h2.PING, h2.ACK, 0, b"12345678"))
    assert client.says() == [(h2.SETTINGS, h2.ACK, 0, b""), (h2.PING, h2.ACK, 0, b"12345678")]


def test_frames_that_nobody_knows_are_ignored() -> None:
    client = Client((0x9999, 7))
    client.begins("one")
    client.hears(h2.frame(0xBE, 0xFF, 1, b"x" * 100) + h2.frame(h2.PRIORITY, 0, 1, b"12345") + answer(1))
    assert client.outcomes == {"one": b"done"}


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answers_find_their_calls_in_whatever_order_they_come() -> None:
    client = Client()
    for name in ("one", "two", "three"):
        client.begins(name)
    client.hears(answer(5, b"c") + headers(1, OPENING) + answer(3, b"b") + data(1, message(b"a")))
    assert client.outcomes == {"three": b"c", "two": b"b"}
    client.hears(headers(1, OK, end=True))
    assert client.outcomes["one"] == b"a"
    assert client.core.idle


def test_an_answer_in_many_pieces_is_one_answer() -> None:
    client = Client()
    client.begins("one")
    whole = message(b"x" * 5000)
    pieces = [data(1, whole[start : start + 3]) for start in range(0, len(whole), 3)]
    client.hears(headers(1, OPENING) + b"".join(pieces) + data(1, b"") + headers(1, OK, end=True))
    assert client.outcomes == {"one": b"x" * 5000}


def test_padding_priorities_and_continuations_are_taken_off() -> None:
    client = Client()
    client.begins("one")
    opening, body = block(OPENING), message(b"done")
    padded = b"\x03" + b"\0\0\0\0\x10" + opening[:4] + b"\0\0\0"
    client.hears(h2.frame(h2.HEADERS, h2.PADDED | h2.PRIORITIZED, 1, padded))
    client.hears(h2.frame(h2.CONTINUATION, 0, 1, opening[4:9]))
    client.hears(h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, opening[9:]))
    client.hears(h2.frame(h2.DATA, h2.PADDED, 1, b"\x05" + body + b"\0" * 5) + headers(1, OK, end=True))
    assert client.outcomes == {"one": b"done"}


def test_a_refusal_may_come_in_trailers_alone_and_its_message_is_decoded() -> None:
    client = Client()
    client.begins("one")
    client.hears(headers(1, [*OPENING, ("grpc-status", "14"), ("grpc-message", "no%20leader: %C3%A9%FF")], end=True))
    refused = client.outcomes["one"]
    assert isinstance(refused, Refused)
    assert (refused.code, refused.message) == (14, "no leader: é\N{REPLACEMENT CHARACTER}")


def test_an_informational_head_comes_before_the_real_one() -> None:
    client = Client()
    client.begins("one")
    client.hears(headers(1, [(":status", "103")]) + answer(1))
    assert client.outcomes == {"one": b"done"}


@pytest.mark.parametrize(
    ("status", "code"), [("400", 13), ("401", 16), ("403", 7), ("404", 12), ("503", 14), ("500", 2)]
)
def test_a_status_of_http_is_a_refusal(status: str, code: int) -> None:
    client = Client()
    client.begins("one")
    client.hears(headers(1, [(":status", status), ("content-type", "text/html")]))
    refused = client.outcomes["one"]
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert client.says()[-1] == (h2.RST_STREAM, 0, 1, h2.number(h2.CANCEL))


@pytest.mark.parametrize("kind", ["text/html", "application/grpc+json", ""])
def test_an_answer_of_another_content_type_is_none(kind: str) -> None:
    client = Client()
    client.begins("one")
    client.hears(headers(1, [(":status", "200"), ("content-type", kind)]))
    assert isinstance(client.outcomes["one"], Refused)


BAD_ANSWERS = {
    "no message": headers(1, OPENING) + headers(1, OK, end=True),
    "half a prefix": headers(1, OPENING) + data(1, b"\0\0") + headers(1, OK, end=True),
    "half a message": headers(1, OPENING) + data(1, message(b"done")[:-1]) + headers(1, OK, end=True),
    "two messages": headers(1, OPENING) + data(1, message(b"done") * 2),
    "compressed": headers(1, OPENING) + data(1, b"\1" + message(b"done")[1:]),
    "too large": headers(1, OPENING) + data(1, b"\0" + h2.number(unary_call.MAX_ANSWER_BYTES + 1)),
    "no status": headers(1, OPENING) + data(1, message(b"done"), end=True),
    "no head": data(1, message(b"done")),
    "two heads": headers(1, OPENING) + headers(1, OPENING),
    "trailers without a status": headers(1, OPENING) + data(1, message(b"done")) + headers(1, [("a", "b")], end=True),
    "a status of letters": headers(1, [*OPENING, ("grpc-status", "OK")], end=True),
    "a status that is too long": headers(1, [*OPENING, ("grpc-status", "0" * 5000)], end=True),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS)
def test_half_an_answer_is_no_answer_and_costs_only_its_own_call(bad: str) -> None:
    client = Client()
    client.begins("one")
    client.begins("two")
    client.hears(BAD_ANSWERS[bad] + answer(3))
    assert not untouched(client.outcomes["one"])
    assert client.outcomes["two"] == b"done"
    assert not client.core.broken


def test_a_reset_is_uncertain_unless_the_stream_was_refused() -> None:
    client = Client()
    for name in ("cancelled", "refused", "refused late"):
        client.begins(name)
    client.hears(reset(1, h2.CANCEL) + reset(3, h2.REFUSED_STREAM) + headers(5, OPENING) + reset(5, h2.REFUSED_STREAM))
    assert {name: untouched(outcome) for name, outcome in client.outcomes.items()} == {
        "cancelled": False,
        "refused": True,
        "refused late": False,
    }


def test_header_blocks_are_looked_up_only_while_no_table_is_kept() -> None:
    blocks = h2.HeaderBlocks()
    indexed = b"\x40\x0bgrpc-status\x010"  # remembered as entry 62
    assert blocks.decode(indexed).grpc_status == "0"
    assert blocks.decode(b"\xbe").grpc_status == "0"
    assert blocks.decode(b"\x40\x0bgrpc-status\x025x").grpc_status == "5x"
    assert blocks.decode(b"\xbe").grpc_status == "5x", "the same bytes mean something else by now"
    assert not blocks._kept
    assert blocks.decode(b"\x20\x10\x0bgrpc-status\x017").grpc_status == "7"
    assert not blocks._kept, "this block changed the size of the table"
    for _ in range(2):
        assert blocks.decode(b"\x10\x0bgrpc-status\x019").grpc_status == "9"
    assert len(blocks._kept) == 1
    blocks.decode(b"\x3f\xe1\x1f\x10\x0bgrpc-status\x017")
    assert not blocks._kept, "a table is kept again"


# --- windows ---------------------------------------------------------------------------------------------------------


def test_a_large_request_waits_for_both_windows_and_does_nothing_before_its_last_byte() -> None:
    client = Client((h2.INITIAL_WINDOW_SIZE, 10))
    call = client.begins("one", b"x" * 30)
    head, first = client.says()
    assert head[0] == h2.HEADERS
    assert first == (h2.DATA, 0, 1, (message(b"x" * 30))[:10])
    client.begins("two", b"y" * 5)  # passes by
    assert [(frame[0], frame[2]) for frame in client.says()] == [(h2.HEADERS, 3), (h2.DATA, 3)]
    client.hears(window(1, 24))
    assert client.says() == [(h2.DATA, 0, 1, (message(b"x" * 30))[10:34])]
    assert not call.sent
    client.hears(window(1, 100))
    assert client.says() == [(h2.DATA, h2.END_STREAM, 1, b"x")]
    assert call.sent
    client.hears(answer(1) + answer(3))
    assert client.outcomes == {"one": b"done", "two": b"done"}


def test_the_window_of_the_connection_is_shared_and_given_to_the_first() -> None:
    client = Client((h2.INITIAL_WINDOW_SIZE, 1_000_000))
    client.begins("one", b"x" * 60_000)
    client.begins("two", b"y" * 60_000)
    sent = [frame for frame in client.says() if frame[0] == h2.DATA]
    assert sum(len(frame[3]) for frame in sent) == 65535
    assert all(len(frame[3]) <= h2.MAX_FRAME_BYTES for frame in sent)
    client.hears(window(0, 100_000))
    client.says()
    client.begins("small")
    assert len(client.says()) == 2
    client.hears(answer(1) + answer(3) + answer(5))
    assert list(client.outcomes.values()) == [b"done"] * 3


def test_a_changed_initial_window_counts_for_streams_that_are_open_and_may_make_them_wait_longer() -> None:
    client = Client((h2.INITIAL_WINDOW_SIZE, 20))
    client.begins("one", b"x" * 45)
    client.says()
    client.hears(h2.settings([(h2.INITIAL_WINDOW_SIZE, 5)]) + window(1, 15))
    assert client.says() == [(h2.SETTINGS, h2.ACK, 0, b"")], "20 - 15 + 15: all of it is used"
    client.hears(h2.settings([(h2.INITIAL_WINDOW_SIZE, 35)]))
    assert [len(frame[3]) for frame in client.says() if frame[0] == h2.DATA] == [30]


def test_larger_frames_are_used_when_the_server_takes_them() -> None:
    client = Client((h2.INITIAL_WINDOW_SIZE, 60_000), (h2.MAX_FRAME_SIZE, 50_000))
    client.begins("one", b"x" * 40_000)
    assert [len(frame) for frame in (client.core.take(),)] == [9 + len(HEAD) + 1 + 9 + 5 + 40_000]


def test_windows_of_ours_are_given_back_in_large_steps_also_for_calls_that_nobody_waits_for() -> None:
    client = Client()
    call = client.begins("one")
    client.says()
    piece = data(1, b"\0" + h2.number(40 * 2**20) + b"x" * (h2.MAX_FRAME_BYTES - 5))
    client.hears(headers(1, OPENING) + piece)
    for _ in range(unary.STREAM_WINDOW_BYTES // 2 // h2.MAX_FRAME_BYTES):
        client.hears(data(1, b"x" * h2.MAX_FRAME_BYTES))
    [given] = client.says()
    assert given[:3] == (h2.WINDOW_UPDATE, 0, 1)
    client.core.cancel(call)
    assert client.says() == [(h2.RST_STREAM, 0, 1, h2.number(h2.CANCEL))]
    for _ in range(unary.CONNECTION_WINDOW_BYTES // 2 // h2.MAX_FRAME_BYTES):
        client.hears(data(1, b"x" * h2.MAX_FRAME_BYTES))
    [given] = client.says()
    assert given[:3] == (h2.WINDOW_UPDATE, 0, 0)


# --- streams and bounds ----------------------------------------------------------------------------------------------


def test_calls_wait_for_a_stream_when_the_server_limits_them_and_have_done_nothing_meanwhile() -> None:
    client = Client((h2.MAX_CONCURRENT_STREAMS, 1))
    client.begins("one")
    waiting = client.begins("two")
    client.begins("three")
    assert len(client.says()) == 2
    client.core.cancel(waiting)
    assert not client.says()
    client.hears(answer(1))
    assert [frame[2] for frame in client.says()] == [3, 3]
    client.begins("four")
    client.loses()
    assert {name: untouched(o) for name, o in client.outcomes.items() if name != "one"} == {
        "three": False,
        "four": True,
    }


def test_a_cancelled_call_frees_its_stream_for_the_next() -> None:
    client = Client((h2.MAX_CONCURRENT_STREAMS, 1))
    call = client.begins("one")
    client.begins("two")
    client.says()
    client.core.cancel(call)
    client.core.cancel(call)
    assert [frame[0] for frame in client.says()] == [h2.RST_STREAM, h2.HEADERS, h2.DATA]
    client.hears(answer(1) + answer(3))
    assert client.outcomes == {"two": b"done"}


def test_calls_and_bytes_that_wait_are_bounded() -> None:
    client = Client((h2.MAX_CONCURRENT_STREAMS, 0))
    half = b"x" * (unary_sending.MAX_WAITING_BYTES // 2)
    client.begins("large", half)
    with pytest.raises(Broken) as full:
        client.begins("larger", half)
    assert full.value.untouched
    for number in range(unary_sending.MAX_CALLS - 1):
        client.begins(f"{number}", b"")
    with pytest.raises(Broken) as full:
        client.begins("one more", b"")
    assert full.value.untouched
    client.loses()
    assert all(untouched(outcome) for outcome in client.outcomes.values())
    assert len(client.outcomes) == unary_sending.MAX_CALLS
    assert client.core._sending._unsent_bytes == 0


def test_nothing_is_handed_out_while_the_transport_is_full() -> None:
    client = Client()
    client.core.hold()
    client.begins("one")
    assert not client.says()
    client.core.release()
    assert len(client.says()) == 2
    client.core.hold()
    client.begins("two")
    client.loses()
    assert {name: untouched(outcome) for name, outcome in client.outcomes.items()} == {"one": False, "two": True}


def test_a_server_that_asks_and_does_not_read_is_left() -> None:
    client = Client()
    client.core.hold()
    client.begins("one")
    for _ in range(unary.MAX_SAID_BYTES // 17):
        client.hears(h2.frame(h2.PING, 0, 0, b"12345678"))
    assert not client.core.broken
    client.hears(h2.frame(h2.PING, 0, 0, b"12345678"))
    assert client.core.broken
    assert untouched(client.outcomes["one"])


def test_a_connection_whose_streams_run_out_takes_no_more_and_ends_what_it_has() -> None:
    client = Client((h2.MAX_CONCURRENT_STREAMS, 1))
    client.core._sending.next_stream = unary_sending.LAST_STREAM - 2 * unary_sending.MAX_CALLS
    stream = client.core._sending.next_stream
    client.begins("last")
    assert client.core.leaving
    with pytest.raises(Broken) as refused:
        client.begins("too late")
    assert refused.value.untouched
    client.hears(answer(stream))
    assert client.outcomes == {"last": b"done"}
    assert client.core.idle


# --- the end of a connection -----------------------------------------------------------------------------------------


def test_what_a_leaving_server_left_out_surely_did_nothing_and_the_rest_goes_on() -> None:
    client = Client((h2.MAX_CONCURRENT_STREAMS, 3))
    for name in ("one", "two", "three", "waiting"):
        client.begins(name)
    client.hears(goaway(2**31 - 1))
    assert client.core.leaving
    assert untouched(client.outcomes.pop("waiting"))
    assert not client.outcomes
    client.hears(goaway(3))
    assert untouched(client.outcomes.pop("three"))
    with pytest.raises(Broken):
        client.begins("later")
    client.hears(answer(1))
    client.loses()
    assert client.outcomes["one"] == b"done"
    assert not untouched(client.outcomes["two"])


def test_an_answer_before_the_request_was_read_ends_the_stream_on_both_sides() -> None:
    client = Client((h2.INITIAL_WINDOW_SIZE, 10))
    client.begins("one", b"x" * 100)
    client.says()
    client.hears(headers(1, [*OPENING, ("grpc-status", "8"), ("grpc-message", "too large")], end=True))
    assert client.says() == [(h2.RST_STREAM, 0, 1, h2.number(h2.NO_ERROR))]
    assert isinstance(client.outcomes["one"], Refused)
    client.hears(window(1, 1000) + reset(1, 0))
    assert not client.says()
    assert client.core._sending._unsent_bytes == 0


ILLEGAL = {
    "a frame that is too large": (h2.MAX_FRAME_BYTES + 1).to_bytes(3, "big") + b"\0\0\0\0\0\1",
    "data of a stream that was never opened": data(7, b"x"),
    "data of an even stream": data(2, b"x"),
    "data of no stream": data(0, b"x"),
    "headers of no stream": headers(0, OPENING),
    "a reset of a stream that was never opened": reset(7, 0),
    "a push": h2.frame(h2.PUSH_PROMISE, h2.END_HEADERS, 1, b"\0\0\0\2" + block(OPENING)),
    "a header block that cannot be decoded": h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"),
    "an index of nothing": h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\xbe"),
    "a frame inside a header block": h2.frame(h2.HEADERS, 0, 1, block(OPENING)) + data(1, b""),
    "a continuation of another stream": h2.frame(h2.HEADERS, 0, 1, b"") + h2.frame(h2.CONTINUATION, 4, 3, b""),
    "a continuation of nothing": h2.frame(h2.CONTINUATION, 4, 1, b""),
    "a header block without an end": h2.frame(h2.HEADERS, 0, 1, b"")
    + h2.frame(h2.CONTINUATION, 0, 1, b"x" * h2.MAX_FRAME_BYTES) * 5,
    "more padding than frame": h2.frame(h2.DATA, h2.PADDED, 1, b"\x05abc"),
    "padding without a length": h2.frame(h2.DATA, h2.PADDED, 1, b""),
    "half a setting": h2.frame(h2.SETTINGS, 0, 0, b"12345"),
    "settings of a stream": h2.frame(h2.SETTINGS, 0, 1, b""),
    "an acknowledgement with contents": h2.frame(h2.SETTINGS, h2.ACK, 0, b"123456"),
    "a small frame size": h2.settings([(h2.MAX_FRAME_SIZE, 100)]),
    "a window beyond all bounds": h2.settings([(h2.INITIAL_WINDOW_SIZE, 2**31)]),
    "a window enlarged by nothing": window(0, 0),
    "a window enlarged beyond all bounds": window(0, 2**31 - 1),
    "a short ping": h2.frame(h2.PING, 0, 0, b"1234567"),
    "a short reset": h2.frame(h2.RST_STREAM, 0, 1, b"123"),
    "a short farewell": h2.frame(h2.GOAWAY, 0, 0, b"1234567"),
}


@pytest.mark.parametrize("illegal", ILLEGAL)
def test_what_a_server_must_not_send_ends_everything_with_a_farewell(illegal: str) -> None:
    client = Client((h2.MAX_CONCURRENT_STREAMS, 1))
    client.begins("one")
    client.begins("waiting")
    client.says()
    client.hears(ILLEGAL[illegal])
    assert client.core.broken
    assert not untouched(client.outcomes["one"])
    assert untouched(client.outcomes["waiting"])
    assert client.says()[-1][0] == h2.GOAWAY
    client.hears(answer(1))
    with pytest.raises(Broken):
        client.begins("later")


def test_what_came_before_the_mistake_still_counts() -> None:
    client = Client()
    client.begins("one")
    client.begins("two")
    client.hears(answer(1) + window(0, 0))
    assert client.outcomes["one"] == b"done"
    assert not untouched(client.outcomes["two"])


@pytest.mark.parametrize("first", [b"HTTP/1.1 400 Bad Request\r\n\r\n", h2.frame(h2.PING, 0, 0, b"12345678"),
                                   h2.frame(h2.SETTINGS, h2.ACK, 0)])  # fmt: skip
def test_a_server_that_does_not_begin_with_its_settings_is_none(first: bytes) -> None:
    core: unary.UnaryCalls[str] = unary.UnaryCalls()
    core.receive(first)
    assert core.broken
    assert not core.ready
