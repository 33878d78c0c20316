"""The host as something that answers: HTTP, TCP or gRPC health checks.

- It has ended after so many failures in a row, and not before: one lost packet is no death.
- While it has never answered yet it may still be starting up: then failures count only if an earlier sidecar saw it
  alive (``resumed``).
- How it ended a probe cannot know; from outside, a host that hangs and one that is gone look alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import structlog
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from leasehold.protocol.ports import Clock
from leasehold.protocol.records import Ending
from leasehold.sidecar.host.port import UNTOLD

log = structlog.get_logger()

Check = Callable[[], Awaitable[bool]]
"""One look: whether the host answered well. May take as long as it likes; the probe has the deadline."""

TROUBLE = (OSError, aiohttp.ClientError, GRPCError, StreamTerminatedError, ProtocolError)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, for how long, and how many failures in a row are a death. Seconds."""

    interval: float = 2.0
    timeout: float = 1.0
    failures: int = 3


class ProbedHost:
    """A ``Host`` that is looked at from outside."""

    def __init__(self, check: Check, pace: Pace, clock: Clock) -> None:
        self._check = check
        self._pace = pace
        self._clock = clock
        self._first = True
        self._seen = False

    async def started(self) -> str | None:
        """At once the first time: its first calls may come before its first good answer."""
        if self._first:
            self._first = False
            return UNTOLD
        while not await self._answers():
            await self._pause()
        self._seen = True
        return UNTOLD

    async def ended(self, *, resumed: bool) -> Ending:
        seen, failures = self._seen or resumed, 0
        while failures < self._pace.failures:
            if await self._answers():
                seen, failures = True, 0
            elif seen:
                failures += 1
            if failures < self._pace.failures:
                await self._pause()
        self._seen = False
        return Ending.UNKNOWN

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(self._pace.timeout):
                return await self._check()
        except TROUBLE as error:  # a TimeoutError is an OSError
            log.info("probe_failed", error=str(error) or type(error).__name__)
            return False

    async def _pause(self) -> None:
        await self._clock.sleep_until(self._clock.now() + self._pace.interval)


def http_check(url: str) -> Check:
    """Any answer below 400, without following redirects."""

    async def check() -> bool:
        async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as answer:
            return answer.status < 400

    return check


def tcp_check(host: str, port: int) -> Check:
    """A connection is accepted."""

    async def check() -> bool:
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True

    return check


def grpc_check(host: str, port: int, service: str) -> Check:
    """``grpc.health.v1.Health/Check`` says SERVING."""

    async def check() -> bool:
        channel = Channel(host, port)
        try:
            answer = await HealthStub(channel).Check(HealthCheckRequest(service=service))
        finally:
            channel.close()
        return bool(answer.status == HealthCheckResponse.SERVING)

    return check
