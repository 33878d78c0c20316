"""The sidecar's configuration as it is written: almost everything optional. What it means is checked in ``config``."""

from __future__ import annotations

from typing import Literal

import msgspec

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.rules import RuleSet
from leasehold.shell.etcd_section import EtcdSection
from leasehold.shell.tracing import TracingSection
from leasehold.sidecar.capture.budget import CONNECTIONS, HELD_BYTES

CaptureMode = Literal["upstream", "forward-proxy", "transparent"]


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class LeaseSection(_Model, frozen=True):
    """How long a silent holder is believed alive. Whole seconds, at least 2: etcd knows no less."""

    ttl: Seconds = Seconds(15.0)
    service_ttl: Seconds = Seconds(60.0)


class HttpProbe(_Model, frozen=True):
    """Alive while ``GET url`` answers below 400."""

    url: str
    interval: Seconds = Seconds(2.0)
    timeout: Seconds = Seconds(1.0)
    failures: int = 3


class TcpProbe(_Model, frozen=True):
    """Alive while it accepts connections."""

    address: str
    interval: Seconds = Seconds(2.0)
    timeout: Seconds = Seconds(1.0)
    failures: int = 3


class GrpcProbe(_Model, frozen=True):
    """Alive while ``grpc.health.v1`` says SERVING of ``service`` (empty: the server as a whole)."""

    address: str
    service: str = ""
    interval: Seconds = Seconds(2.0)
    timeout: Seconds = Seconds(1.0)
    failures: int = 3


Probe = HttpProbe | TcpProbe | GrpcProbe


class HostSection(_Model, frozen=True):
    """The process we speak for: exactly one of these, or none and ``ends_first``.

    ``ends_first``: whoever stops us does so only once the host has ended, as Kubernetes does with a native sidecar.
    """

    pid: int | None = None
    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    grpc: GrpcProbe | None = None
    ends_first: bool = False


class OwnerTlsSection(_Model, frozen=True):
    """TLS that we speak to the owner. Files in PEM, relative to the configuration's folder; ``{}``: system CAs.

    ``alpn`` is what we offer: nothing, or what the app speaks (``[h2]`` for gRPC).
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    alpn: tuple[str, ...] = ()


class CaptureSection(_Model, frozen=True):
    """One way in. ``to`` belongs to ``mode: upstream``, ``tls`` to that and to ``mode: transparent``.

    ``mark``: set on our connections to owners, for the firewall; needs CAP_NET_ADMIN. ``if_present``: an address that
    this machine does not have, e.g. ``[::1]``, is left out.
    """

    mode: CaptureMode
    listen: str
    to: str | None = None
    tls: OwnerTlsSection | None = None
    mark: int | None = None
    if_present: bool = False


class LimitsSection(_Model, frozen=True):
    """What the relay may use. Beyond ``connections`` new ones are reset; beyond ``memory`` holds end early."""

    connections: int = CONNECTIONS
    memory: str = f"{HELD_BYTES // 1024 // 1024}MiB"


class RulesSection(_Model, frozen=True):
    """Where the rules are: exactly one of ``file`` and ``etcd``. A file is relative to the configuration's folder.

    ``extra``: owners and rules for this sidecar alone, beside those in etcd; of two with one name that in etcd counts.
    """

    file: str | None = None
    etcd: bool = False
    extra: RuleSet | None = None


class AdminSection(_Model, frozen=True):
    """Health, metrics and ``/v1``. It asks nobody who he is, and names what is held: therefore loopback only, unless
    ``exposed`` says that the network in between is to be trusted.

    ``health_port``: health and metrics alone, on every address, for whoever looks from outside.
    """

    listen: str = "127.0.0.1:15020"
    exposed: bool = False
    health_port: int | None = None


class Document(_Model, frozen=True):
    """The file as written."""

    tenant: str = "default"
    service: str | None = None
    instance: str | None = None
    etcd: EtcdSection = EtcdSection()
    lease: LeaseSection = LeaseSection()
    host: HostSection = HostSection()
    capture: tuple[CaptureSection, ...] = ()
    limits: LimitsSection = LimitsSection()
    rules: RulesSection = RulesSection()
    journal: str | None = None
    admin: AdminSection = AdminSection()
    tracing: TracingSection = TracingSection()
    about: dict[str, str] = {}
    """Words about where we are (pod, node ...): part of every log line and of ``/v1/status``."""
