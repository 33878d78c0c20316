"""What an explanation says is what the observer of production finds, however the same call comes in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.protocol.rules import Rule
from leasehold.protocol.templates import PathTemplate, UnsafeId
from leasehold.protocol.trials import CapturedHttp, Explanation
from leasehold.sidecar.explain.trial import explain
from leasehold.sidecar.observe.events import Unusable
from leasehold.sidecar.observe.exchanges import Concluded, Intent, Matched, Piece
from tests.fakes.relay import RULES, rules
from tests.properties.test_http1 import cut, observer
from tests.unit.sidecar.test_explain import trial

BY_NAME = {rule.name: rule for rule in rules().rules}

# Mostly calls that some rule is about, or nearly so.
hosts = st.sampled_from([b"blobs.test"] * 5 + [b"s3.test", b"BLOBS.test.:80", b"other.test:8080", b"nobody.test", b""])
methods = st.sampled_from([b"POST", b"PUT", b"GET", b"DELETE", b"HEAD", b"OPTIONS"])
targets = st.sampled_from(
    [b"/v1/blobs", b"/v1/blobs/b-1", b"/v1/blobs/%2e%2e", b"/v1/blobs/a%2Fb", b"/v1/blobs/%zz", b"/v1/notes/n?x=1",
     b"/v1/logs", b"/bucket/a/b", b"/bucket//", b"/bucket/", b"http://s3.test/bucket/k", b"*", b"/"]
)  # fmt: skip
lines = st.one_of(
    st.just((b"POST", b"/v1/blobs")),
    st.sampled_from([(b"PUT", b"/v1/blobs/b-1"), (b"GET", b"/v1/blobs/b-1"), (b"DELETE", b"/v1/blobs/b-1"),
                     (b"PUT", b"http://s3.test/bucket/k"), (b"PUT", b"/v1/blobs/a%2Fb"), (b"POST", b"/v1/logs")]),
    st.tuples(methods, targets),
)  # fmt: skip
statuses = st.sampled_from([b"200 OK", b"201 Created", b"202 Accepted", b"204 No Content", b"404 Not Found"])
headers = st.sampled_from(
    [b"", b'ETag: "7"\r\n', b"Location: /v1/blobs/b-9\r\n", b"Content-Type: text/html\r\n", b"Location: /other\r\n"]
)
bodies = st.sampled_from([b"", b"{}", b'{"id": "b-1"}', b'{"id": 7}', b'{"id": ".."}', b"nonsense", b'{"id": [1]}'])
places = st.lists(st.integers(0, 10_000), max_size=6)


def framed(body: bytes, how: str) -> bytes:
    if how == "chunked":
        rest = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return b"Transfer-Encoding: chunked\r\n\r\n" + rest + b"0\r\n\r\n"
    return (b"" if how == "close" else b"Content-Length: %d\r\n" % len(body)) + b"\r\n" + body


def found_by_the_observer(request: bytes, response: bytes, first: list[int], second: list[int]) -> list[Piece]:
    watching = observer()
    pieces: list[Piece] = []
    for show, data, at in ((watching.request, request, first), (watching.response, response, second)):
        for chunk in cut(data, at):
            pieces += show(chunk) or []
    return [piece for piece in [*pieces, *watching.response_end()] if not isinstance(piece, bytes)]


def resources(pieces: list[Piece]) -> dict[str, str]:
    """By rule: the resource, or why there is none."""
    return {
        found.rule.name: found.reason if isinstance(found, Unusable) else str(found.resource)
        for piece in pieces
        if isinstance(piece, Concluded)
        for found in piece.findings
    }


@settings(max_examples=500)
@given(hosts, lines, statuses, headers, bodies, st.sampled_from(["sized", "chunked", "close"]), places, places)
def test_an_explanation_is_what_the_observer_finds(
    host: bytes, line: tuple[bytes, bytes], status: bytes, more: bytes, body: bytes, how: str, first: list[int],
    second: list[int],
) -> None:  # fmt: skip
    method, target = line
    request = b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, target, host)
    bodiless = method == b"HEAD" or status.startswith(b"204")
    response = b"HTTP/1.1 %b\r\n%b" % (status, more) + (b"\r\n" if bodiless else framed(body, how))
    told = explain(trial(CapturedHttp(request, response), RULES))
    pieces = found_by_the_observer(request, response, first, second)
    matched = {rule.name for piece in pieces if isinstance(piece, Matched) for rule in piece.rules}
    assert {each.rule for each in told.verdicts if each.matched} == matched
    assert {each.rule: each.resource or each.reason for each in told.verdicts if each.matched} == resources(pieces)
    waiting = {piece.rule.name for piece in pieces if isinstance(piece, Intent)}
    assert {each.rule for each in told.verdicts if "request" in each.holds} == waiting
    waiting = {rule.name for piece in pieces if isinstance(piece, Matched) for rule in piece.holding}
    assert {each.rule for each in told.verdicts if "response" in each.holds} == waiting
    for each in told.verdicts:
        assert each.reason == expected_reason(told, BY_NAME[each.rule]) or each.matched
        assert each.resource is None or not each.reason
        assert each.resource is not None or each.reason


def expected_reason(told: Explanation, rule: Rule) -> str:
    """Of a rule that did not match, worked out without the matcher."""
    if told.method not in rule.match.methods:
        return "method"
    path = told.target.partition("?")[0].removeprefix("http://s3.test")
    try:
        fits = PathTemplate.compile(rule.match.path).match(path) is not None
    except UnsafeId:
        fits = True
    if not fits:
        return "path"
    return "status" if told.status not in rule.match.status else "earlier-rule"


@settings(max_examples=150)
@given(st.binary(max_size=80), st.binary(max_size=80), st.booleans())
def test_no_capture_breaks_the_explanation(request: bytes, response: bytes, begins_well: bool) -> None:
    if begins_well:
        request = b"PUT /v1/blobs/b HTTP/1.1\nHost: blobs.test\n" + request
        response = b"HTTP/1.1 201 Created\n" + response
    told = explain(trial(CapturedHttp(request, response)))
    assert all(each.resource is None or each.matched for each in told.verdicts)
