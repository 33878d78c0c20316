"""What the relay may use: a bounded number of connections, and a bounded number of bytes kept back."""

from __future__ import annotations

import asyncio
import resource

import pytest
import structlog
import uvloop

from leasehold.sidecar.capture import turn
from leasehold.sidecar.capture.budget import Budget
from leasehold.sidecar.capture.descriptors import fitting_connections
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.capture.turn import Turn
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import Stream, World, world

pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:DeprecationWarning")
GET = b"GET /other HTTP/1.1\r\nHost: blobs.test\r\n\r\n"
BODY = b'{"id": "b1", "more": "' + b"x" * 3000 + b'"}'
CREATE = b"POST /v1/blobs HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 0\r\n\r\n"
CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@pytest.fixture(params=["uvloop", "asyncio"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


async def listening(made: World) -> World:
    await made.listen(UpstreamListener(Address("127.0.0.1", 0), made.owner.address, made.relay))
    return made


async def test_beyond_the_cap_connections_are_reset_and_the_others_served() -> None:
    async with world(budget=Budget(connections=2)) as made:
        await listening(made)
        first, owner = await made.pair()
        await made.pair()
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                refused = await made.app()
                with pytest.raises(ConnectionResetError):
                    await refused.read()
        assert made.metrics.counts["connection-refused limit"] == 3
        told = [log for log in logs if log["event"] == "connections_refused"]
        assert [(log["reason"], log["count"]) for log in told] == [("limit", 1)], "not a line for each"
        first.send(GET)
        await owner.expect(GET)
        await first.close()
        await owner.close()
        await made.metrics.until("closed")
        again, owner = await made.pair()
        again.send(GET)
        await owner.expect(GET)


async def test_a_burst_is_capped_too() -> None:
    async with world(budget=Budget(connections=5)) as made:
        await listening(made)
        await asyncio.gather(*(made.app() for _ in range(40)))
        await made.metrics.until("connection-refused limit", 35)
        assert made.metrics.counts["opened"] == 5


async def test_beyond_the_memory_cap_a_held_answer_goes_on_early() -> None:
    async with world(budget=Budget(held_bytes=2000)) as made:
        await listening(made)
        app, owner = await made.pair()
        app.send(CREATE)
        await owner.expect(CREATE)
        owner.send(CREATED)
        await app.expect(CREATED)
        assert made.metrics.counts["released-early response"] == 1
        assert made.registrar.ids == ["b1"], "the registration goes on in the background"
        made.registrar.say()


async def test_below_the_memory_cap_an_answer_waits() -> None:
    async with world(budget=Budget(held_bytes=10_000)) as made:
        await listening(made)
        app, owner = await made.pair()
        app.send(CREATE)
        await owner.expect(CREATE)
        owner.send(CREATED)
        await made.registrar.was_asked()
        await app.expect_nothing_yet()
        assert made.relay.budget.held == len(CREATED)
        made.registrar.say(Outcome.REGISTERED)
        await app.expect(CREATED)
        assert made.relay.budget.held == 0
        assert made.metrics.counts["released-early response"] == 0


async def test_a_held_request_goes_on_early_or_is_refused_as_its_rule_says() -> None:
    async with world(budget=Budget(held_bytes=2000)) as made:
        await listening(made)
        for path, forwarded in (("/v1/notes/n1", True), ("/v1/blobs/b1", False)):
            app = await made.app()
            owner = await made.owner.accepted()
            request = f"PUT {path} HTTP/1.1\r\nHost: blobs.test\r\nContent-Length: 3000\r\n\r\n".encode() + b"x" * 3000
            app.send(request)
            if forwarded:
                await owner.expect(request)
            else:
                assert (await app.head()).startswith(b"HTTP/1.1 503 ")
        assert made.metrics.counts["released-early request"] == 2
        assert made.metrics.counts["rejected put-blob"] == 1
        for future in made.registrar.futures:
            if not future.done():
                future.set_result(Outcome.REGISTERED)


async def test_everybody_gets_a_turn_and_nothing_is_lost_when_reads_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "READS", 1)
    size = 1024 * 1024
    async with world() as made:
        made.relay.turn.left = 0
        await listening(made)
        pairs = [await made.pair() for _ in range(20)]
        request = b"PUT /other HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"u" * size
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"d" * size

        async def exchange(app: Stream, owner: Stream) -> None:
            for _ in range(2):
                app.send(request)
                await owner.expect(request)
                owner.send(answer)
                await app.expect(answer)

        await asyncio.gather(*(exchange(app, owner) for app, owner in pairs))


class Reader:
    """A ``Yielding``."""

    def __init__(self) -> None:
        self.waiting = 0

    def wait_for_turn(self) -> None:
        self.waiting += 1

    def turn_has_come(self) -> None:
        self.waiting -= 1


async def test_who_reads_beyond_the_bound_waits_until_the_tasks_have_run() -> None:
    bounded, readers = Turn(), [Reader() for _ in range(3)]
    tasks: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: tasks.append(sum(reader.waiting for reader in readers)))
    for reader in readers:
        bounded.over(reader)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tasks == [3]
    assert [reader.waiting for reader in readers] == [0, 0, 0]
    assert bounded.left == turn.READS


def test_descriptors_are_raised_or_connections_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    assert fitting_connections(100) == 100
    assert len(limits) == 1
    assert fitting_connections(1000) == 1000
    assert limits[-1] == (2128, 4096)
    assert fitting_connections(10_000) == (4096 - 128) // 2
    assert limits[-1] == (4096, 4096)
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert fitting_connections(1_000_000) == 1_000_000
