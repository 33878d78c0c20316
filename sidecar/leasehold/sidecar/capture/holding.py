"""Holds the bytes of one connection, or of one of its streams, back until what they mean is durable: the marks of the
observer, the registrar's futures, a deadline each.

- A request with an intent waits for the intent. At the deadline, or when nobody can take the intent, the rule's
  ``on_unavailable`` decides: forward, or refuse. Refused means that the owner never sees a byte of it.
- A matched response waits until all that was found in it is durable. At the deadline it goes on; the registration does
  too, in the background.
- An intent is retracted once we *know* that the call created nothing of ours. When the request has left and its
  outcome is unknown, the intent stays: it is the only trace of what may exist now.

The registrar's futures are only ever listened to, never cancelled. A registrar that fails costs the one observation,
loudly, and not those that are still to come on this connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from leasehold.protocol.rules import OnUnavailable, Rule
from leasehold.sidecar.capture.gate import Gate
from leasehold.sidecar.capture.metrics_port import CallMetrics, Direction
from leasehold.sidecar.capture.overtaking import Barrier
from leasehold.sidecar.observe.body import FRAMING_ALLOWANCE
from leasehold.sidecar.observe.events import Creation, Observation, Unusable
from leasehold.sidecar.observe.exchanges import Concluded, Exchange, Intent, Matched
from leasehold.sidecar.ports import Outcome, Registrar

log = structlog.get_logger()
_NOT_TAKEN: Final = frozenset({Outcome.UNPROTECTED, Outcome.BEING_SWEPT})
Refuse = Callable[[Exchange, Barrier, Rule], None]


class _Hold:
    """One barrier with its deadline. ``give_up``: to go on without what it waits for."""

    __slots__ = ("barrier", "direction", "give_up", "pending", "rules", "since", "timer")

    def __init__(
        self,
        direction: Direction,
        barrier: Barrier,
        rules: tuple[Rule, ...],
        since: float,
        give_up: Callable[[], None],
    ) -> None:
        self.direction: Direction = direction
        self.give_up = give_up
        self.barrier = barrier
        self.rules = rules
        self.since = since
        self.timer: asyncio.TimerHandle | None = None
        self.pending: list[tuple[Rule, asyncio.Future[Outcome]]] = []

    def settle(self) -> bool:
        """Whether this was the first to settle it."""
        if self.timer is None:
            return False
        self.timer.cancel()
        self.timer = None
        return True


class Holds:
    """All that is held on one connection, and all that was intended on it."""

    def __init__(
        self,
        registrar: Registrar,
        metrics: CallMetrics,
        to_owner: Gate,
        to_app: Gate,
        refuse: Refuse,
        lifted: Callable[[], None],
    ) -> None:
        self._registrar = registrar
        self._metrics = metrics
        self._to_owner = to_owner
        self._to_app = to_app
        self._refuse = refuse
        self._lifted = lifted
        self._loop = asyncio.get_running_loop()
        self._intended: set[Exchange] = set()
        self._answers: dict[Exchange, _Hold] = {}
        self._open: set[_Hold] = set()

    # --- requests ---------------------------------------------------------------------------------------------

    def intend(self, mark: Intent) -> None:
        exchange, rule = mark.exchange, mark.rule
        barrier = Barrier(exchange.stream)
        self._to_owner.raise_barrier(barrier)
        exchange.sent = False
        self._intended.add(exchange)
        hold = self._start("request", barrier, (rule,), lambda: self._give_up(exchange, hold))
        key = "" if mark.key is None else mark.key.value
        if mark.key is not None:
            self._metrics.idempotency_key(rule.name, mark.key.outcome)
        try:
            future = self._registrar.intend(rule, exchange.call, exchange.method, exchange.target, mark.resource, key)
        except Exception:  # noqa: BLE001 - traffic is protected from the registrar
            self._lost(rule, exchange)
            if hold.settle():
                self._decide(exchange, hold, forward=_forwards(rule))
            return
        future.add_done_callback(lambda done: self._intent_done(exchange, hold, done))

    def _intent_done(self, exchange: Exchange, hold: _Hold, future: asyncio.Future[Outcome]) -> None:
        taken = _outcome(future) not in {None, *_NOT_TAKEN}
        if hold.settle():
            self._decide(exchange, hold, forward=taken or _forwards(hold.rules[0]))

    def _give_up(self, exchange: Exchange, hold: _Hold) -> None:
        if hold.settle():
            self._decide(exchange, hold, forward=_forwards(hold.rules[0]))

    def _decide(self, exchange: Exchange, hold: _Hold, *, forward: bool) -> None:
        self._open.discard(hold)
        self._metrics.held("request", self._loop.time() - hold.since)
        if forward:
            exchange.sent = True
            self._to_owner.lift(hold.barrier)
            self._lifted()
            return
        rule = hold.rules[0]
        self._metrics.rejected(rule.name)
        self._intended.discard(exchange)
        self._registrar.retract(exchange.call)
        self._refuse(exchange, hold.barrier, rule)

    # --- responses --------------------------------------------------------------------------------------------

    def match(self, mark: Matched) -> None:
        for rule in mark.rules:
            self._metrics.matched(rule.name)
        if not mark.holding:
            return
        room = 2 * max(rule.body_limit for rule in mark.holding) + FRAMING_ALLOWANCE
        barrier = Barrier(mark.exchange.stream, needs_more=True, room=room)
        self._to_app.raise_barrier(barrier)
        hold = self._start("response", barrier, mark.holding, lambda: self._release(hold))
        self._answers[mark.exchange] = hold

    def _count_doubt(self, finding: Observation) -> None:
        if isinstance(finding, Creation) and finding.doubt:
            self._metrics.unusable(finding.rule.name, finding.doubt)

    def conclude(self, mark: Concluded) -> None:
        exchange = mark.exchange
        hold = self._answers.pop(exchange, None)
        if hold is not None:
            hold.barrier.needs_more = False
        created = unknown = False
        for finding in mark.findings:
            if isinstance(finding, Unusable):
                self._metrics.unusable(finding.rule.name, finding.reason)
                unknown = unknown or finding.reason == "aborted"
                continue
            created = created or isinstance(finding, Creation)
            self._count_doubt(finding)
            try:
                future = self._registrar.observed(finding)
            except Exception:  # noqa: BLE001 - as above
                self._lost(finding.rule, exchange)
            else:
                self._submit(hold, finding.rule, future)
        if exchange in self._intended:
            self._intended.discard(exchange)
            # A registration takes the intent with it.
            if not created and not (unknown and exchange.sent):
                self._registrar.retract(exchange.call)
        if hold is not None and not hold.pending:
            self._release(hold)

    def _submit(self, hold: _Hold | None, rule: Rule, future: asyncio.Future[Outcome]) -> None:
        if hold is not None and rule in hold.rules and not future.done():
            entry = (rule, future)
            hold.pending.append(entry)
            future.add_done_callback(lambda _: self._answer_done(hold, entry))
        else:
            future.add_done_callback(_outcome)  # so that a failure of the registrar's is never called unnoticed

    def _answer_done(self, hold: _Hold, entry: tuple[Rule, asyncio.Future[Outcome]]) -> None:
        _outcome(entry[1])  # as above
        hold.pending.remove(entry)
        if not hold.pending:
            self._release(hold)

    def _release(self, hold: _Hold) -> None:
        if hold.settle():
            self._open.discard(hold)
            self._metrics.held("response", self._loop.time() - hold.since)
            self._to_app.lift(hold.barrier)
            self._lifted()

    # --- both -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Nobody waits here any more. Registrations go on by themselves."""
        for hold in self._open:
            hold.settle()
        self._open.clear()

    def release_all(self) -> None:
        """The observer is gone: what waits for its conclusions would wait for nothing."""
        for hold in tuple(self._answers.values()):
            self._release(hold)
        self._answers.clear()

    def release_early(self) -> None:
        """The process holds too much: for this connection, it is as if all deadlines had come."""
        for hold in tuple(self._open):
            if hold.timer is not None:  # one that is let go lets others go
                self._metrics.released_early(hold.direction)
                hold.give_up()

    def _lost(self, rule: Rule, exchange: Exchange) -> None:
        """Inside an ``except``."""
        log.exception("observation_lost", rule=rule.name, method=exchange.method, call=exchange.call)
        self._metrics.unusable(rule.name, "crashed")

    def _start(
        self, direction: Direction, barrier: Barrier, rules: tuple[Rule, ...], give_up: Callable[[], None]
    ) -> _Hold:
        hold = _Hold(direction, barrier, rules, self._loop.time(), give_up)
        hold.timer = self._loop.call_later(max(rule.hold_deadline for rule in rules), self._late, hold)
        self._open.add(hold)
        return hold

    def _late(self, hold: _Hold) -> None:
        for rule in [rule for rule, _ in hold.pending] or hold.rules:
            self._metrics.deadline_passed(rule.name)
        hold.give_up()


def _forwards(rule: Rule) -> bool:
    return rule.on_unavailable is OnUnavailable.FORWARD


def _outcome(future: asyncio.Future[Outcome]) -> Outcome | None:
    """``None`` when the registrar failed or was shut down."""
    return None if future.cancelled() or future.exception() is not None else future.result()
