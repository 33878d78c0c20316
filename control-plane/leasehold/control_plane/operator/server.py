"""The API's own listeners: gRPC, and HTTP beside it; both before the same guarded service."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import structlog
from aiohttp import web
from grpclib.server import Server

from leasehold.control_plane.console.serving import console_routes, static_files
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.operator.access import Access, TokenReviewer
from leasehold.control_plane.operator.audit import Audit
from leasehold.control_plane.operator.bridge import MOST_BYTES, Bridge
from leasehold.control_plane.operator.bulk import Bulk
from leasehold.control_plane.operator.config import OperatorConfig
from leasehold.control_plane.operator.deeds import Deeds
from leasehold.control_plane.operator.detail import Detail
from leasehold.control_plane.operator.graph import Graph
from leasehold.control_plane.operator.guard import Guard
from leasehold.control_plane.operator.lists import HISTORY_SECONDS, Lists
from leasehold.control_plane.operator.ports import EtcdPort, PlanePort
from leasehold.control_plane.operator.records import Records
from leasehold.control_plane.operator.rules import Rules
from leasehold.control_plane.operator.service import Parts, Service
from leasehold.control_plane.operator.tokens import TokenFile
from leasehold.control_plane.operator.watching import Watching
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Instant
from leasehold.protocol.ports import Clock

SHUTDOWN_SECONDS = 0.5
log = structlog.get_logger()


class OperatorApi:
    """Entered it listens, left it does not any more. ``run`` keeps the history meanwhile."""

    def __init__(
        self, config: OperatorConfig, etcd: EtcdPort, keys: Keyspace, index: Index, plane: PlanePort, clock: Clock, *,
        replica: str, deadline: float, unique: Callable[[], str], reviewer: TokenReviewer | None = None,
    ) -> None:  # fmt: skip
        self._config, self._clock = config, clock
        audit = Audit(etcd, keys, clock, replica=replica, deadline=deadline, unique=unique)
        lists = self._lists = Lists(index, plane)
        deeds = Deeds(etcd, keys, clock, audit, deadline=deadline)
        self._watching = Watching(index, lists)
        parts = Parts(
            lists, Records(etcd, keys, index, lists, deadline=deadline), Detail(etcd, keys, deadline=deadline),
            Graph(index, lists), deeds, Bulk(index, lists, deeds),
            Rules(etcd, keys, index, audit, deadline=deadline), audit, self._watching,
        )  # fmt: skip
        self.access = Access(
            keys.tenant, clock, tokens=TokenFile(config.tokens) if config.tokens else None, subjects=config.subjects,
            reviewer=reviewer, loopback=config.loopback,
        )  # fmt: skip
        guarded = Guard(Service(parts, plane, keys, replica), self.access, keys.tenant)
        self._server = Server([guarded])
        bridge = Bridge(guarded, origins=config.origins, local_only=self.access.open)
        app = web.Application(client_max_size=MOST_BYTES)
        app.add_routes(bridge.routes())
        app.add_routes(console_routes(static_files()))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self.grpc: tuple[str, int] | None = None
        self.http: tuple[str, int] | None = None
        """Where it listens; ``None``: not."""

    def on_index(self) -> None:
        """The index changed."""
        self._watching.on_index()

    async def open(self) -> None:
        """Raises ``OSError``, ``ssl.SSLError``."""
        tls = self._tls()
        address = self._config.grpc
        listening = socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        await self._server.start(sock=listening, ssl=tls)
        self.grpc = listening.getsockname()[:2]
        if self._config.http is not None:
            await self._runner.setup()
            await web.TCPSite(self._runner, *self._config.http, ssl_context=self._tls(alpn=False)).start()
            self.http = self._runner.addresses[0][:2]
        log.info("operator_api_open", grpc=self.grpc, http=self.http, tls=tls is not None)
        if self.access.open:
            log.warning("operator_api_needs_no_proof", caller="local", role="admin", why="it listens on loopback only")

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        await self._runner.cleanup()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._lists.note_history()
            await self._clock.sleep_until(Instant(self._clock.now() + HISTORY_SECONDS))

    def _tls(self, *, alpn: bool = True) -> ssl.SSLContext | None:
        config = self._config
        if config.cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(config.cert, config.key)
        if config.client_ca is not None:
            context.load_verify_locations(config.client_ca)
            # A token may prove it as well; whoever shows a certificate has to show a good one.
            context.verify_mode = ssl.CERT_OPTIONAL
        if alpn:
            context.set_alpn_protocols(["h2"])
        return context
