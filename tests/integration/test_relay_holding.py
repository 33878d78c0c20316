"""Holding on real sockets: what waits, what does not, and what happens when the waiting ends badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.observe.events import Creation, Deletion, Use
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import RULES, Stream, World, world

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
HASTY = RULES.replace("held_by: process", "held_by: process\n    hold_deadline: 20ms")


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def relayed(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(getattr(request, "param", RULES)) as made:
        await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
        yield made


hasty = pytest.mark.parametrize("relayed", [HASTY], indirect=True)


def call(method: str, path: str, body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def answer(status: str, body: bytes = b"", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


POST = call("POST", "/v1/blobs", b"data")
PUT = call("PUT", "/v1/blobs/b-9", b"data")
NOTE = call("PUT", "/v1/notes/n-1", b"data")
CREATED = answer("201 Created", b'{"id": "b-1"}')
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
OTHER = call("GET", "/elsewhere")
OK = answer("200 OK", b"ok")


async def answered(app: Stream, owner: Stream, request: bytes, response: bytes) -> None:
    app.send(request)
    await owner.expect(request)
    owner.send(response)


# --- responses ---------------------------------------------------------------------------------------------------


async def test_no_byte_of_a_creations_response_passes_before_it_is_durable(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, POST, CREATED)
    await relayed.registrar.was_asked()
    await app.expect_nothing_yet()
    [creation] = relayed.registrar.observations
    assert isinstance(creation, Creation)
    assert creation.resource.id == "b-1"
    assert creation.incarnation == f"call:{creation.call}"
    relayed.registrar.say()
    await app.expect(CREATED)
    assert relayed.metrics.counts == {"opened": 1, "matched create-blob": 1, "held response": 1}


async def test_a_response_is_held_from_its_first_byte_though_its_body_is_still_to_come(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, POST, CREATED[:-3])
    await relayed.metrics.until("matched create-blob")
    await app.expect_nothing_yet()
    owner.send(CREATED[-3:])
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    await app.expect(CREATED)


async def test_interim_responses_pass_a_held_one_does_not(relayed: World) -> None:
    app, owner = await relayed.pair()
    hint = b"HTTP/1.1 100 Continue\r\n\r\n"
    await answered(app, owner, POST, hint + CREATED)
    await app.expect(hint)
    await relayed.registrar.was_asked()
    await app.expect_nothing_yet()
    relayed.registrar.say()
    await app.expect(CREATED)


async def test_what_follows_a_held_response_waits_behind_it(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, POST + OTHER, CREATED + OK)
    await relayed.registrar.was_asked()
    await app.expect_nothing_yet()
    relayed.registrar.say()
    await app.expect(CREATED + OK)


async def test_two_held_responses_keep_their_order_whichever_is_durable_first(relayed: World) -> None:
    app, owner = await relayed.pair()
    second = CREATED.replace(b"b-1", b"b-2")
    await answered(app, owner, POST * 2, CREATED + second)
    await relayed.registrar.was_asked(2)
    relayed.registrar.say(at=1)
    await app.expect_nothing_yet()
    relayed.registrar.say(at=0)
    await app.expect(CREATED + second)


async def test_an_owner_that_closes_behind_a_held_response_closes_behind_it(relayed: World) -> None:
    app, owner = await relayed.pair()
    response = b"HTTP/1.0 201 Created\r\n\r\n" + b'{"id": "b-1"}'
    await answered(app, owner, POST, response)
    owner.end()
    await relayed.registrar.was_asked()
    await app.expect_nothing_yet()
    relayed.registrar.say()
    assert await app.rest() == response


async def test_an_owner_that_dies_in_the_body_leaves_the_app_what_it_said_and_an_error(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, POST, CREATED[:-3])
    await relayed.metrics.until("matched create-blob")
    owner.reset()
    await app.expect(CREATED[:-3])
    with pytest.raises(ConnectionResetError):
        await app.rest()
    assert relayed.metrics.counts["unusable create-blob aborted"] == 1
    assert relayed.registrar.observations == []


@hasty
async def test_after_the_deadline_the_response_goes_on_and_so_does_the_registration(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, POST, CREATED)
    await app.expect(CREATED)
    assert relayed.registrar.ids == ["b-1"]
    assert relayed.metrics.counts["deadline create-blob"] == 1
    [future] = relayed.registrar.futures
    assert not future.cancelled()
    relayed.registrar.say()
    await answered(app, owner, OTHER, OK)
    await app.expect(OK)


@hasty
async def test_an_id_that_comes_after_the_deadline_is_registered_all_the_same(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, POST, CREATED[:-3])
    await app.expect(CREATED[:-3])
    owner.send(CREATED[-3:])
    await app.expect(CREATED[-3:])
    await relayed.registrar.was_asked()
    assert relayed.registrar.ids == ["b-1"]


async def test_a_registrar_that_fails_delays_nothing(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, POST, CREATED)
    await relayed.registrar.was_asked()
    relayed.registrar.futures[0].set_exception(RuntimeError("journal"))
    await app.expect(CREATED)


@pytest.mark.parametrize(
    ("request_", "response", "why"),
    [
        (POST, answer("201 Created", b'{"id": "' + b"x" * 5000 + b'"}'), "body-too-large"),
        (POST, CHUNKED + b"1388\r\n" + b" " * 5000 + b"\r\n0\r\n\r\n", "body-too-large"),
        (POST, answer("201 Created", b"<p>", "Content-Type: text/html\r\n"), "body-unreadable"),
        (POST, answer("201 Created", b"xx", "Content-Encoding: br\r\n"), "body-unreadable"),
        (POST, answer("201 Created", b"{]"), "body-unreadable"),
        (POST, answer("201 Created", b'{"id": "\xff"}'), "body-unreadable"),
        (POST, answer("201 Created", b'{"id": 1.5}'), "not-text"),
        (POST, answer("201 Created", b'{"id": null}'), "no-id"),
        (POST, answer("201 Created", b'{"id": "a/b"}'), "unsafe-path"),
        (POST, answer("201 Created", b'{"id": ".."}'), "unsafe-path"),
        (POST, answer("201 Created", b'{"id": "a\\u0000"}'), "control-characters"),
        (POST, answer("201 Created", b'{"id": "' + b"x" * 1025 + b'"}'), "too-long"),
        (POST, answer("201 Created"), "no-id"),
        (call("GET", "/v1/blobs/.."), OK, "unsafe-path"),
        (call("GET", "/v1/blobs/%00"), OK, "unsafe-path"),
        (call("GET", "/v1/blobs/%ff"), OK, "unsafe-path"),
        (call("GET", "/v1/blobs/" + "x" * 4096), OK, "too-long"),
    ],
)  # fmt: skip
async def test_what_has_no_usable_id_is_not_held_and_not_harmed(
    relayed: World, request_: bytes, response: bytes, why: str
) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, request_, response)
    await app.expect(response)
    [unusable] = [what for what in relayed.metrics.counts if what.startswith("unusable")]
    assert unusable.endswith(f" {why}")
    assert relayed.registrar.observations == []
    await answered(app, owner, OTHER, OK)
    await app.expect(OK)


async def test_a_status_that_no_rule_lists_is_not_held(relayed: World) -> None:
    app, owner = await relayed.pair()
    response = answer("409 Conflict", b'{"id": "b-1"}')
    await answered(app, owner, POST, response)
    await app.expect(response)
    assert relayed.metrics.counts == {"opened": 1}


async def test_in_the_background_nothing_is_held(relayed: World) -> None:
    app, owner = await relayed.pair()
    await answered(app, owner, call("POST", "/v1/logs"), CREATED)
    await app.expect(CREATED)
    assert relayed.registrar.ids == ["b-1"]


async def test_a_use_of_what_is_held_already_costs_no_wait(relayed: World) -> None:
    relayed.registrar.answers = Outcome.ALREADY_HELD
    app, owner = await relayed.pair()
    await answered(app, owner, call("GET", "/v1/blobs/b-1"), OK)
    await app.expect(OK)
    assert [type(seen) for seen in relayed.registrar.observations] == [Use]


async def test_a_deletion_by_the_app_is_held_until_it_is_forgotten(relayed: World) -> None:
    app, owner = await relayed.pair()
    gone = b"HTTP/1.1 204 No Content\r\n\r\n"
    await answered(app, owner, call("DELETE", "/v1/blobs/b-1"), gone)
    await relayed.registrar.was_asked()
    await app.expect_nothing_yet()
    relayed.registrar.say(Outcome.FORGOTTEN)
    await app.expect(gone)
    assert [type(seen) for seen in relayed.registrar.observations] == [Deletion]


@pytest.mark.parametrize("reset", [True, False])
async def test_an_app_that_is_gone_has_its_creation_registered(relayed: World, reset: bool) -> None:
    app, owner = await relayed.pair()
    app.send(POST)
    await owner.expect(POST)
    if reset:
        app.reset()
    else:
        await app.close()
    await owner.expect_nothing_yet()  # many owners drop a call, and what it created, when they see its caller's end
    owner.send(CREATED)
    await relayed.registrar.was_asked()
    assert relayed.registrar.ids == ["b-1"]
    relayed.registrar.say()
    assert await owner.rest() == b""
    await relayed.metrics.until("closed")


async def test_an_app_that_ends_its_half_behind_a_creation_reads_its_answer_and_then_the_owner_sees_the_end(
    relayed: World,
) -> None:
    app, owner = await relayed.pair()
    app.send(POST)
    app.end()
    await owner.expect(POST)
    owner.send(CREATED)
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    await app.expect(CREATED)
    assert await owner.rest() == b""
    owner.end()
    assert await app.rest() == b""
    await relayed.metrics.until("closed")


async def test_a_held_response_stops_the_reading_of_what_is_behind_it(relayed: World) -> None:
    app, owner = await relayed.pair()
    big = answer("200 OK", b"x" * 32_000_000)
    await answered(app, owner, POST + OTHER, CREATED)
    await relayed.registrar.was_asked()
    owner.send(big)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await owner.writer.drain()
    relayed.registrar.say()
    await app.expect(CREATED)
    await app.expect(big)


# --- requests ----------------------------------------------------------------------------------------------------


async def test_no_byte_of_a_request_passes_before_its_intent_is_durable(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(PUT[:10])
    app.send(PUT[10:])
    await relayed.registrar.was_asked()
    await owner.expect_nothing_yet()
    [(rule, call_, method, target, resource)] = relayed.registrar.intents
    assert (rule, method, target, resource and resource.id) == ("put-blob", "PUT", "/v1/blobs/b-9", "b-9")
    relayed.registrar.say()
    await owner.expect(PUT)
    owner.send(OK)
    await relayed.registrar.was_asked()
    await app.expect_nothing_yet()
    [creation] = relayed.registrar.observations
    assert isinstance(creation, Creation)
    assert creation.call == call_
    relayed.registrar.say()
    await app.expect(OK)
    assert relayed.registrar.retracted == []


async def test_an_intent_is_retracted_when_the_call_created_nothing(relayed: World) -> None:
    app, owner = await relayed.pair()
    response = answer("403 Forbidden")
    app.send(PUT)
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    await owner.expect(PUT)
    owner.send(response)
    await app.expect(response)
    assert relayed.registrar.retracted == [relayed.registrar.intents[0][1]]


async def test_an_intent_stays_when_the_outcome_is_unknown(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(PUT)
    await relayed.registrar.was_asked()
    relayed.registrar.say()
    await owner.expect(PUT)
    owner.reset()
    with pytest.raises(ConnectionResetError):
        await app.rest()
    assert relayed.registrar.retracted == []
    assert relayed.metrics.counts["unusable put-blob aborted"] == 1


async def test_an_intent_is_retracted_when_the_app_leaves_before_its_request_did(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(PUT)
    await relayed.registrar.was_asked()
    app.reset()
    with pytest.raises(ConnectionResetError):
        await owner.rest()
    await relayed.registrar.was_asked()
    assert relayed.registrar.retracted == [relayed.registrar.intents[0][1]]
    relayed.registrar.say()


async def says_503(app: Stream) -> None:
    text = await app.rest()
    assert text.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n")
    assert b"put-blob" in text


@pytest.mark.parametrize("outcome", [Outcome.UNPROTECTED, Outcome.BEING_SWEPT])
async def test_a_rejected_request_never_reaches_the_owner(relayed: World, outcome: Outcome) -> None:
    app, owner = await relayed.pair()
    app.send(PUT)
    await relayed.registrar.was_asked()
    relayed.registrar.say(outcome)
    await says_503(app)
    app.end()
    assert await owner.rest() == b""
    await relayed.metrics.until("closed")
    assert relayed.metrics.counts["rejected put-blob"] == 1
    assert relayed.registrar.retracted == [relayed.registrar.intents[0][1]]


@hasty
async def test_a_late_intent_is_rejected_where_the_rule_says_so(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(PUT)
    await says_503(app)
    assert await owner.rest() == b""
    assert relayed.metrics.counts["deadline put-blob"] == 1


@hasty
async def test_a_late_intent_is_forwarded_where_the_rule_says_so(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(NOTE)
    await owner.expect(NOTE)
    assert relayed.metrics.counts["deadline put-note"] == 1
    assert relayed.registrar.retracted == []


async def test_calls_before_a_rejected_one_get_their_answers_first(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(OTHER + POST + PUT + OTHER)
    await owner.expect(OTHER + POST)
    await relayed.registrar.was_asked()
    relayed.registrar.say(Outcome.UNPROTECTED)
    await relayed.metrics.until("rejected put-blob")
    owner.send(OK)
    await app.expect(OK)
    owner.send(CREATED)
    await relayed.registrar.was_asked(2)  # the retraction, then the creation
    await app.expect_nothing_yet()
    relayed.registrar.say()
    await app.expect(CREATED)
    await says_503(app)
    assert await owner.rest() == b""


async def test_a_refused_app_that_is_still_sending_reads_its_answer(relayed: World) -> None:
    app, owner = await relayed.pair()
    big = call("PUT", "/v1/blobs/b-9", b"x" * 800_000)
    app.send(big[:1000])
    await relayed.registrar.was_asked()
    relayed.registrar.say(Outcome.UNPROTECTED)
    app.send(big[1000:])
    await says_503(app)
    assert await owner.rest() == b""


async def test_a_held_request_stops_the_reading_of_its_body(relayed: World) -> None:
    app, owner = await relayed.pair()
    big = call("PUT", "/v1/blobs/b-9", b"x" * 32_000_000)
    app.send(big)
    await relayed.registrar.was_asked()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await app.writer.drain()
    relayed.registrar.say()
    await owner.expect(big)


async def test_a_call_that_no_rule_intends_does_not_wait_behind_partial_heads_for_ever(relayed: World) -> None:
    app, owner = await relayed.pair()
    app.send(b"HELLO\r\n")
    await owner.expect(b"HELLO\r\n")
    assert relayed.metrics.counts["uninspected not-http"] == 1
