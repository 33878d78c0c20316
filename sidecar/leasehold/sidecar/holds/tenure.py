"""From the host's first call to its retirement, and what a restart of the sidecar finds of both.

    host started --> keep its beacon (the same as before a restart of ours, if it is the same host)
    host ended   --> hold nothing more; register what is pending; tell its end; revoke the lease
    an earlier host in the journal --> the same, from its attachment on: what it created must be *recorded*, held by a
                     holder that has ended, or nobody would ever find it

- The service is attached as soon as the rules hold by it, even if this instance creates nothing: a rolling restart
  keeps it alive only if each newcomer renews. When the host ends we stop renewing it, and tell nothing: others may be
  alive.
- Draining is bounded while etcd answers: a creation that waits for a stuck sweep must not keep a dead holder alive.
  What is left is tried again later, in the same way.
- Leaving with the host alive leaves beacon and lease: a successor goes on with them, or the TTL ends them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import structlog
from leasehold.protocol.names import (
    Boot,
    Holder,
    LeaseId,
    ServiceName,
    process_holder,
    service_holder,
    service_lease_id,
)
from leasehold.protocol.records import Ending, HolderKind
from leasehold.protocol.rules import RuleSet
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
        self.host_state = "starting"

    async def run(self) -> None:
        """Live with the host, run after run."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            start = await self._host.started()
            life = self._begin(start) if start is not None else None
            for earlier in list(self._journal.state.lives.values()):
                if earlier.kind is HolderKind.PROCESS and (life is None or earlier.holder != life.holder):
                    ending = self._journal.state.endings.get(earlier.holder, Ending.UNKNOWN)
                    tasks.create_task(self._bury(earlier, ending), name=f"end of {earlier.holder}")
            while life is not None:
                resumed = life.lease != NO_LEASE
                self._live(life)
                self.begun.set()
                await self._end(life, await self._host.ended(resumed=resumed))
                start = await self._host.started()
                life = self._begin(start) if start is not None else None
            self._holders.process = None
            self.host_state = "ended"
            self.begun.set()
            await self._leave_service()
            log.info("host_ended_for_good")

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
        self._holders.process = life.holder
        self.host_state = "alive"
        self._keep(life)
        if self._by_service or self._committer.pending_of(service_holder(self._service)):
            self._join_service()

    async def _end(self, life: Life, ending: Ending) -> None:
        log.info("host_ended", holder=life.holder, ending=ending)
        self._holders.process = None
        self.host_state = "ended"
        await asyncio.gather(self._bury(life, ending), self._leave_service())

    async def _bury(self, life: Life, ending: Ending) -> None:
        """Register what is pending, then tell the end; as often as it takes."""
        self._journal.note(Ended(life.holder, ending))
        while True:
            if self._committer.pending_of(life.holder):
                self._keep(life)
            drained = await self._drain(life.holder)
            last = await self._holders.stop_keeping(life.holder) or life
            if last.lease:  # else it was never attached, and nobody knows of it
                await self._etcd.tell_the_end(last, ending)
            if drained:
                break
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
        holder = service_holder(self._service)
        shared = self._service_lease()
        life = self._journal.state.lives.get(holder)
        if life is None:
            boot = Boot(f"service-{shared:x}")
            life = Life(holder, HolderKind.SERVICE, boot, self._service_ttl_seconds, self._since())
            self._journal.note(life)
        self._holders.service = holder
        self._keep(life, shared=shared)

    async def _leave_service(self) -> None:
        holder = service_holder(self._service)
        self._holders.service = None
        if self._committer.pending_of(holder):
            self._join_service()
            self._holders.service = None
            await self._drain(holder)
        await self._holders.stop_keeping(holder)

    def _service_lease(self) -> LeaseId:
        return service_lease_id(self._etcd.keys.tenant, self._service)

    # --- parts --------------------------------------------------------------------------------------------------

    def _keep(self, life: Life, *, shared: LeaseId = NO_LEASE) -> None:
        if self._tasks is None:
            raise RuntimeError("a tenure that does not run")
        self._holders.keep(life, self._tasks, self._on_attached, shared=shared)

    def _on_attached(self, keeper: Keeper) -> None:
        if self._tasks is not None and keeper.was_away:
            losses = look_for_losses(self._etcd, self._journal, keeper.life.holder, self._late_return)
            self._tasks.create_task(losses, name="look for losses")
