"""Asking owners what they have, beside the sweeps, under the guard of each. Reads only.

Laws:

- A question waits for the same rate limit and the same breaker as a sweep, and never takes the one probe of a tripped
  owner: that is for the sweeps.
- What the owner makes of a question never stops its sweeps: a lookup may be misconfigured where the delete is not.
  Only "wait" and "unknown" are about the owner as a whole.
"""

from __future__ import annotations

import asyncio

from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.owners.outcome import Answer, Fetched, Verdict, of_read
from leasehold.control_plane.owners.register import Office, Owners
from leasehold.protocol.names import Instant
from leasehold.protocol.ports import Clock

WAIT_SECONDS = 0.25
"""Until an owner that had no room for a question is asked again."""
PATIENCE = 240
"""How often."""
_ABOUT_THE_OWNER = frozenset({Verdict.WAIT, Verdict.UNKNOWN})


class Questions:
    """All owners, for one who asks; each has one question at a time."""

    def __init__(self, owners: Owners, clock: Clock, metrics: Metrics) -> None:
        self._owners, self._clock, self._metrics = owners, clock, metrics
        self._asking: set[str] = set()

    async def ask(self, owner: str, target: str, method: str = "GET") -> Fetched | Answer | None:
        """Send one request. ``None``: not now (rate, told to wait, or it is being asked already). An ``Answer`` says
        why there is no usable answer; its verdict is never "it is there". Safe to repeat."""
        office = self._owners.get(owner)
        if office is None:
            return Answer(Verdict.MISCONFIGURED, f"there is no owner {owner!r}")
        if office.guard.suspect or office.guard.tripped is not None:
            return Answer(Verdict.UNKNOWN, f"the owner is not asked: {office.guard.state}")
        now = self._now()
        if owner in self._asking or not office.guard.may_call(now, 0):
            return None
        self._asking.add(owner)
        told: Answer | None = None
        office.begin(now)
        try:
            found = self._noted(office, await self._fetch(office, target, method))
            told = found if isinstance(found, Answer) and found.verdict in _ABOUT_THE_OWNER else None
        finally:
            self._asking.discard(owner)
            office.end(self._now(), told, first=False)
        return found

    async def ask_patiently(self, owner: str, target: str, method: str = "GET") -> Fetched | Answer:
        """The same, waiting for room as long as it takes, up to a minute."""
        for _ in range(PATIENCE):
            answer = await self.ask(owner, target, method)
            if answer is not None:
                return answer
            await self._clock.sleep_until(self._clock.now() + WAIT_SECONDS)
        return Answer(Verdict.WAIT, "the owner had no room for a question")

    async def _fetch(self, office: Office, target: str, method: str) -> Fetched | Answer:
        seconds = float(office.owner.limits.timeout)
        try:
            async with asyncio.timeout(seconds):
                return await office.client.fetch(target, method)
        except TimeoutError:
            return Answer(Verdict.UNKNOWN, f"no answer within {seconds:g} s")

    def _noted(self, office: Office, found: Fetched | Answer) -> Fetched | Answer:
        verdict = of_read(found.status) if isinstance(found, Fetched) else found.verdict
        wait = found.wait if isinstance(found, Fetched) else found.retry_after
        self._metrics.questions.labels(office.owner.name, "there" if verdict is None else verdict.value).inc()
        if isinstance(found, Fetched) and verdict not in {None, Verdict.ABSENT}:
            return Answer(verdict or Verdict.UNKNOWN, f"status {found.status}", wait)
        return found

    def _now(self) -> Instant:
        return Instant(self._clock.now())
