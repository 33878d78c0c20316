"""The idempotency key on real sockets: who gets one, what the intent says of it, and what a signature says to it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import boto3
import botocore.config
import grpc
import grpc.aio
import h2.settings
import pytest
import uvloop
from aiohttp import ClientSession, web
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from leasehold.sidecar.capture.forward_proxy import ForwardProxyListener
from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome, Registrar
from tests.fakes.http2 import SERVICE, blob, http2_rules, text
from tests.fakes.relay import RULES, SOON, CountingMetrics, ManualRegistrar, Rules, World, rules, world
from tests.integration.test_relay_http2 import Peer, peers

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
WANTED = "commit: before-request\n    idempotency_key: {header: Idempotency-Key}"
KEYED = RULES.replace("commit: before-request", WANTED)
KEYED_2 = http2_rules().replace("commit: before-request", WANTED)
KEYED_S3 = KEYED.replace(
    "id: {path: key}\n    held_by: process", f"id: {{path: key}}\n    held_by: process\n    {WANTED}"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CALL = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def relayed(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(getattr(request, "param", KEYED)) as made:
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        yield made


on_http2 = pytest.mark.parametrize("relayed", [KEYED_2], indirect=True)


def put(path: str = "/v1/blobs/b-9", more: str = "", body: bytes = b"data") -> tuple[bytes, bytes]:
    """Before and behind the place of the line."""
    head = f"PUT {path} HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: {len(body)}\r\n{more}"
    return head.encode(), b"\r\n" + body


def line(relayed: World, at: int = -1) -> bytes:
    return f"Idempotency-Key: {relayed.registrar.intents[at][1]}\r\n".encode()


# --- HTTP/1 ------------------------------------------------------------------------------------------------------


async def test_a_request_waits_for_its_intent_and_then_carries_what_the_intent_records(relayed: World) -> None:
    app, owner = await relayed.pair()
    before, behind = put()
    app.send(before + behind)
    await relayed.registrar.was_asked()
    await owner.expect_nothing_yet()
    [key] = relayed.registrar.keys
    assert CALL.fullmatch(key)
    assert key == relayed.registrar.intents[0][1]
    relayed.registrar.say()
    await owner.expect(before + line(relayed) + behind)
    assert relayed.metrics.counts["key put-blob inserted"] == 1


async def test_the_observation_names_the_call_that_the_owner_knows(relayed: World) -> None:
    app, owner = await relayed.pair()
    before, behind = put()
    app.send(before + behind)
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    await owner.expect(before + line(relayed) + behind)
    owner.send(OK)
    await relayed.registrar.was_asked()
    assert relayed.registrar.observations[0].call == relayed.registrar.keys[0]  # type: ignore[union-attr]


async def test_requests_that_no_rule_intends_pass_unchanged(relayed: World) -> None:
    app, owner = await relayed.pair()
    for request in (
        b"POST /v1/blobs HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 0\r\n\r\n",
        b"GET /v1/blobs/b-9 HTTP/1.1\r\nHost: blobs.test\r\n\r\n",
        b"PUT /v1/blobs/b-9 HTTP/1.1\r\nHost: elsewhere.test\r\nContent-Length: 0\r\n\r\n",
    ):
        app.send(request)
        await owner.expect(request)
    assert relayed.registrar.keys == []


@pytest.mark.parametrize(
    ("more", "recorded", "outcome"),
    [
        ("idempotency-key:  my-own-1 \r\n", "my-own-1", "from-app"),
        ('Idempotency-Key: "quoted, too"\r\n', '"quoted, too"', "from-app"),
        (f"Idempotency-Key: {'k' * 256}\r\n", "k" * 256, "from-app"),
        (f"Idempotency-Key: {'k' * 257}\r\n", "", "from-app-unusable"),
        ("Idempotency-Key: one\r\nIdempotency-Key: two\r\n", "", "from-app-unusable"),
        ("Idempotency-Key:\r\n", "", "from-app-unusable"),
        ("Idempotency-Key: tab\tinside\r\n", "", "from-app-unusable"),
        ("Idempotency-Key: schl\u00fcssel\r\n", "", "from-app-unusable"),
    ],
)
async def test_an_apps_own_key_is_left_alone_and_recorded_if_it_can_be(
    relayed: World, more: str, recorded: str, outcome: str
) -> None:
    app, owner = await relayed.pair()
    before, behind = put(more=more)
    app.send(before + behind)
    await relayed.registrar.was_asked()
    assert relayed.registrar.keys == [recorded]
    relayed.registrar.say()
    await owner.expect(before + behind)
    assert relayed.metrics.counts[f"key put-blob {outcome}"] == 1


async def test_a_refused_request_sends_no_key_either(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(b"".join(put()))
    await relayed.registrar.was_asked()
    relayed.registrar.say(Outcome.UNPROTECTED)
    assert b"503 Service Unavailable" in await app.head()
    assert await owner.rest() == b""


async def test_at_the_deadline_the_request_goes_on_with_its_key() -> None:
    async with world(KEYED.replace("held_by: process", "held_by: process\n    hold_deadline: 20ms")) as made:
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        app, owner = await made.pair()
        before, behind = put("/v1/notes/n-1")
        app.send(before + behind)
        await made.registrar.was_asked()
        await owner.expect(before + line(made) + behind)


async def test_a_head_whose_beginning_has_gone_gets_no_line() -> None:
    async with world(
        RULES.replace("commit: before-request\n    on_unavailable: reject", "").replace("commit: before-request", "")
    ) as made:
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        app, owner = await made.pair()
        first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        app.send(first)
        await owner.expect(first)
        owner.send(OK)
        await app.expect(OK)
        before, behind = put("/v1/notes/n-1")
        app.send(before)
        await owner.expect(before)  # nothing could have to wait
        made.rules.matcher = Matcher.compile(rules(KEYED))
        app.send(behind)
        await made.registrar.was_asked()
        assert made.registrar.keys == [""]
        made.registrar.say()
        await owner.expect(behind)
        assert made.metrics.counts["key put-note head-gone"] == 1


async def test_a_forward_proxy_rewrites_the_head_and_adds_the_line() -> None:
    async with world(KEYED) as made:
        await made.listen(ForwardProxyListener(Address("127.0.0.1", 0), made.relay))
        made.rules.matcher = Matcher.compile(rules(KEYED.replace("other.test:8080", str(made.owner.address))))
        app = await made.app()
        before, behind = put(more="Proxy-Connection: keep-alive\r\n")
        app.send(before.replace(b"PUT ", f"PUT http://{made.owner.address}".encode()) + behind)
        owner = await made.owner.accepted()
        await made.registrar.was_asked()
        await owner.expect_nothing_yet()
        made.registrar.say()
        await owner.expect(before.replace(b"Proxy-Connection: keep-alive\r\n", b"") + line(made) + behind)


# --- HTTP/2 ------------------------------------------------------------------------------------------------------


async def received(owner: Peer) -> dict[str, str]:
    """The next request's fields."""
    async with asyncio.timeout(SOON):
        while True:
            for event in owner.h2.receive_data(await owner.stream.read()):
                if hasattr(event, "headers") and dict(event.headers or ()).get(":path"):
                    return dict(event.headers)


@on_http2
async def test_a_stream_carries_its_key_behind_its_other_fields(relayed: World) -> None:
    app, owner = await peers(relayed)
    for n in range(3):
        app.ask("PUT", f"/v1/blobs/b-{n}")
        await relayed.registrar.was_asked()
        relayed.registrar.say()
        fields = await received(owner)
        assert [*fields.items()][-1] == ("idempotency-key", relayed.registrar.keys[n])
        assert fields[":path"] == f"/v1/blobs/b-{n}"
        app.ask("GET", "/other")
        assert "idempotency-key" not in await received(owner)
    assert relayed.metrics.counts["key put-blob inserted"] == 3


@pytest.mark.parametrize(
    "relayed", [KEYED_2.replace("on_unavailable: forward", "on_unavailable: reject")], indirect=True
)
async def test_a_refused_stream_sends_no_key_and_those_under_way_go_on(relayed: World) -> None:
    app, owner = await peers(relayed)
    first = app.ask("PUT", "/v1/blobs/b-1")
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    assert (await received(owner))["idempotency-key"] == relayed.registrar.keys[0]
    second = app.ask("PUT", "/v1/blobs/b-1")
    await relayed.registrar.was_asked()
    relayed.registrar.say(Outcome.UNPROTECTED)
    await app.hear((second, 503))
    third = app.ask("PUT", "/v1/blobs/b-1")  # as the second: no header block that the tables need was dropped
    await relayed.registrar.was_asked(2)  # the second was retracted
    relayed.registrar.say()
    fields = await received(owner)
    assert fields["idempotency-key"] == relayed.registrar.keys[2]
    owner.answer(first, 404)
    owner.answer(third, 404)
    await app.hear((first, 404), (third, 404))


@on_http2
async def test_an_apps_own_field_is_left_alone(relayed: World) -> None:
    app, owner = await peers(relayed)
    headers = [(":method", "PUT"), (":scheme", "http"), (":authority", "blobs.test"), (":path", "/v1/blobs/b-1")]
    app.h2.send_headers(1, [*headers, ("idempotency-key", "mine")], end_stream=True)
    app.flush()
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    fields = await received(owner)
    assert fields["idempotency-key"] == "mine"
    assert len(fields) == 5
    assert relayed.registrar.keys == ["mine"]
    assert relayed.metrics.counts["key put-blob from-app"] == 1


@on_http2
@pytest.mark.parametrize(("limit", "outcome"), [(266, "inserted"), (265, "head-too-large")])
async def test_an_owner_that_takes_no_longer_list_gets_none(relayed: World, limit: int, outcome: str) -> None:
    app, owner = await peers(relayed)
    owner.h2.update_settings({h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: limit})
    owner.flush()
    await app.hear((0, "RemoteSettingsChanged"))
    app.heard.clear()
    app.ask("PUT", "/v1/blobs/b-1")  # 187 bytes as the setting counts them, and 79 for the key
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    assert ("idempotency-key" in await received(owner)) is (outcome == "inserted")
    assert relayed.metrics.counts[f"key put-blob {outcome}"] == 1
    assert bool(relayed.registrar.keys[0]) is (outcome == "inserted")


# --- real servers ------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def in_front_of(handler: Any, rules_: str, registrar: Registrar, metrics: CountingMetrics) -> AsyncIterator[str]:
    """An aiohttp server that answers everything with ``handler``, and the relay in front of it: its origin, which is
    ``s3.test`` in the rules."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    view = Rules(Matcher.compile(rules(rules_)))
    relay = RelaySettings(registrar, view, metrics, drain_deadline=0.05)
    listener = UpstreamListener(Address("127.0.0.1", 0), Address("127.0.0.1", port), relay)
    try:
        origin = "{}:{}".format(*await listener.start())
        view.matcher = Matcher.compile(rules(rules_.replace("s3.test", origin)))
        yield f"http://{origin}"
    finally:
        await listener.close()
        await runner.cleanup()


async def test_an_aiohttp_server_sees_the_key_once_and_all_else_as_it_was_sent() -> None:
    seen: list[tuple[list[str], bytes]] = []

    async def echo(request: web.Request) -> web.Response:
        seen.append((request.headers.getall("Idempotency-Key", []), await request.read()))
        return web.Response(text=request.headers.get("Idempotency-Key", ""))

    registrar, metrics = ManualRegistrar(Outcome.REGISTERED), CountingMetrics()
    async with in_front_of(echo, KEYED, registrar, metrics) as origin, ClientSession() as session:
        for n in range(3):
            host = {"Host": "blobs.test"}
            async with session.put(f"{origin}/v1/blobs/b-{n}", data=b"x" * 70_000, headers=host) as answer:
                assert await answer.text() == registrar.keys[n]
            async with session.get(f"{origin}/other", headers=host) as answer:
                assert await answer.text() == ""
    bodies = [(keys, len(body)) for keys, body in seen]
    assert bodies == [one for key in registrar.keys for one in (([key], 70_000), ([], 0))]


async def test_a_grpcio_server_sees_the_key_as_metadata() -> None:
    seen: list[dict[str, Any]] = []

    async def one(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        seen.append(dict(context.invocation_metadata() or ()))
        return blob(request[2:].decode())

    server = grpc.aio.server()
    methods = {name: grpc.unary_unary_rpc_method_handler(one) for name in ("Intend", "Other")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    registrar, metrics = ManualRegistrar(Outcome.REGISTERED), CountingMetrics()
    keyed = http2_rules(port).replace("commit: before-request", WANTED)
    relay = RelaySettings(registrar, Rules(Matcher.compile(rules(keyed))), metrics, drain_deadline=0.05)
    listener = UpstreamListener(Address("127.0.0.1", 0), Address("127.0.0.1", port), relay)
    _, listening = await listener.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{listening}") as channel:
            for n in range(20):
                method = "Intend" if n % 2 else "Other"
                metadata = (("x-n", str(n)), ("trace-bin", bytes([n])))
                call = channel.unary_unary(f"/{SERVICE}/{method}")
                assert await call(text(1, b"b-%d" % n), metadata=metadata, timeout=SOON) == blob(f"b-{n}")
    finally:
        await listener.close()
        await server.stop(None)
    assert [one.pop("idempotency-key", None) for one in seen] == [
        key for n in range(10) for key in (None, registrar.keys[n])
    ]
    assert [(one["x-n"], one["trace-bin"]) for one in seen] == [(str(n), bytes([n])) for n in range(20)]
    assert not [what for what in metrics.counts if what.startswith("gave-up")]


def signed_right(request: web.Request) -> bool:
    """Whether what came is what boto3 signed: the signature, made anew from what the owner sees."""
    authorization = request.headers["Authorization"]
    names = re.search(r"SignedHeaders=([^,]+)", authorization)[1].split(";")  # type: ignore[index]
    fields = {name: request.headers[name] for name in names}
    made = AWSRequest(request.method, f"http://{request.headers['Host']}{request.raw_path}", headers=fields)
    made.context["timestamp"] = fields["x-amz-date"]
    signer = S3SigV4Auth(Credentials("id", "secret"), "s3", "us-east-1")
    to_sign = signer.string_to_sign(made, signer.canonical_request(made))
    return authorization.endswith(f"Signature={signer.signature(to_sign, made)}")


async def test_a_signed_request_stays_signed_for_the_key_is_not_among_what_it_signs() -> None:
    seen: list[tuple[str | None, bool]] = []

    async def owner(request: web.Request) -> web.Response:
        await request.read()
        seen.append((request.headers.get("Idempotency-Key"), signed_right(request)))
        return web.Response(headers={"ETag": '"x"'})

    registrar, metrics = ManualRegistrar(Outcome.REGISTERED), CountingMetrics()
    async with in_front_of(owner, KEYED_S3, registrar, metrics) as origin:
        client = boto3.client(
            "s3", endpoint_url=origin, aws_access_key_id="id", aws_secret_access_key="secret", region_name="us-east-1",
            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )  # fmt: skip
        for key in ("a", "dir/b c", "\u00fc"):
            await asyncio.to_thread(client.put_object, Bucket="bucket", Key=key, Body=b"data")
        await asyncio.to_thread(client.delete_object, Bucket="bucket", Key="a")
    assert seen == [*((key, True) for key in registrar.keys), (None, True)]
    assert registrar.ids == ["a", "dir/b c", "\u00fc"]
