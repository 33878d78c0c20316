"""From the host's first call to its retirement, and what a restart of the sidecar finds of both.

    host started --> keep its beacon (the same as before a restart of ours, if it is the same host)
    host ended   --> hold nothing more; register what is pending; tell its end; revoke the lease
    a call it had begun creates something after all --> the same once more, for what the call created
    an earlier host in the journal --> the same, from its attachment on: what it created must be *recorded*, held by a
                     holder that has ended, or nobody would ever find it

- The service is attached as soon as the rules hold by it, even if this instance creates nothing: a rolling restart
  keeps it alive only if each newcomer renews. When the host ends we stop renewing it, and tell nothing: others may be
  alive.
- An end is told beside whatever comes next: with etcd away it may take hours, and a host that is back by then wants
  its creations held.
- Draining is bounded while etcd answers: a creation that waits for a stuck sweep must not keep a dead holder alive.
  What is left is tried again later, in the same way.
- Leaving with the host alive leaves beacon and lease: a successor goes on with them, or the TTL ends them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from leasehold.protocol.names import (
    Boot,
    CallId,
    Holder,
    LeaseId,
    ServiceName,
    process_holder,
    service_holder,
    service_lease_id,
)
from leasehold.protocol.records import Ending, HolderKind
from leasehold.protocol.rules import Rule, RuleSet
from leasehold.protocol.session import NO_LEASE
from leasehold.sidecar.holds.committer import Committer
from leasehold.sidecar.holds.entries import Ended, Life, Over
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.holders import Holders
from leasehold.sidecar.holds.journal import Journal
from leasehold.sidecar.holds.keeper import Keeper
from leasehold.sidecar.holds.losses import look_for_losses
from leasehold.sidecar.host.port import UNTOLD, Host

log = structlog.get_logger()

DRAIN_SECONDS = 30.0
DRAIN_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Ended:
    """The latest host that ended; ``run`` begins the names of the calls it made."""

    run: str
    life: Life
    ending: Ending


class Tenure:
    """Owns the keepers. ``run`` until cancelled."""

    def __init__(
        self,
        host: Host,
        etcd: Etcd,
        journal: Journal,
        committer: Committer,
        holders: Holders,
        since: Callable[[], str],
        late_return: Callable[[], None],
        *,
        ttl_seconds: int,
        service_ttl_seconds: int,
    ) -> None:
        self._host = host
        self._etcd = etcd
        self._journal = journal
        self._committer = committer
        self._holders = holders
        self._since = since
        self._late_return = late_return
        self._ttl_seconds = ttl_seconds
        self._service_ttl_seconds = service_ttl_seconds
        self._service = ServiceName(etcd.service)
        self._by_service = False
        self._tasks: asyncio.TaskGroup | None = None
        self._buried = asyncio.Event()
        self.begun = asyncio.Event()
        """Set once it is known whom we hold for, if for anybody."""
        self.over = asyncio.Event()
        """Set once the host has ended and none will follow."""
        self.host_state = "starting"
        self._run = secrets.token_hex(4)
        self._last: _Ended | None = None

    async def run(self) -> None:
        """Live with the host, run after run."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(asyncio.Event().wait(), name="open for what comes late")
            start = await self._host.started()
            life = self._begin(start) if start is not None else None
            for earlier in list(self._journal.state.lives.values()):
                if earlier.kind is HolderKind.PROCESS and (life is None or earlier.holder != life.holder):
                    ending = self._journal.state.endings.get(earlier.holder, Ending.UNKNOWN)
                    self._journal.note(Ended(earlier.holder, ending))
                    self._spawn(self._bury(earlier, ending), f"end of {earlier.holder}")
            while life is not None:
                resumed = life.lease != NO_LEASE
                self._live(life)
                self.begun.set()
                self._end(life, await self._host.ended(resumed=resumed))
                start = await self._host.started()
                life = self._begin(start) if start is not None else None
            self._holders.process = None
            self.host_state = "ended"
            self.begun.set()
            self.over.set()
            log.info("host_ended_for_good")

    def new_call(self) -> CallId:
        """Names a call that begins now. Unguessable, and it tells which run of the host began it."""
        return CallId(self._run + secrets.token_hex(16))

    def holder_of_late(self, rule: Rule, call: CallId) -> Holder | None:
        """In whose name a creation is recorded whose call the last host began; ``None``: nobody's."""
        last = self._last
        if last is None or not call.startswith(last.run):
            return None
        if rule.held_by is HolderKind.TIMER:
            return self._holders.timer_for(rule)
        if rule.held_by is HolderKind.SERVICE:
            self._spawn(self._leave_service(), "late for the service")
            return self._service_life().holder
        self._begin_burial(last.life, last.ending)
        return last.life.holder

    def apply_rules(self, rules: RuleSet) -> None:
        """Attach the service as soon as a rule holds by it."""
        self._by_service = any(rule.held_by is HolderKind.SERVICE for rule in rules.rules)
        if self._by_service and self._holders.process is not None:
            self._join_service()

    async def until_ended_hosts_are_told(self, within: float) -> bool:
        """Wait until no end is left to be told; ``False`` after ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                while self._journal.state.endings:
                    self._buried.clear()
                    await self._buried.wait()
        except TimeoutError:
            return False
        return True

    # --- the host -----------------------------------------------------------------------------------------------

    def _begin(self, start: str) -> Life:
        state = self._journal.state
        if start != UNTOLD:
            holder = process_holder(self._service, self._etcd.instance, start)
            known = state.lives.get(holder)
        else:
            holder = process_holder(self._service, self._etcd.instance, secrets.token_hex(6))
            lives = (life for life in state.lives.values() if life.kind is HolderKind.PROCESS)
            known = next((life for life in lives if life.holder not in state.endings), None)
        if known is not None and known.holder not in state.endings:
            return known
        life = Life(holder, HolderKind.PROCESS, Boot(secrets.token_hex(8)), self._ttl_seconds, self._since())
        self._journal.note(life)
        self._journal.flush()
        return life

    def _live(self, life: Life) -> None:
        self._run = secrets.token_hex(4)
        self._holders.process = life.holder
        self.host_state = "alive"
        self._keep(life)
        if self._by_service or self._committer.pending_of(service_holder(self._service)):
            self._join_service()

    def _end(self, life: Life, ending: Ending) -> None:
        log.info("host_ended", holder=life.holder, ending=ending)
        self._last = _Ended(self._run, life, ending)
        self._run = secrets.token_hex(4)
        self._holders.process = self._holders.service = None
        self.host_state = "ended"
        self._begin_burial(life, ending)
        self._spawn(self._leave_service(), "leave the service")

    def _begin_burial(self, life: Life, ending: Ending) -> None:
        """Unless it is under way. At once the journal says so, lest whoever begins next takes this life for its own."""
        state = self._journal.state
        if life.holder in state.endings:
            return
        if life.holder not in state.lives:
            life = msgspec.structs.replace(life, lease=NO_LEASE)
            self._journal.note(life)
        self._journal.note(Ended(life.holder, ending))
        self._spawn(self._bury(life, ending), f"end of {life.holder}")

    async def _bury(self, life: Life, ending: Ending) -> None:
        """Register what is pending, then tell the end; as often as it takes."""
        while True:
            if self._committer.pending_of(life.holder):
                self._keep(life)
            drained = await self._drain(life.holder)
            last = await self._holders.stop_keeping(life.holder) or life
            if last.lease:  # else it was never attached, and nobody knows of it
                await self._etcd.tell_the_end(last, ending)
            if not self._committer.pending_of(life.holder):
                break
            if drained:
                continue  # something came late
            await self._etcd.clock.sleep_until(self._etcd.clock.now() + DRAIN_AGAIN_SECONDS)
        self._journal.note(Over(life.holder))
        self._committer.wake()
        log.info("end_told", holder=life.holder, ending=ending)
        self._buried.set()

    async def _drain(self, holder: Holder) -> bool:
        while not await self._committer.drained(holder, DRAIN_SECONDS):
            keeper = self._holders.keepers.get(holder)
            if keeper is not None and keeper.attached and not self._committer.trouble:
                log.warning("not_drained", holder=holder, pending=self._committer.pending_of(holder))
                return False
        return True

    # --- the service --------------------------------------------------------------------------------------------

    def _join_service(self) -> None:
        self._keep_service()
        self._holders.service = service_holder(self._service)

    async def _leave_service(self) -> None:
        """Once what is pending is registered; unless the host came back meanwhile."""
        holder = service_holder(self._service)
        if self._committer.pending_of(holder):
            self._keep_service()
            await self._drain(holder)
        if self._holders.service is None:
            await self._holders.stop_keeping(holder)

    def _keep_service(self) -> None:
        self._keep(self._service_life(), shared=self._service_lease())

    def _service_life(self) -> Life:
        holder = service_holder(self._service)
        life = self._journal.state.lives.get(holder)
        if life is None:
            boot = Boot(f"service-{self._service_lease():x}")
            life = Life(holder, HolderKind.SERVICE, boot, self._service_ttl_seconds, self._since())
            self._journal.note(life)
        return life

    def _service_lease(self) -> LeaseId:
        return service_lease_id(self._etcd.keys.tenant, self._service)

    # --- parts --------------------------------------------------------------------------------------------------

    def _keep(self, life: Life, *, shared: LeaseId = NO_LEASE) -> None:
        if self._tasks is None:
            raise RuntimeError("a tenure that does not run")
        self._holders.keep(life, self._tasks, self._on_attached, shared=shared)

    def _spawn(self, doing: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is None:
            doing.close()
            raise RuntimeError("a tenure that does not run")
        self._tasks.create_task(doing, name=name)

    def _on_attached(self, keeper: Keeper) -> None:
        buried = keeper.life.holder in self._journal.state.endings  # that it loses what it held is only right
        if self._tasks is not None and keeper.was_away and not buried:
            losses = look_for_losses(self._etcd, self._journal, keeper.life.holder, self._late_return)
            self._tasks.create_task(losses, name="look for losses")
