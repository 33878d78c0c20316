"""What `rules test` says of a call equals what the relay registers when the very same bytes pass through it."""

from __future__ import annotations

import gzip

import pytest

from leasehold.protocol.protobuf import Schema
from leasehold.protocol.rules import load_rules
from leasehold.protocol.trials import CapturedGrpc, CapturedHttp, Explanation
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.explain.grpc_wire import wire
from leasehold.sidecar.explain.trial import explain
from leasehold.sidecar.observe.events import Creation, Observation
from leasehold.sidecar.observe.matching import normal_authority
from leasehold.sidecar.ports import Outcome
from leasehold.sidecar.schemas import compile_rules
from tests.fakes.http2 import blob, http2_rules, text
from tests.fakes.relay import RULES, world
from tests.unit.sidecar.test_explain import MORE, trial
from tests.unit.sidecar.test_protobuf import NAMED, descriptor_set

JSON = b'{"id": "b-1", "name": "x"}'
ZIPPED = gzip.compress(JSON, mtime=0)


def request(line: bytes, host: bytes = b"blobs.test", body: bytes = b"") -> bytes:
    return b"%b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n%b" % (line, host, len(body), body)


def response(status: bytes, body: bytes = JSON, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(body), body)


CALLS = {
    "created": (request(b"POST /v1/blobs", body=b"abc"), response(b"201 Created")),
    "created, with an ETag": (request(b"POST /v1/blobs"), response(b"201 Created", more=b'ETag: "7"\r\n')),
    "created, compressed": (
        request(b"POST /v1/blobs"),
        response(b"201 Created", ZIPPED, b"Content-Encoding: gzip\r\n"),
    ),
    "created, in chunks": (
        request(b"POST /v1/blobs"),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(JSON), JSON),
    ),
    "by Location": (request(b"POST /v1/blobs"), response(b"202 Accepted", b"", b"Location: /v1/blobs/b%2D3\r\n")),
    "intended": (request(b"PUT /v1/blobs/b-2"), response(b"200 OK")),
    "intended, and failed": (request(b"PUT /v1/blobs/b-2"), response(b"500 Oops")),
    "used": (request(b"GET /v1/blobs/b%202?full=1"), response(b"200 OK")),
    "deleted": (request(b"DELETE /v1/blobs/b-2"), response(b"404 Not Found", b"")),
    "several segments": (request(b"PUT /bucket/a/b", b"s3.test"), response(b"200 OK", b"")),
    "unsafe": (request(b"PUT /v1/blobs/a%2Fb"), response(b"200 OK", b"")),
    "not an id": (request(b"POST /v1/blobs"), response(b"201 Created", b'{"id": {}}')),
    "not JSON": (request(b"POST /v1/blobs"), response(b"201 Created", b"<p>", b"Content-Type: text/html\r\n")),
    "of no rule": (request(b"GET /v1/other"), response(b"200 OK")),
    "of nobody": (request(b"POST /v1/blobs", b"nobody.test"), response(b"201 Created")),
}


def told(observations: list[Observation]) -> list[tuple[str, str, str | None]]:
    return [
        (each.rule.name, str(each.resource), _kind(each.incarnation) if isinstance(each, Creation) else None)
        for each in observations
    ]


def promised(explanation: Explanation) -> list[tuple[str, str, str | None]]:
    return [
        (each.rule, each.resource, each.incarnation and _kind(each.incarnation))
        for each in explanation.verdicts
        if each.resource is not None and each.matched
    ]


def _kind(incarnation: str) -> str:
    """A call's own name is another one each time."""
    return "call" if incarnation.startswith("call:") else incarnation


async def registered(rules: str, asked: bytes, answered: bytes) -> list[tuple[str, str, str | None]]:
    """What the relay registers of a call whose bytes pass through it unchanged."""
    async with world(rules) as relayed:
        relayed.registrar.answers = Outcome.REGISTERED
        relayed.rules.matcher = compile_rules(load_rules(rules, "rules.yaml", {}))
        await relayed.listen(UpstreamListener(Address("127.0.0.1", 0), relayed.owner.address, relayed.relay))
        app, owner = await relayed.pair()
        app.send(asked)
        await owner.expect(asked)
        owner.send(answered)
        await app.expect(answered)
        return told(relayed.registrar.observations)


@pytest.mark.parametrize("rules", [RULES, MORE], ids=["rules", "more rules"])
@pytest.mark.parametrize("call", CALLS)
async def test_what_is_explained_is_registered(call: str, rules: str) -> None:
    asked, answered = CALLS[call]
    explanation = explain(trial(CapturedHttp(asked, answered), rules))
    assert explanation.remarks == ()
    assert promised(explanation) == await registered(rules, asked, answered)


def test_the_calls_are_worth_comparing() -> None:
    found = {call: promised(explain(trial(CapturedHttp(*CALLS[call])))) for call in CALLS}
    assert sum(bool(some) for some in found.values()) == 9
    assert {len(some) for some in found.values()} == {0, 1, 2}


GRPC = {
    "created": CapturedGrpc("/blobs.v1.Blobs/Create", text(1, b"b-1"), blob("b-1")),
    "failed": CapturedGrpc("/blobs.v1.Blobs/Create", text(1, b"b-1"), None, 5),
    "deleted": CapturedGrpc("/blobs.v1.Blobs/Delete", text(1, b"b-1"), b"", 5),
    "tagged": CapturedGrpc("/blobs.v1.Blobs/Tag", b"", b"", 0, {"x-blob": "b-2"}),
    "streamed": CapturedGrpc("/blobs.v1.Blobs/Watch", b"", blob("b-3")),
    "intended": CapturedGrpc("/blobs.v1.Blobs/Intend", b"", blob("b-4")),
    "of no rule": CapturedGrpc("/blobs.v1.Blobs/Other", b"", blob("b-5")),
    "without an id": CapturedGrpc("/blobs.v1.Blobs/Create", b"", b""),
}


@pytest.mark.parametrize("call", GRPC)
async def test_what_is_explained_of_grpc_is_registered(call: str) -> None:
    rules = http2_rules()
    explanation = explain(trial(GRPC[call], rules, "blobs.test"))
    asked, answered = wire(GRPC[call], normal_authority("blobs.test"), None)
    assert promised(explanation) == await registered(rules, asked, answered)
    assert bool(promised(explanation)) == (call not in {"failed", "of no rule", "without an id"})


async def test_what_is_explained_of_json_messages_is_registered(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("descriptors") / "blobs.pb"
    file.write_bytes(descriptor_set())
    rules = NAMED.replace("blobs.pb", str(file))
    call = CapturedGrpc("/blobs.v1.Blobs/Create", b'{"name": "n"}', b'{"blob": {"id": "b-1"}}')
    explanation = explain(trial(call, rules, "blobs.test"))
    asked, answered = wire(call, normal_authority("blobs.test"), Schema(descriptor_set()))
    assert promised(explanation) == await registered(rules, asked, answered)
    assert [each[1] for each in promised(explanation)] == ["blobs/blob/b-1"]
