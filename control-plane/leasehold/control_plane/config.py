"""The control plane's configuration file: read, checked as a whole, every mistake listed.

Only here files and the environment are read. Paths are relative to the configuration file.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import msgspec

from leasehold.control_plane.config_events import EventsConfig, EventsSection
from leasehold.control_plane.config_webhook import (
    WebhookConfig,
    WebhookSection,
    injection_settings,
    webhook_config,
    webhook_nonsense,
)
from leasehold.control_plane.core.brake_window import Thresholds
from leasehold.control_plane.core.caps import Caps
from leasehold.control_plane.kubernetes.api_server import Access
from leasehold.control_plane.operator.config import OperatorConfig, OperatorSection
from leasehold.injection.settings import InjectSection, Settings
from leasehold.protocol.configuration import BadConfiguration, Seconds, read
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import NAME_EXPECTED, is_name
from leasehold.protocol.rules import RuleSet, load_rules
from leasehold.shell.daemon import read_configuration
from leasehold.shell.etcd_section import EtcdSection
from leasehold.shell.faces import is_address
from leasehold.shell.tracing import TracingConfig, TracingSection


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class RulesSection(_Section, frozen=True):
    """``etcd: true``: those in etcd. ``file``: loaded into etcd at start. Exactly one."""

    etcd: bool = False
    file: str | None = None


class HttpSection(_Section, frozen=True):
    """Where metrics, health and the JSON API are served; port 0 takes any free one."""

    listen: str = "127.0.0.1:8700"

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class LeaseSection(_Section, frozen=True):
    """The leadership lease: a dead leader's successor acts within this time. Whole seconds, at least 2."""

    ttl: Seconds = Seconds(5.0)


class BrakeSection(_Section, frozen=True):
    """When the brake trips by itself: what holders carry that vanished within ``window`` without a reported death is
    more than ``count`` resources *and* more than ``fraction`` of the live ones; or keys of more than ``losses``
    resources went without a transaction of ours."""

    fraction: float = 0.15
    count: int = 50
    window: Seconds = Seconds(300.0)
    losses: int = 10


class CapsSection(_Section, frozen=True):
    """How many sweeps may be prepared in ``window``, for one owner and over all. One replica takes its share."""

    per_owner: int = 6_000
    overall: int = 30_000
    window: Seconds = Seconds(60.0)


class CanarySection(_Section, frozen=True):
    """How often the collector tests itself; ``0s``: never."""

    interval: Seconds = Seconds(60.0)


class KubernetesSection(_Section, frozen=True):
    """``objects: true``: owners and rules are objects of a Kubernetes cluster, and kept in etcd as they say.

    ``selector``: only objects with these labels. Without ``api``, the API server of the cluster we run in;
    ``service_account`` is the folder with ``token`` and ``ca.crt``.
    """

    objects: bool = False
    selector: str = ""
    api: str | None = None
    service_account: str = "/var/run/secrets/kubernetes.io/serviceaccount"
    deadline: Seconds = Seconds(10.0)
    resync: Seconds = Seconds(300.0)

    def nonsense(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What the types cannot say, as path and problem."""
        if not self.objects:
            return
        if not re.fullmatch(r"https?://[^/\s?#@]+", self.url):
            yield (
                "kubernetes.api",
                f"expected http(s)://host:port, got {self.url!r}"
                if self.api is not None
                else "missing; expected http(s)://host:port, or to run in a pod (KUBERNETES_SERVICE_HOST)",
            )
        if self.deadline <= 0:
            yield "kubernetes.deadline", f"expected more than 0s, got {self.deadline}"
        if self.resync < 1:
            yield "kubernetes.resync", f"expected at least 1s, got {self.resync}"
        for name in ("token", "ca.crt") if self.url.startswith("https:") else ():
            if not os.access(file := folder / self.service_account / name, os.R_OK):
                yield "kubernetes.service_account", f"cannot be read: {file}"

    @property
    def url(self) -> str:
        if self.api is not None:
            return self.api.rstrip("/")
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}" if host else ""

    def access(self, folder: Path) -> Access:
        """What the client needs. Without TLS no token goes along: that is ``kubectl proxy``, or a test."""
        if not self.url.startswith("https:"):
            return Access(self.url, deadline_seconds=self.deadline)
        account = folder / self.service_account
        return Access(self.url, account / "token", account / "ca.crt", self.deadline)


class ObjectsConfig(msgspec.Struct, frozen=True):
    """Owners and rules are objects there."""

    access: Access
    selector: str
    resync_seconds: float


class Document(_Section, frozen=True):
    """The file as it is written."""

    etcd: EtcdSection = EtcdSection()
    rules: RulesSection = RulesSection()
    tenant: str = "default"
    http: HttpSection = HttpSection()
    replica: str | None = None
    lease: LeaseSection = LeaseSection()
    scan_interval: Seconds = Seconds(300.0)
    cycle_interval: Seconds = Seconds(30.0)
    brake: BrakeSection = BrakeSection()
    caps: CapsSection = CapsSection()
    canary: CanarySection = CanarySection()
    webhook: WebhookSection | None = None
    inject: InjectSection = InjectSection()
    kubernetes: KubernetesSection = KubernetesSection()
    events: EventsSection = EventsSection()
    operator: OperatorSection | None = None
    tracing: TracingSection = TracingSection()


class Config(msgspec.Struct, frozen=True):
    """What the control plane runs with."""

    tenant: str
    etcd: EtcdConfig
    http: HttpSection
    replica: str
    lease_ttl_seconds: int
    scan_seconds: float
    rules: RuleSet | None = None
    """To be loaded into etcd at start; ``None``: those that are there."""
    cycle_seconds: float = 30.0
    """How often dead reference cycles are looked for."""
    thresholds: Thresholds = Thresholds()
    caps: Caps = Caps()
    canary_seconds: float = 60.0
    """0: never."""
    webhook: WebhookConfig | None = None
    objects: ObjectsConfig | None = None
    events: EventsConfig = EventsConfig()
    operator: OperatorConfig | None = None
    token_review: Access | None = None
    """Who is asked about tokens of the operator API."""
    tracing: TracingConfig | None = None


def load_config(path: Path) -> Config:
    """Raises ``BadConfiguration`` with every mistake, those of the rule file included."""
    reading = read(Document, read_configuration(path), str(path), os.environ, _NEUTRAL)
    document, mistakes = reading.model, reading.mistakes
    if document is None:
        raise BadConfiguration(mistakes)
    mistakes = reading.with_meaning(str(path), _nonsense(document, path.parent))
    rules = None
    try:
        rules = _rules(document.rules, path.parent)
    except BadConfiguration as error:
        mistakes += error.mistakes
    if mistakes:
        raise BadConfiguration(mistakes)
    return Config(
        tenant=document.tenant,
        etcd=document.etcd.completed(path.parent),
        http=document.http,
        replica=document.replica or f"{socket.gethostname()}-{os.getpid()}",
        lease_ttl_seconds=round(document.lease.ttl),
        scan_seconds=document.scan_interval,
        rules=rules,
        cycle_seconds=document.cycle_interval,
        # As it is written: 0.15 is no binary fraction, and nothing is to be rounded at the threshold.
        thresholds=Thresholds(
            Fraction(repr(document.brake.fraction)), document.brake.count, document.brake.window, document.brake.losses
        ),
        caps=Caps(document.caps.per_owner, document.caps.overall, document.caps.window),
        canary_seconds=document.canary.interval,
        webhook=_webhook(document, path.parent),
        objects=_objects(document.kubernetes, path.parent),
        events=document.events.completed(path.parent),
        operator=document.operator.completed(path.parent) if document.operator else None,
        token_review=_token_review(document, path.parent),
        tracing=document.tracing.completed(path.parent),
    )


def _webhook(document: Document, folder: Path) -> WebhookConfig | None:
    if document.webhook is None:
        return None
    return webhook_config(document.webhook, _injection(document), folder)


def _injection(document: Document) -> Settings:
    return injection_settings(document.inject, document.tenant, document.etcd.endpoints)


def _objects(section: KubernetesSection, folder: Path) -> ObjectsConfig | None:
    if not section.objects:
        return None
    return ObjectsConfig(section.access(folder), section.selector, section.resync)


def _token_review(document: Document, folder: Path) -> Access | None:
    asked = document.operator is not None and document.operator.token_review is not None
    return document.kubernetes.access(folder) if asked else None


_NEUTRAL = {"endpoints": "https://127.0.0.1:2379"}
"""What stands in a list for an item of a wrong form while the rest is checked."""


def _rules(section: RulesSection, folder: Path) -> RuleSet | None:
    if section.file is None:
        return None
    file = folder / section.file
    return load_rules(read_configuration(file), str(file), os.environ)


def _nonsense(document: Document, folder: Path) -> Iterator[tuple[str, str]]:
    """What the types cannot say."""
    for field, name in (("tenant", document.tenant), ("replica", document.replica)):
        if name is not None and not is_name(name):
            yield field, f"expected {NAME_EXPECTED}, got {name!r}"
    yield from document.etcd.nonsense(folder)
    if (document.rules.file is not None) == document.rules.etcd:
        yield "rules", "expected exactly one of: file: <path>, etcd: true"
    yield from document.kubernetes.nonsense(folder)
    yield from document.events.nonsense(folder)
    yield from document.tracing.nonsense(folder)
    if document.kubernetes.objects and document.rules.file is not None:
        yield "rules.file", "expected etcd: true beside kubernetes.objects: two sources would undo each other"
    if not is_address(document.http.listen):
        yield "http.listen", f"expected host:port, got {document.http.listen!r}"
    if not 2 <= document.lease.ttl <= 3600:
        yield "lease.ttl", f"expected 2s to 1h, got {document.lease.ttl}"
    for field, interval in (("scan_interval", document.scan_interval), ("cycle_interval", document.cycle_interval)):
        if interval < 1:
            yield field, f"expected at least 1s, got {interval}"
    yield from _nonsense_of_brake(document.brake, document.caps, document.canary)
    yield from _nonsense_of_operator(document, folder)
    if document.webhook is not None:
        yield from webhook_nonsense(document.webhook, _injection(document), folder)


def _nonsense_of_operator(document: Document, folder: Path) -> Iterator[tuple[str, str]]:
    if document.operator is None:
        return
    yield from document.operator.nonsense(folder)
    if document.operator.token_review is not None and not document.kubernetes.url:
        yield "operator.token_review", "expected kubernetes.api, or to run in a pod"


def _nonsense_of_brake(brake: BrakeSection, caps: CapsSection, canary: CanarySection) -> Iterator[tuple[str, str]]:
    if not 0 <= brake.fraction <= 1:
        yield "brake.fraction", f"expected a fraction from 0 to 1, got {brake.fraction}"
    for path, count, least in (
        ("brake.count", brake.count, 0), ("brake.losses", brake.losses, 0),
        ("caps.per_owner", caps.per_owner, 1), ("caps.overall", caps.overall, 1),
    ):  # fmt: skip
        if count < least:
            yield path, f"expected at least {least}, got {count}"
    for path, seconds in (("brake.window", brake.window), ("caps.window", caps.window)):
        if not 1 <= seconds <= 86400:
            yield path, f"expected 1s to 1d, got {seconds}"
    if 0 < canary.interval < 1:
        yield "canary.interval", f"expected 0s (never) or at least 1s, got {canary.interval}"
