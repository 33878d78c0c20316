"""The ``webhook:`` section: where pods are injected from, and whose certificate is shown there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec

from leasehold.control_plane.inject.certificates.store import Places
from leasehold.control_plane.kubernetes.api_server import Access
from leasehold.injection.settings import InjectSection, Settings, settings_nonsense
from leasehold.protocol.configuration import Seconds

SERVICE, SECRET = "leasehold-control-plane", "leasehold-webhook"
"""Names of the default revision; of another one they end with it."""


class WebhookHttpSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the webhook is served, over TLS; port 0 takes any free one."""

    listen: str = "0.0.0.0:8443"


class WebhookSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``certificates: self-managed``: ours, in the Secret ``secret``, published to the webhook configurations called
    ``configuration``. ``files``: ``tls.crt`` and ``tls.key`` in ``directory``.

    ``service`` and ``namespace`` are ours, and give the certificate its names. What is not said follows from
    ``inject``: its namespace, and its revision, of which each has names of its own. ``namespaces: ask``: their labels
    are read from the API server; ``trust``: whoever comes was selected. Without ``api``, the API server of the cluster
    we run in.
    """

    http: WebhookHttpSection = WebhookHttpSection()
    certificates: Literal["self-managed", "files"] = "self-managed"
    directory: str = "/var/run/leasehold/webhook"
    service: str | None = None
    namespace: str | None = None
    secret: str | None = None
    configuration: str | None = None
    namespaces: Literal["ask", "trust"] = "ask"
    api: str | None = None
    service_account: str = "/var/run/secrets/kubernetes.io/serviceaccount"
    deadline: Seconds = Seconds(3.0)

    @property
    def needs_api(self) -> bool:
        return self.certificates == "self-managed" or self.namespaces == "ask"

    @property
    def url(self) -> str:
        """Of the API server; empty: nobody said, and we are in no pod."""
        if self.api is not None:
            return self.api.rstrip("/")
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}" if host else ""

    def nonsense(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What the types cannot say, as path and problem."""
        host, _, port = self.http.listen.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal() and int(port) < 65536):
            yield "webhook.http.listen", f"expected host:port, got {self.http.listen!r}"
        if self.certificates == "files" and not (folder / self.directory).is_dir():
            yield "webhook.directory", f"expected a folder with tls.crt and tls.key: {folder / self.directory} is none"
        for field in ("service", "namespace", "secret", "configuration"):
            name = getattr(self, field)
            if name is not None and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name):
                yield f"webhook.{field}", f"expected a name as in Kubernetes, got {name!r}"
        if self.deadline <= 0:
            yield "webhook.deadline", f"expected more than 0s, got {self.deadline}"
        if self.needs_api:
            yield from self._api_nonsense(folder)

    def _api_nonsense(self, folder: Path) -> Iterator[tuple[str, str]]:
        if not re.fullmatch(r"https?://[^/\s?#@]+", self.url):
            expected = "expected http(s)://host:port"
            in_pod = f"missing; {expected}, or to run in a pod (KUBERNETES_SERVICE_HOST)"
            yield "webhook.api", in_pod if self.api is None else f"{expected}, got {self.url!r}"
        for name in ("token", "ca.crt") if self.url.startswith("https:") else ():
            if not os.access(file := folder / self.service_account / name, os.R_OK):
                yield "webhook.service_account", f"cannot be read: {file}"


class WebhookConfig(msgspec.Struct, frozen=True):
    """What the webhook runs with. ``directory`` is ``None`` if the certificates are ours; ``api`` if none is needed."""

    host: str
    port: int
    settings: Settings
    places: Places
    directory: Path | None
    api: Access | None
    asks_namespaces: bool

    @property
    def names(self) -> frozenset[str]:
        """By which API servers, and people within the cluster, call it."""
        base = f"{self.places.service}.{self.places.namespace}"
        return frozenset((f"{base}.svc", base, f"{base}.svc.cluster.local"))


def injection_settings(section: InjectSection, tenant: str, endpoints: tuple[str, ...]) -> Settings:
    """``endpoints``: the control plane's own, if sidecars have no others."""
    if not section.etcd.endpoints:
        section = msgspec.structs.replace(section, etcd=msgspec.structs.replace(section.etcd, endpoints=endpoints))
    return Settings(section, version("leasehold"), tenant)


def webhook_nonsense(webhook: WebhookSection, settings: Settings, folder: Path) -> Iterator[tuple[str, str]]:
    """Of both sections."""
    yield from webhook.nonsense(folder)
    yield from settings_nonsense(settings)
    if webhook.namespace not in (None, settings.section.namespace):
        yield "inject.namespace", f"expected {webhook.namespace} as in webhook.namespace: the one that is left alone"


def webhook_config(webhook: WebhookSection, settings: Settings, folder: Path) -> WebhookConfig:
    """Complete; paths are relative to ``folder``."""
    host, _, port = webhook.http.listen.rpartition(":")
    api = None
    if webhook.needs_api:
        account = folder / webhook.service_account
        tls = webhook.url.startswith("https:")
        # Without TLS no token goes along: that is kubectl proxy, or a test.
        api = Access(
            webhook.url, account / "token" if tls else None, account / "ca.crt" if tls else None, webhook.deadline
        )
    return WebhookConfig(
        host=host.strip("[]"),
        port=int(port),
        settings=settings,
        places=_places(webhook, settings.section),
        directory=folder / webhook.directory if webhook.certificates == "files" else None,
        api=api,
        asks_namespaces=webhook.namespaces == "ask",
    )


def _places(webhook: WebhookSection, section: InjectSection) -> Places:
    suffix = "" if section.revision == "default" else f"-{section.revision}"
    service = webhook.service or f"{SERVICE}{suffix}"
    return Places(
        webhook.namespace or section.namespace,
        service,
        webhook.secret or f"{SECRET}{suffix}",
        webhook.configuration or service,
    )
