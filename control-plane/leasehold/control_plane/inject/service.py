"""The webhook as a part of a control plane: put together, run, and looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import web

from leasehold.control_plane.config_webhook import WebhookConfig
from leasehold.control_plane.inject.certificates.files import CertificateFiles
from leasehold.control_plane.inject.certificates.keeper import CertificateKeeper
from leasehold.control_plane.inject.certificates.kubernetes import KubernetesCertificates
from leasehold.control_plane.inject.certificates.material import Certificate
from leasehold.control_plane.inject.namespaces import AskedNamespaces, Namespaces, TrustedSelectors
from leasehold.control_plane.inject.server import TlsServer
from leasehold.control_plane.inject.webhook import KnownOwners, Webhook
from leasehold.control_plane.kubernetes.api_server import ApiServer
from leasehold.control_plane.metrics import Metrics, Sample
from leasehold.control_plane.telemetry.declared import kubernetes as told
from leasehold.protocol.ports import Clock


class Certificates(Protocol):
    """Whoever has a certificate for us."""

    trouble: str

    @property
    def not_after(self) -> datetime | None: ...

    async def run(self) -> None: ...


class InjectionService:
    """Owns the port, the certificates and the connection to the API server. ``more``: routes of other webhooks."""

    def __init__(
        self,
        config: WebhookConfig,
        owners: KnownOwners,
        metrics: Metrics,
        clock: Clock,
        *,
        leading: Callable[[], bool],
        more: Iterable[web.RouteDef] = (),
    ) -> None:
        self._api = None if config.api is None else ApiServer(config.api)
        namespaces: Namespaces = TrustedSelectors(config.settings.section.revision)
        if self._api is not None and config.asks_namespaces:
            namespaces = AskedNamespaces(self._api, clock)
        webhook = Webhook(config.settings, owners, namespaces, metrics)
        self.server = TlsServer([*webhook.routes(), *more], config.host, config.port)
        self.certificates: Certificates
        if config.directory is not None:
            self.certificates = CertificateFiles(config.directory, self._serve, clock)
        elif self._api is not None:
            store = KubernetesCertificates(self._api, config.places)
            self.certificates = CertificateKeeper(
                store, config.names, self._serve, clock, leading=leading, wall=_wall_clock
            )
        else:
            raise ValueError("expected an API server beside certificates of our own")
        metrics.view(told.CERTIFICATE, self._not_after)

    async def run(self) -> None:
        """Until cancelled. Raises ``OSError`` if the port cannot be had."""
        async with AsyncExitStack() as stack:
            if self._api is not None:
                stack.push_async_callback(self._api.close)
            stack.push_async_callback(self.server.close)
            await self.certificates.run()

    def not_ready(self) -> Mapping[str, str]:
        """Why an API server should rather ask another replica."""
        if self.server.address is None:
            return {"webhook": self.certificates.trouble or "it is not open yet"}
        return {}

    def notes(self) -> Mapping[str, str]:
        """Trouble with the next certificate, while there is still a good one."""
        return {"webhook": self.certificates.trouble} if self.server.address and self.certificates.trouble else {}

    def status(self) -> Mapping[str, object]:
        """For people."""
        until, address = self.certificates.not_after, self.server.address
        return {
            "listen": None if address is None else f"{address[0]}:{address[1]}",
            "certificate_until": None if until is None else until.isoformat(),
            "trouble": self.certificates.trouble or None,
        }

    async def _serve(self, certificate: Certificate) -> None:
        await self.server.use(certificate.pem, certificate.key)

    def _not_after(self) -> list[Sample]:
        until = self.certificates.not_after
        return [] if until is None else [((), until.timestamp())]


def _wall_clock() -> datetime:
    return datetime.now(UTC)
