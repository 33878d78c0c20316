"""Builds a control plane from its parts; the only place that names concrete adapters.

``ControlPlane`` is one replica: entered, it observes, takes its shards and collects; left, it resigns first and
then stops everything. A replica that crashes instead of leaving is the normal case for everybody else.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import structlog
from aiohttp import web

from leasehold.control_plane.api import api_routes
from leasehold.control_plane.at_once import AtOnce
from leasehold.control_plane.brake import Brake
from leasehold.control_plane.calling import Calls
from leasehold.control_plane.canary import Canary
from leasehold.control_plane.collector import Collector
from leasehold.control_plane.concluding import Conclusions
from leasehold.control_plane.config import Config
from leasehold.control_plane.config_events import EventsConfig
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import Step
from leasehold.control_plane.cycles import Cycles
from leasehold.control_plane.endings import Endings
from leasehold.control_plane.finds import Finds
from leasehold.control_plane.graces import Graces
from leasehold.control_plane.graves import Graves
from leasehold.control_plane.grouping import Grouping
from leasehold.control_plane.handover import Handover
from leasehold.control_plane.informer import Informer
from leasehold.control_plane.intents import Resolver, reasons, suspects
from leasehold.control_plane.inventory import Inventories
from leasehold.control_plane.kubernetes.api_server import ApiServer
from leasehold.control_plane.kubernetes.controller import Controller
from leasehold.control_plane.leadership import Leadership
from leasehold.control_plane.lives import Lives
from leasehold.control_plane.loading import RuleLoader
from leasehold.control_plane.membership import Membership
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.observe import Observer
from leasehold.control_plane.operator.kubernetes import KubernetesTokens
from leasehold.control_plane.operator.plane import Plane
from leasehold.control_plane.operator.server import OperatorApi
from leasehold.control_plane.owners.faces import Faces
from leasehold.control_plane.owners.grpc import GrpcOwner
from leasehold.control_plane.owners.http import HttpOwner
from leasehold.control_plane.owners.questions import Questions
from leasehold.control_plane.owners.register import Owners
from leasehold.control_plane.owners.verifier import Verifier
from leasehold.control_plane.rations import Rations
from leasehold.control_plane.reaper import Reaper
from leasehold.control_plane.roster import Roster
from leasehold.control_plane.shadows import Shadows
from leasehold.control_plane.standing import Standing
from leasehold.control_plane.sweeper import Sweeper
from leasehold.control_plane.telemetry.census import Census
from leasehold.control_plane.telemetry.etcd_health import EtcdHealth
from leasehold.control_plane.telemetry.gauges import Gauges, show_objects
from leasehold.control_plane.telemetry.watching import Watching
from leasehold.control_plane.ticking import MonotonicClock
from leasehold.control_plane.vigil import Vigil
from leasehold.control_plane.witness import Witness
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant, Resource, Tenant
from leasehold.protocol.ports import Clock
from leasehold.protocol.rules import Owner, Rule
from leasehold.shell.daemon import Lifetime
from leasehold.shell.faces import is_loopback
from leasehold.shell.health import health_routes
from leasehold.shell.tracing import open_tracing

if TYPE_CHECKING:
    from leasehold.control_plane.events.emitter import Emitter
    from leasehold.control_plane.inject.service import InjectionService

SHUTDOWN_SECONDS = 1.0
"""What a request under way may still take, so that there is time left to resign within the 5 s of a stop."""
log = structlog.get_logger()


class ControlPlane:
    """One replica of one tenant's control plane."""

    def __init__(self, config: Config, client: EtcdClient, clock: Clock | None = None) -> None:
        self.config, self._client = config, client
        self.clock = clock = clock or MonotonicClock()
        self.keys = keys = Keyspace(Tenant(config.tenant))
        self.index = index = Index(keys)
        self.metrics = metrics = Metrics()
        deadline = config.etcd.deadline_seconds
        # One place of randomness: it only spreads retries.
        jitter = random.Random().random  # noqa: S311
        self.membership = Membership(
            client, client, keys, clock, replica=config.replica, ttl_seconds=config.lease_ttl_seconds,
            on_change=self._on_membership,
        )  # fmt: skip
        self.leadership = Leadership(
            client, keys, index, clock, self.membership, metrics, seen=lambda: self.observer.sight.revision,
            busy=self._is_busy, on_change=self._on_leadership,
        )  # fmt: skip
        vigil = Vigil(
            client, keys, index, clock, self.leadership.authority_of_tenant, metrics, replica=config.replica,
            thresholds=config.thresholds, deadline=deadline, seen=lambda: self.observer.sight.revision,
            on_change=self._on_vigil,
        )  # fmt: skip
        self.brake = Brake(
            client, client, keys, index, clock, vigil, metrics, replica=config.replica, deadline=deadline
        )
        self.rations = rations = Rations(config.caps, clock, metrics)
        self.owners = Owners(index.policy, clock, connect)
        verifier = Verifier(self.owners, clock, metrics)
        self.grouping = grouping = Grouping(client)
        handover = Handover()
        self.tracing = open_tracing(config.tracing, "leasehold-control-plane", {
            "service.instance.id": config.replica, "leasehold.tenant": config.tenant,
        })  # fmt: skip
        self.endings = Endings(client, keys, clock) if self.tracing is not None else None
        lives = Lives(self.tracing, self.endings.at) if self.endings is not None else Lives()
        graces = Graces(client, client, keys, index, clock, self.leadership.authority_of_class, deadline=deadline)
        graves = Graves(client, clock, deadline=deadline)
        self.calls = calls = Calls(clock, self.leadership, self.owners, metrics, lives)
        conclusions = Conclusions(
            grouping, keys, index, clock, self.leadership, self.owners, graves, metrics, lives,
            deadline=deadline, jitter=jitter,
        )  # fmt: skip
        self.at_once = at_once = AtOnce(calls, conclusions, self.owners, clock)
        sweeper = Sweeper(
            grouping, keys, index, clock, self.leadership, self.owners, metrics, verifier, handover, calls,
            conclusions, deadline=deadline, opens=self._may_prepare,
        )  # fmt: skip
        witness = Witness(grouping, keys, index, deadline=deadline)
        self.cycles = Cycles(
            client, keys, index, witness, clock, self.leadership.authority, metrics, deadline=deadline,
            every_seconds=config.cycle_seconds, opens=self._may_condemn,
            patience=sweeper.patience, rations=rations, lives=lives,
        )  # fmt: skip
        reaper = Reaper(
            grouping, keys, index, witness, self.leadership.authority, metrics, verifier, self.cycles,
            handover, at_once, lives, deadline=deadline, may_prepare=self._may_prepare_now, rations=rations,
        )  # fmt: skip
        roster = Roster(
            client, keys, index, clock, self.leadership.authority_of_tenant, metrics, deadline=deadline,
            opens=self._may_tidy,
        )  # fmt: skip
        self.resolver = Resolver(
            client, keys, index, clock, self.leadership.authority_of_tenant,
            Questions(self.owners, clock, metrics), metrics, deadline=deadline, jitter=jitter, opens=self._may_tidy,
        )  # fmt: skip
        listings = Questions(self.owners, clock, metrics)
        finds = Finds(
            client, keys, index, self.leadership.authority_of_tenant, listings, self.resolver, metrics,
            deadline=deadline,
        )  # fmt: skip
        self.inventories = Inventories(
            index, clock, self.leadership.authority_of_tenant, listings, finds, metrics, opens=self._may_tidy,
            revision=lambda: self.observer.sight.revision,
        )  # fmt: skip
        self.shadows = Shadows(
            client, keys, index, clock, self.leadership.authority_of_tenant, metrics, deadline=deadline,
            opens=self._may_tidy,
        )  # fmt: skip
        self.collector = Collector(
            index,
            clock,
            self.leadership,
            self.brake,
            reaper,
            graces,
            sweeper,
            roster,
            self.owners,
            Informer(
                client, keys, index, clock, self.leadership, self.owners, metrics, deadline=deadline, jitter=jitter
            ),
            rations,
            self.shadows,
            at_once,
            hears=lambda: self.observer.hears,
            jitter=jitter,
        )
        self.observer = Observer(
            client, client, keys, index, clock, scan_seconds=config.scan_seconds,
            on_change=self._on_index, on_scan=self.collector.on_scan, on_rewind=self.collector.on_rewind,
            on_blind=self.brake.on_blind, on_gap=self.collector.on_gap, filling=_filling_memory,
        )  # fmt: skip
        self.canary = Canary(
            client, keys, index, clock, witness, self.leadership, self.membership, vigil, metrics,
            seconds=config.canary_seconds, deadline=deadline, seen=lambda: self.observer.sight.revision,
            opens=self._may_tidy,
        )  # fmt: skip
        self.standing = Standing(index, self.brake, rations, self.canary, self.collector.crews[Step.PREPARE].backlog)
        self.loader = RuleLoader(client, keys, clock, config.rules, deadline=deadline) if config.rules else None
        self.injection = self._injection_service()
        self.objects = self._controller(deadline, jitter)
        self.events = self._emitters(deadline, jitter)
        self._gauges = Gauges(
            index, clock, self.leadership, self.brake, self.collector, self.observer, self.owners, self.cycles,
            version("leasehold"),
        )  # fmt: skip
        for part in (self._gauges, self.standing, self.shadows, self.inventories):
            part.show(metrics)
        if self.objects is not None:
            show_objects(metrics, self.objects)
        census = Census(client, keys, index, clock, deadline=deadline, seen=lambda: self.observer.sight.revision)
        self.watching = Watching(census, EtcdHealth(client, clock, deadline=deadline), clock, metrics)
        self._reviews = ApiServer(config.token_review) if config.token_review else None
        self.operator = self._operator_api(deadline)
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.run(), name="control-plane")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def run(self) -> None:
        """Everything, until cancelled."""
        structlog.contextvars.bind_contextvars(tenant=self.config.tenant, replica=self.config.replica)
        async with asyncio.TaskGroup() as tasks:
            if self.loader is not None:
                tasks.create_task(self.loader.run())
            if self.objects is not None:
                tasks.create_task(self.objects.run())
            tasks.create_task(self.observer.run())
            tasks.create_task(self.grouping.run())
            tasks.create_task(self.membership.run())
            tasks.create_task(self.leadership.run())
            tasks.create_task(self.collector.run())
            tasks.create_task(self.resolver.run())
            tasks.create_task(self.inventories.run())
            tasks.create_task(self.cycles.run())
            tasks.create_task(self.canary.run())
            tasks.create_task(self.watching.run())
            if self.injection is not None:
                tasks.create_task(self.injection.run())
            if self.endings is not None:
                tasks.create_task(self.endings.run())
            for emitter in self.events:
                tasks.create_task(emitter.run())
            if self.operator is not None:
                tasks.create_task(self.operator.run())

    async def stop(self) -> None:
        """End in order: no more work, then give up leadership, then the connections to owners."""
        await self.crash()
        await self.leadership.resign()
        await self.owners.close()
        if self.objects is not None:
            await self.objects.close()
        if self._reviews is not None:
            await self._reviews.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    async def crash(self) -> None:
        """End as a killed process would: nothing is given up, the lease runs out by itself."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
            if not running.cancelled() and (error := running.exception()) is not None:
                raise error

    async def wait_broken(self) -> None:
        """Return only if something ended that must not; raises what it was."""
        if self._running is not None:
            await asyncio.shield(self._running)

    def _controller(self, deadline: float, jitter: Callable[[], float]) -> Controller | None:
        objects = self.config.objects
        if objects is None:
            return None
        return Controller(
            ApiServer(objects.access), self._client, self.keys, self.clock, self.leadership.authority_of_tenant,
            selector=objects.selector, resync_seconds=objects.resync_seconds, deadline=deadline, jitter=jitter,
        )  # fmt: skip

    def _emitters(self, deadline: float, jitter: Callable[[], float]) -> list[Emitter]:
        if self.config.events == EventsConfig():
            return []
        # Only who tells others needs to load how.
        from leasehold.control_plane.events.sinks import emitters

        return emitters(
            self.config.events, self._client, self._client, self.keys, self.clock,
            self.leadership.authority_of_tenant, self.metrics, deadline=deadline, jitter=jitter,
            seen=lambda: self.observer.sight.revision,
        )  # fmt: skip

    def _operator_api(self, deadline: float) -> OperatorApi | None:
        config = self.config.operator
        if config is None:
            return None
        told = Plane(self.index, self.brake, self.owners, self.clock, lambda: self.observer)
        reviewer = None
        if self._reviews is not None:
            reviewer = KubernetesTokens(self._reviews, self.clock, config.reviewed, config.audiences)
        return OperatorApi(
            config, self._client, self.keys, self.index, told, self.clock, replica=self.config.replica,
            deadline=deadline, unique=lambda: uuid4().hex[:8], reviewer=reviewer,
        )  # fmt: skip

    # These need each other; what comes later is named here.

    def _on_index(self) -> None:
        self.collector.on_index()
        if self.operator is not None:
            self.operator.on_index()

    def _on_membership(self) -> None:
        self.leadership.on_membership()

    def _on_leadership(self) -> None:
        self.collector.on_leadership()
        if self.objects is not None:
            self.objects.nudge()

    def _on_vigil(self) -> None:
        self.collector.wake()

    def _is_busy(self, shard: int) -> bool:
        return self.collector.is_busy(shard)

    def _may_condemn(self) -> Instant | None:
        return self.collector.may_condemn()

    def _may_prepare(self, resource: Resource) -> Instant | None:
        return self.collector.may_prepare(resource)

    def _may_tidy(self) -> Instant | None:
        return self.collector.may_tidy()

    def _may_prepare_now(self, resource: Resource) -> bool:
        opens = self._may_prepare(resource)
        return opens is not None and opens <= self.clock.now()

    def _injection_service(self) -> InjectionService | None:
        if self.config.webhook is None:
            return None
        # Only who serves the webhook needs to load what makes certificates.
        from leasehold.control_plane.inject.service import InjectionService
        from leasehold.control_plane.kubernetes.webhook import ValidatingWebhook

        return InjectionService(
            self.config.webhook, self._captured_owners, self.metrics, self.clock,
            leading=lambda: self.leadership.leading, more=ValidatingWebhook(self.metrics).routes(),
        )  # fmt: skip

    def _captured_owners(self) -> list[Owner] | None:
        """Those that rules in force name; ``None``: not known yet."""
        if not self.observer.sight.synced:
            return None
        standings = (self.index.policy.of_rule(name) for name in self.index.policy.documents(Rule))
        return list({one.owner.name: one.owner for one in standings if one.owner is not None}.values())

    # --- what is told ---------------------------------------------------------------------------------------------

    def web_app(self) -> web.Application:
        app = web.Application()
        app.add_routes(health_routes(self.metrics.registry, self.not_ready, self.notes))
        app.add_routes(api_routes(self.index, self.status))
        return app

    def not_ready(self) -> Mapping[str, str]:
        reasons = {}
        if self.observer.sight.trouble:
            reasons["etcd"] = self.observer.sight.trouble
        elif self.observer.silence > 2 * self.config.lease_ttl_seconds:
            reasons["etcd"] = f"nothing heard for {self.observer.silence:.0f} s"
        if self.loader is not None and self.loader.pending:
            reasons["rules"] = self.loader.pending
        if self.membership.foreign:
            reasons["version"] = self.membership.foreign
        return {**reasons, **(self.injection.not_ready() if self.injection is not None else {})}

    def notes(self) -> Mapping[str, str]:
        """Worth knowing, but no reason to take this replica out of service."""
        notes = {"brake": self.brake.why_not} if self.observer.sight.synced and self.brake.why_not else {}
        if self.objects is not None and (trouble := self.objects.why_not):
            notes["objects"] = trouble
        return {**notes, **(self.injection.notes() if self.injection is not None else {})}

    def status(self) -> Mapping[str, object]:
        now = Instant(self.clock.now())
        warm_up = self.brake.warm_up
        stages = {
            step.value: {"count": len(crew.backlog), "oldest_seconds": round(crew.backlog.oldest_age(now), 3)}
            for step, crew in self.collector.crews.items()
        }
        return {
            "tenant": self.config.tenant,
            "replica": self.config.replica,
            "leader": self.leadership.leading,
            "acting": self.index.shards[0].replica if 0 in self.index.shards else None,
            "fence": self.leadership.fence() or None,
            "shards": self._placing(),
            "armed": bool(self.index.armed),
            "braked": self.brake.why_not or None,
            "synced": self.observer.sight.synced,
            "revision": self.observer.sight.revision,
            "watch_lag_seconds": _finite(self.observer.silence),
            "warm_up": {"seconds_left": _finite(warm_up.left(now)), "reason": warm_up.reason},
            **self.standing.told(),
            "backlog": stages,
            "index": {"resources": len(self.index), "holders": len(self.index.holders())},
            "intents": {"count": len(self.index.intents), "suspects": self._suspects()},
            "inventory": self.inventories.state(),
            "owners": self.owners.states(),
            "unreadable": {"count": len(self.index.unreadable), "first": self._first_unreadable()},
            "scan_corrections": self.observer.sight.corrections,
            "webhook": None if self.injection is None else self.injection.status(),
        }

    def _placing(self) -> Mapping[str, object]:
        shards, count = self.index.shards, self.index.shard_count
        replicas = Counter(dict.fromkeys(self.index.replicas, 0))
        replicas.update(shard.replica for n, shard in shards.items() if n < (count or 1))
        return {
            "total": count,
            "held": len(self.leadership.acting()),
            "leaving": self.leadership.leaving(),
            "warming_up": len(self.brake.shard_warm_ups.left(Instant(self.clock.now()))),
            "free": self._gauges.free_shards(),
            "of_replicas": dict(replicas),
        }

    def _first_unreadable(self) -> dict[str, str]:
        return {key.decode("ascii", "replace"): why for key, why in islice(self.index.unreadable.items(), 100)}

    def _suspects(self) -> dict[str, object]:
        """How many calls nobody can tell the outcome of, by reason, and the first of them."""
        counts = reasons(self.index)
        first = [
            {"holder": holder, "call": call, "reason": reason}
            for holder, call, reason in islice(suspects(self.index), 100)
        ]
        return {"count": counts.total(), "reasons": dict(counts), "first": first}


async def serve(config: Config, lifetime: Lifetime) -> None:
    """The whole process: one replica and its HTTP face, until asked to stop."""
    async with EtcdClient(config.etcd) as client:
        plane = ControlPlane(config, client)
        runner = web.AppRunner(plane.web_app(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, config.http.host, config.http.port).start()
            host, port = runner.addresses[0][:2]
            if not is_loopback(host):
                # Prometheus and `leasehold status` come from outside, so it is no mistake; but it has to be known.
                log.warning("open_to_the_network", listen=config.http.listen, serves="metrics, health, and /v1: ids")
            plane.membership.announce(_announced(host, port), version("leasehold"))
            if plane.operator is not None:
                await plane.operator.open()
            async with plane:
                lifetime.ready(
                    http=_address(host, port), replica=config.replica, pid=os.getpid(), **_operator_addresses(plane)
                )
                broken = asyncio.ensure_future(plane.wait_broken())
                stop = asyncio.ensure_future(lifetime.until_stop())
                await asyncio.wait({broken, stop}, return_when=asyncio.FIRST_COMPLETED)
                stop.cancel()
                if broken.done():
                    broken.result()
                broken.cancel()
        finally:
            if plane.operator is not None:
                await plane.operator.close()
            await runner.cleanup()


def _operator_addresses(plane: ControlPlane) -> dict[str, str]:
    if plane.operator is None:
        return {}
    found = {"operator": plane.operator.grpc, "operator_http": plane.operator.http}
    return {name: _address(*where) for name, where in found.items() if where is not None}


def connect(owner: Owner) -> Faces:
    """The adapter for one owner."""
    return Faces(owner, http=HttpOwner(owner), grpc=GrpcOwner(owner))


def _announced(host: str, port: int) -> str:
    """Where others may ask us: who listens everywhere is asked by name."""
    everywhere = host in {"0.0.0.0", "::"}  # noqa: S104 - it is only compared
    return _address(socket.gethostname() if everywhere else host, port)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def _filling_memory() -> Iterator[None]:
    """What is loaded stays: the garbage collector need not look at all of it again and again, neither meanwhile nor
    afterwards, with every small piece of work."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)


def _finite(seconds: float) -> float | None:
    """JSON knows no infinity."""
    return round(seconds, 3) if seconds < float("inf") else None
