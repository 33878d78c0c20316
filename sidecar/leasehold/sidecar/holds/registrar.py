"""The port the relay talks to: whose hold is it, write it down, hand it on.

None of this waits. An observation is in the journal before its future is returned to anybody who could let the
response go: for ``commit: background`` at once, otherwise by the end of this turn of the event loop, which is before
any commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from leasehold.protocol.names import CallId, Holder, Resource
from leasehold.protocol.ports import Clock
from leasehold.protocol.rules import Commit, Rule
from leasehold.sidecar.holds.cache import AlreadyHeld, Cache, Joined
from leasehold.sidecar.holds.committer import Committer
from leasehold.sidecar.holds.entries import Acquire, Holding, Intend, Operation, Retract
from leasehold.sidecar.holds.holders import Holders
from leasehold.sidecar.holds.journal import Journal
from leasehold.sidecar.observe.events import Creation, Deletion, Observation
from leasehold.sidecar.ports import Outcome

log = structlog.get_logger()


class RegistrarMetrics(Protocol):
    """What the registrar has counted."""

    def registered(self, commit: str, outcome: str) -> None:
        """An observation ended so; ``commit`` is its rule's mode."""
        ...

    def unprotected(self, reason: str) -> None:
        """A creation or use that nothing protects: ``host-ended`` or ``journal-full``."""
        ...

    def taken_back(self) -> None:
        """A hold we believed in was not there, and is acquired anew."""
        ...


class Afterlife(Protocol):
    """Who holds what a host that has ended had begun to create."""

    def holder_of_late(self, rule: Rule, call: CallId) -> Holder | None:
        """In whose name a creation of this call is still to be recorded; ``None``: nobody's."""
        ...


class HoldsRegistrar:
    """``ports.Registrar`` over the journal, the cache and the committer."""

    def __init__(
        self,
        journal: Journal,
        cache: Cache,
        committer: Committer,
        holders: Holders,
        afterlife: Afterlife,
        clock: Clock,
        metrics: RegistrarMetrics,
        since: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._cache = cache
        self._committer = committer
        self._holders = holders
        self._afterlife = afterlife
        self._clock = clock
        self._metrics = metrics
        self._since = since

    def observed(self, observation: Observation) -> asyncio.Future[Outcome]:
        """Register, acquire or forget. A use of what is held already returns a finished future."""
        rule = observation.rule
        holder = None if isinstance(observation, Deletion) else self._holders.holder_for(rule)
        if holder is None and isinstance(observation, Creation):
            # It was under way when the host died: unrecorded, it would be there for ever.
            holder = self._afterlife.holder_of_late(rule, observation.call)
        if holder is None and not isinstance(observation, Deletion):
            self._drop_intent(observation)
            return self._unprotected("host-ended", rule)
        decision = self._cache.decide(observation, holder, self._since(), self._clock.now())
        if isinstance(decision, AlreadyHeld):
            return self._ended(Outcome.ALREADY_HELD, rule)
        if isinstance(decision, Joined):
            return self._counted(self._committer.outcome_of(decision.n), rule)
        return self._submit(decision, rule)

    def intend(
        self, rule: Rule, call: CallId, method: str, target: str, resource: Resource | None, key: str = ""
    ) -> asyncio.Future[Outcome]:
        """Before the request leaves: record that this call may create something."""
        holder = self._holders.holder_for(rule)
        if holder is None:
            return self._unprotected("host-ended", rule)
        sent_as = rule.idempotency_key.header if key and rule.idempotency_key is not None else ""
        n, since = self._journal.state.next, self._since()
        operation = Intend(n, call, holder, rule.name, method, target, since, resource, key, sent_as)
        return self._submit(operation, rule)

    def retract(self, call: CallId) -> None:
        """The intended call created nothing. A call nobody intended is no error."""
        intent = self._journal.state.intents.get(call)
        if intent is None:
            return
        operation = Retract(
            self._journal.state.next, call, intent.holder, intent.n, intent.rule, intent.since, intent.resource
        )
        # It only ends things, so a full journal takes it.
        self._journal.note(operation)
        self._cache.on_pending(operation)
        self._committer.submit(operation)

    def resume(self) -> None:
        """After a restart: submit what was pending, in its old order."""
        pending = sorted(self._journal.state.pending.values(), key=lambda operation: operation.n)
        for operation in pending:
            self._committer.submit(operation, resumed=True)
        if pending:
            log.info("pending_resumed", count=len(pending))

    def let_idle_go(self, limit: int) -> None:
        """Release what nobody used for long enough, and remember no more holds than there is room for."""
        for release in self._cache.idle(self._clock.now(), limit):
            self._journal.note(release)
            self._cache.on_pending(release)
            self._committer.submit(release)
        for lost in self._cache.excess():
            self._journal.note(lost)

    def take_back(self, held: Holding) -> bool:
        """Acquire again what this holder held. ``False``: it is not held, or something is on its way already."""
        taken = self._cache.is_settled(held.resource, held.holder, held) and self._acquire_again(held)
        if taken:
            self._metrics.taken_back()
        return taken

    def hold_after_all(self, use: Acquire) -> bool:
        """Acquire what was not recorded when it was used. ``False``: it is held, or something is on its way."""
        return self._cache.is_settled(use.resource, use.holder, None) and self._acquire_again(use)

    # --- parts --------------------------------------------------------------------------------------------------

    def _acquire_again(self, held: Holding) -> bool:
        state = self._journal.state
        operation = Acquire(state.next, held.resource, held.holder, held.rule, held.since, held.idle)
        if not self._journal.append(operation):
            return False  # looked at again in the next round; that the journal is full is told elsewhere
        self._cache.on_pending(operation)
        self._committer.submit(operation)
        return True

    def _submit(self, operation: Operation, rule: Rule) -> asyncio.Future[Outcome]:
        if not self._journal.append(operation):
            return self._unprotected("journal-full", rule)
        if rule.commit is Commit.BACKGROUND:
            self._journal.flush()
        self._cache.on_pending(operation)
        future = self._committer.submit(operation)
        return future if isinstance(operation, Intend) else self._counted(future, rule)

    def _drop_intent(self, observation: Observation) -> None:
        if isinstance(observation, Creation):
            self.retract(observation.call)

    def _unprotected(self, reason: str, rule: Rule) -> asyncio.Future[Outcome]:
        self._metrics.unprotected(reason)
        return self._ended(Outcome.UNPROTECTED, rule)

    def _ended(self, outcome: Outcome, rule: Rule) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.set_result(outcome)
        self._metrics.registered(rule.commit, outcome)
        return future

    def _counted(self, future: asyncio.Future[Outcome], rule: Rule) -> asyncio.Future[Outcome]:
        def count(done: asyncio.Future[Outcome]) -> None:
            if not done.cancelled():
                self._metrics.registered(rule.commit, done.result())

        future.add_done_callback(count)
        return future
