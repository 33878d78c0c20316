"""Renews the keepers' leases from a thread of its own while the event loop is late (decision 0009).

A saturated relay keeps the loop for seconds: the keeper wakes late, and hears even later that it was answered. So each
lease that the loop has not renewed for half its TTL is renewed from here, through a connection to etcd of our own. In a
healthy process that never comes to pass.

- Renewing is all that is done here. Believing, attaching and watching stay with the keeper: that the lease is still
  there when the loop gets round to it is all the help it needs.
- A loop that hangs for good must not keep its holders alive for ever: without a sign of life from the keeper we stop
  after ``VOUCHED_SECONDS``, and the lease ends.
- What the keeper lets go of is not renewed again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from leasehold.protocol.errors import LeaseNotFound, StoreError
from leasehold.protocol.names import LeaseId
from leasehold.protocol.ports import Leases

VOUCHED_SECONDS: Final = 120.0
IDLE_SECONDS: Final = 60.0
LEAVING_SECONDS: Final = 2.0

log = structlog.get_logger()


class KeeperHelp(Protocol):
    """What a keeper tells whoever helps it. Never blocks."""

    def asks(self, lease: LeaseId) -> None:
        """The keeper is about to renew: the loop is alive."""
        ...

    def kept(self, lease: LeaseId, ttl_seconds: int) -> None:
        """Renewed, as of the latest ``asks``; or attached just now."""
        ...

    def let_go(self, lease: LeaseId) -> None:
        """Not to be renewed any more."""
        ...


class NoHelp:
    """For keepers that manage alone."""

    def asks(self, lease: LeaseId) -> None: ...

    def kept(self, lease: LeaseId, ttl_seconds: int) -> None: ...

    def let_go(self, lease: LeaseId) -> None: ...


@dataclass(slots=True)
class _Lease:
    ttl_seconds: int
    asked_at: float
    due: float
    vouched_until: float


class DueLeases:
    """Which leases the loop is late with. Pure: instants come in."""

    def __init__(self) -> None:
        self._leases: dict[LeaseId, _Lease] = {}

    def asks(self, lease: LeaseId, now: float) -> None:
        known = self._leases.get(lease)
        if known is not None:
            known.asked_at, known.vouched_until = now, now + VOUCHED_SECONDS

    def kept(self, lease: LeaseId, ttl_seconds: int, now: float) -> None:
        known = self._leases.setdefault(lease, _Lease(ttl_seconds, now, now, now + VOUCHED_SECONDS))
        known.ttl_seconds = ttl_seconds
        # From the question on, not from the answer: etcd counts from somewhere in between.
        known.due = max(known.due, known.asked_at + ttl_seconds / 2)

    def helped(self, lease: LeaseId, asked_at: float) -> None:
        known = self._leases.get(lease)
        if known is not None:
            known.due = max(known.due, asked_at + known.ttl_seconds / 3)

    def failed(self, lease: LeaseId, now: float) -> None:
        known = self._leases.get(lease)
        if known is not None:
            known.due = now + known.ttl_seconds / 6

    def let_go(self, lease: LeaseId) -> None:
        self._leases.pop(lease, None)

    def due(self, now: float) -> list[tuple[LeaseId, int]]:
        """What to renew now, with its TTL. Those that nobody vouches for any more are forgotten."""
        for lease in [lease for lease, known in self._leases.items() if known.vouched_until <= now]:
            log.error("lease_given_up", lease=f"{lease:x}", seconds_without_a_sign_of_life=VOUCHED_SECONDS)
            del self._leases[lease]
        return [(lease, known.ttl_seconds) for lease, known in self._leases.items() if known.due <= now]

    def next_due(self) -> float | None:
        return min((known.due for known in self._leases.values()), default=None)


class Assistant:
    """A thread with an event loop and an etcd client of its own. ``connect`` makes the client, over there."""

    def __init__(
        self, connect: Callable[[], AbstractAsyncContextManager[Leases]], helped: Callable[[str], None]
    ) -> None:
        self._connect = connect
        self._helped = helped
        self._leases = DueLeases()
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="keepers' assistant", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopping = True
            self._tell()
        self._thread.join(LEAVING_SECONDS)

    # --- KeeperHelp, from the keepers' loop -----------------------------------------------------------------------

    def asks(self, lease: LeaseId) -> None:
        with self._lock:
            self._leases.asks(lease, time.monotonic())

    def kept(self, lease: LeaseId, ttl_seconds: int) -> None:
        with self._lock:
            self._leases.kept(lease, ttl_seconds, time.monotonic())
            self._tell()

    def let_go(self, lease: LeaseId) -> None:
        with self._lock:
            self._leases.let_go(lease)

    def _tell(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.set)

    # --- over there -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._attend())
        except Exception:
            log.exception("assistant_failed")  # the keepers go on alone

    async def _attend(self) -> None:
        try:
            async with self._connect() as leases:
                with self._lock:
                    self._loop = asyncio.get_running_loop()
                while not self._stopping:
                    with self._lock:
                        late = self._leases.due(time.monotonic())
                    await asyncio.gather(*(self._renew(leases, lease, ttl) for lease, ttl in late))
                    await self._wait()
        finally:
            with self._lock:
                self._loop = None

    async def _wait(self) -> None:
        with self._lock:
            due = self._leases.next_due()
        seconds = IDLE_SECONDS if due is None else max(due - time.monotonic(), 0.0)
        try:
            async with asyncio.timeout(min(seconds, IDLE_SECONDS)):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    async def _renew(self, leases: Leases, lease: LeaseId, ttl_seconds: int) -> None:
        asked_at = time.monotonic()
        try:
            await leases.keep_alive(lease, deadline=max(ttl_seconds / 3, 0.5))
        except LeaseNotFound:
            self._helped("lost")
            with self._lock:
                self._leases.let_go(lease)
        except StoreError:
            self._helped("failed")
            with self._lock:
                self._leases.failed(lease, time.monotonic())
        else:
            self._helped("kept")
            with self._lock:
                self._leases.helped(lease, asked_at)
