"""What people capture becomes what was on the wire; whatever had to be changed is said."""

from __future__ import annotations

import pytest

from leasehold.sidecar.explain.captured import captured_request, captured_response

REQUEST = b"POST /v1/blobs HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 3\r\n\r\nabc"
HEAD = b'HTTP/1.1 201 Created\r\nETag: "7"\r\nContent-Length: 12\r\n\r\n'
BODY = b'{"id":"b-1"}'
TRACE = b"""\
* Connected to blobs.test (10.0.0.1) port 80
> POST /v1/blobs HTTP/1.1
> Host: blobs.test
> Content-Length: 3
>
} [3 bytes data]
* upload completely sent off: 3 bytes
< HTTP/1.1 201 Created
< ETag: "7"
< Content-Length: 12
<
{ [12 bytes data]
{"id":"b-1"}* Connection #0 to host blobs.test left intact
"""


def lf(message: bytes) -> bytes:
    return message.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("text", [REQUEST, lf(REQUEST), b"\n\n" + REQUEST])
def test_a_request_may_have_either_line_end(text: bytes) -> None:
    made = captured_request(text)
    assert (made.data, made.remarks) == (REQUEST, [])


@pytest.mark.parametrize("text", [HEAD + BODY, lf(HEAD) + BODY, HEAD + BODY + b"\n", lf(HEAD) + BODY + b"\r\n"])
def test_a_response_may_have_either_line_end_and_an_editors_last_one(text: bytes) -> None:
    made = captured_response(text, to_head=False)
    assert (made.data, made.remarks) == (HEAD + BODY, [])


def test_a_head_without_an_empty_line_is_a_whole_head() -> None:
    assert captured_request(b"GET /a HTTP/1.1\nHost: b").data == b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n"


@pytest.mark.parametrize("trace", [TRACE, TRACE.replace(b"\n", b"\r\n"), TRACE.replace(b">\n", b"> \n")])
def test_one_trace_of_curl_holds_both(trace: bytes) -> None:
    assert captured_request(trace).data == REQUEST[:-3]
    assert captured_response(trace, to_head=False).data == HEAD + BODY


def test_line_ends_in_a_body_are_its_own() -> None:
    body = b'{\n\n"id":\r\n1}'
    assert captured_response(lf(HEAD.replace(b"12", b"%d" % len(body))) + body, to_head=False).data.endswith(body)


def test_interim_responses_stay_before_the_final_one() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert captured_response(lf(interim + HEAD) + BODY, to_head=False).data == interim + HEAD + BODY


def test_http2_as_curl_prints_it_is_taken_as_http1() -> None:
    made = captured_response(b"HTTP/2 201 \nETag: x\n\n" + BODY, to_head=False)
    assert made.data.startswith(b"HTTP/1.1 201 \r\n")
    assert captured_request(b"GET /a HTTP/2\nHost: b\n\n").data.startswith(b"GET /a HTTP/1.1\r\n")
    assert len(made.remarks) == 1


@pytest.mark.parametrize("header", [b"Transfer-Encoding: chunked", b"Content-Encoding: gzip\r\nContent-Length: 30"])
def test_a_body_that_curl_decoded_is_taken_as_it_is_and_that_is_said(header: bytes) -> None:
    made = captured_response(b"HTTP/1.1 201 Created\r\n" + header + b"\r\n\r\n" + BODY, to_head=False)
    assert made.data == b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n" + BODY
    assert len(made.remarks) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b..",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 x",
    ],
)
def test_what_is_as_it_was_on_the_wire_is_left_alone(raw: bytes) -> None:
    made = captured_response(raw, to_head=False)
    assert (made.data, made.remarks) == (raw, [])


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"more"])
def test_a_body_of_another_length_is_kept_and_said(body: bytes) -> None:
    made = captured_response(HEAD + body, to_head=False)
    assert made.data == HEAD + body
    assert len(made.remarks) == 1


def test_the_answer_to_head_has_no_body_to_mend() -> None:
    made = captured_response(HEAD, to_head=True)
    assert (made.data, made.remarks) == (HEAD, [])
