"""Puts the sidecar together: the only file that names concrete adapters.

Order of starting: the journal (one sidecar per folder), what was pending, the admin port, then the ways in; etcd may be
away all the while. Order of stopping: the ways in, what is pending (bounded), the keepers. With the host alive, beacon
and lease stay for a successor.
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Holder
from leasehold.protocol.ports import Clock
from leasehold.shell.daemon import Lifetime
from leasehold.shell.tracing import Tracing, open_tracing
from leasehold.sidecar.admin import Inside, admin_app, health_app
from leasehold.sidecar.capture.budget import Budget
from leasehold.sidecar.capture.descriptors import fitting_connections
from leasehold.sidecar.capture.forward_proxy import ForwardProxyListener
from leasehold.sidecar.capture.listener import Address, Listener, RelaySettings
from leasehold.sidecar.capture.transparent import TransparentListener
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.config import Capture, Settings, pace_of
from leasehold.sidecar.degradation import Degradation
from leasehold.sidecar.document import GrpcProbe, HttpProbe, Probe
from leasehold.sidecar.faces import NOT_HERE, serve_everywhere
from leasehold.sidecar.holds.assistant import Assistant, KeeperHelp, NoHelp
from leasehold.sidecar.holds.cache import Cache
from leasehold.sidecar.holds.committer import Committer
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.holders import Holders
from leasehold.sidecar.holds.journal import Journal
from leasehold.sidecar.holds.lives import lives
from leasehold.sidecar.holds.registrar import HoldsRegistrar
from leasehold.sidecar.holds.rounds import Rounds
from leasehold.sidecar.holds.tenure import Tenure
from leasehold.sidecar.holds.timers import Timers
from leasehold.sidecar.host.ends_first import HostThatEndsFirst, Silent, refuses
from leasehold.sidecar.host.neighbours import nobody_else_connected
from leasehold.sidecar.host.port import Host
from leasehold.sidecar.host.probes import ProbedHost, grpc_check, http_check, tcp_check
from leasehold.sidecar.host.process import ProcessHost
from leasehold.sidecar.metrics import SidecarMetrics
from leasehold.sidecar.rules_source import CurrentRules, EtcdRules, RulesHealth

log = structlog.get_logger()

FLUSH_SECONDS = 2.0
RELAY_DRAIN_SECONDS = 1.5
"""Together less than the 4.5 s that a stopping process has."""
TICK_SECONDS = 0.25
TICKS_PER_LOOK = 4
IDLE_AT_ONCE = 1000
"""Releases per look: more would push the creations aside."""


class LoopClock:
    """The event loop's clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep_until(self, instant: float) -> None:
        await asyncio.sleep(max(instant - self.now(), 0))


class Holds:
    """The lease side, put together. Used by ``serve`` and by the benchmark."""

    def __init__(
        self,
        settings: Settings,
        client: EtcdClient,
        host: Host,
        metrics: SidecarMetrics,
        assistant: KeeperHelp | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.clock: Clock = LoopClock()
        keys = Keyspace(settings.tenant)
        deadline = settings.etcd.deadline_seconds
        self.etcd = Etcd(
            client,
            client,
            client,
            keys,
            self.clock,
            settings.service,
            settings.instance,
            deadline,
            assistant or NoHelp(),
        )
        self.journal = Journal(settings.journal, metrics, whose=f"{settings.tenant}/{settings.service}")
        self.cache = Cache(self.journal.state)
        self.holders = Holders(self.etcd, self.journal, metrics, self._wake)
        self.committer = Committer(
            client, keys, self.journal, self.cache, self.holders, self.clock, metrics, deadline=deadline,
            registered=lives(tracing),
        )  # fmt: skip
        self.timers = Timers(
            self.etcd, self.journal, settings.service, self._wake, self.committer.pending_of, now_in_words
        )
        self.holders.timers = self.timers
        self.tenure = Tenure(
            host, self.etcd, self.journal, self.committer, self.holders, now_in_words, metrics.late_return,
            ttl_seconds=settings.ttl_seconds, service_ttl_seconds=settings.service_ttl_seconds,
        )  # fmt: skip
        self.registrar = HoldsRegistrar(
            self.journal, self.cache, self.committer, self.holders, self.tenure, self.clock, metrics, now_in_words
        )
        self.rounds = Rounds(self.etcd, self.cache, self.holders, self.registrar)

    def open(self) -> None:
        """Replay the journal. Raises ``OSError``."""
        self.journal.open()
        self.cache.resume(self.clock.now())
        self.registrar.resume()

    async def run(self) -> None:
        """Keep, time, commit and look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.committer.run(), name="committer")
            tasks.create_task(self.timers.run(), name="timers")
            tasks.create_task(self.tenure.run(), name="tenure")
            tasks.create_task(self.rounds.run(), name="rounds")

    async def flush(self) -> None:
        """Before we go: end what can be ended, within ``FLUSH_SECONDS``."""
        done = await self.committer.drained(None, FLUSH_SECONDS)
        told = await self.tenure.until_ended_hosts_are_told(FLUSH_SECONDS if done else 0.1)
        if not done or not told:
            log.warning("left_for_a_successor", pending=self.committer.pending)

    def _wake(self) -> None:
        self.committer.wake()


async def serve(settings: Settings, lifetime: Lifetime) -> None:
    """Serve until told to stop. Raises ``OSError`` for a port or a journal that cannot be had."""
    metrics = SidecarMetrics()
    assistant = Assistant(lambda: EtcdClient(settings.etcd), metrics.renewal_helped)
    async with EtcdClient(settings.etcd) as client:
        host = _host(settings)
        tracing = _tracing(settings)
        holds = Holds(settings, client, host, metrics, assistant, tracing)
        structlog.contextvars.bind_contextvars(**(settings.about or {}))
        holds.open()
        try:
            with assistant:
                await _serve(settings, lifetime, holds, metrics, host)
        except BaseExceptionGroup as group:
            cause = _only_one(group)
            if isinstance(cause, OSError):
                raise cause from group
            raise
        finally:
            await holds.journal.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)


def _tracing(settings: Settings) -> Tracing | None:
    about = {"leasehold.tenant": settings.tenant, "leasehold.of": settings.service, **(settings.about or {})}
    return open_tracing(settings.tracing, "leasehold-sidecar", {"service.instance.id": settings.instance, **about})


def _only_one(error: BaseException) -> BaseException:
    """What went wrong, however many groups of tasks it went through."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _serve(settings: Settings, lifetime: Lifetime, holds: Holds, metrics: SidecarMetrics, host: Host) -> None:
    rules = CurrentRules(metrics, settings.extra_rules)
    rules.on_change(holds.tenure.apply_rules)
    rules.on_change(holds.rounds.apply_rules)
    health = RulesHealth()
    budget = Budget(fitting_connections(settings.limits.connections), settings.limits.held_bytes)
    async with asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(holds.run()), tasks.create_task(_look_after(holds, budget, metrics))]
        if settings.rules is not None:
            rules.replace(settings.rules)
        else:
            health = follow = EtcdRules(holds.etcd, rules, settings.journal / "rules.json", metrics)
            follow.recall()
            background.append(tasks.create_task(follow.run()))
        await holds.tenure.begun.wait()
        inside = Inside(
            holds.journal, holds.committer, holds.holders, holds.tenure, health, metrics, settings.about or {}
        )
        background.append(tasks.create_task(Degradation(inside.not_ready, metrics).run(holds.clock)))
        relay = RelaySettings(
            holds.registrar,
            rules,
            metrics,
            drain_deadline=RELAY_DRAIN_SECONDS,
            new_call=holds.tenure.new_call,
            budget=budget,
        )
        apps = admin_app(metrics, inside), health_app(metrics, inside)
        await _serve_ports(settings, lifetime, apps, relay, holds.holders.process)
        if isinstance(host, HostThatEndsFirst) and await host.leave():
            await holds.tenure.over.wait()
        await holds.flush()
        for task in background:
            task.cancel()


async def _serve_ports(
    settings: Settings,
    lifetime: Lifetime,
    apps: tuple[web.Application, web.Application],
    relay: RelaySettings,
    holder: Holder | None,
) -> None:
    runner, outside = (web.AppRunner(app, access_log=None) for app in apps)
    ways: list[Listener] = []
    try:
        await runner.setup()
        site = web.TCPSite(runner, settings.admin.host, settings.admin.port, shutdown_timeout=1.0)
        await site.start()
        admin = Address(*runner.addresses[0][:2])
        told = [way for capture in settings.capture if (way := await _open_way(capture, relay, ways))]
        addresses: dict[str, object] = {"admin": str(admin), "capture": told}
        if settings.health_port is not None:
            await outside.setup()
            addresses["health_port"] = await serve_everywhere(outside, settings.health_port)
        lifetime.ready(**addresses, holder=holder, pid=os.getpid())
        await lifetime.until_stop()
    finally:
        await asyncio.gather(*(way.close() for way in ways))
        await outside.cleanup()
        await runner.cleanup()


async def _open_way(capture: Capture, relay: RelaySettings, ways: list[Listener]) -> dict[str, str] | None:
    way = _way(capture, relay)
    try:
        bound = Address(*await way.start())
    except OSError as error:
        if not capture.if_present or error.errno not in NOT_HERE:
            raise
        log.info("address_not_here", listen=str(capture.listen), error=str(error))
        return None
    ways.append(way)
    return {"mode": capture.mode, "listen": str(bound), **({} if capture.to is None else {"to": str(capture.to)})}


def _way(capture: Capture, relay: RelaySettings) -> Listener:
    if capture.to is not None:
        return UpstreamListener(capture.listen, capture.to, relay, capture.tls, capture.mark)
    if capture.mode == "transparent":
        return TransparentListener(capture.listen, relay, capture.tls, capture.mark)
    return ForwardProxyListener(capture.listen, relay)


async def _look_after(holds: Holds, budget: Budget, metrics: SidecarMetrics) -> None:
    """Let go of what is idle, tell the gauges, and notice when the event loop is late."""
    clock, ticks = holds.clock, 0
    while True:
        planned = clock.now() + TICK_SECONDS
        await clock.sleep_until(planned)
        metrics.lagged(max(clock.now() - planned, 0.0))
        ticks += 1
        if ticks % TICKS_PER_LOOK:
            continue
        holds.registrar.let_idle_go(IDLE_AT_ONCE)
        journal, committer, keepers = holds.journal, holds.committer, holds.holders.keepers.values()
        metrics.journal_is(committer.pending, journal.bytes, committer.oldest_age(), full=journal.full)
        metrics.holds_are(journal.state.held_count)
        metrics.beliefs_are((keeper.life.kind, keeper.seconds_of_belief()) for keeper in keepers)
        metrics.timers_are(len(holds.timers))
        metrics.relay_is(budget.connections, budget.held)
        metrics.host_is(holds.holders.process is not None)


def _host(settings: Settings) -> Host:
    host = settings.host
    if host is None:
        return HostThatEndsFirst(None, nobody_else_connected())
    if isinstance(host, int):
        return ProcessHost(host)
    return HostThatEndsFirst(_probed(host), _silent(host)) if settings.ends_first else _probed(host)


def _silent(probe: Probe) -> Silent:
    if isinstance(probe, HttpProbe):
        url = urlsplit(probe.url)
        return refuses(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
    address = Address.parse(probe.address)
    return refuses(address.host, address.port)


def _probed(host: Probe) -> Host:
    if isinstance(host, HttpProbe):
        return ProbedHost(http_check(host.url), pace_of(host), LoopClock())
    address = Address.parse(host.address)
    if isinstance(host, GrpcProbe):
        return ProbedHost(grpc_check(address.host, address.port, host.service), pace_of(host), LoopClock())
    return ProbedHost(tcp_check(address.host, address.port), pace_of(host), LoopClock())


def now_in_words() -> str:
    """For people who read records; never compared."""
    return _in_words(int(time.time()))


@lru_cache(maxsize=2)
def _in_words(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
