"""The sidecar's configuration: one YAML file, read once. Every mistake is listed, with what was expected.

Two steps, so that a mistake of form does not hide one of meaning: the ``Document`` (in ``document``) is how it is
written, with almost everything optional; ``Settings`` is what the app needs, complete and checked. Where the form is
wrong, that field is put aside and the rest is checked for meaning all the same.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from leasehold.protocol.configuration import BadConfiguration, read
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import NAME_EXPECTED, ServiceName, Tenant, is_instance, is_name
from leasehold.protocol.rules import RuleSet, checked, load_rules
from leasehold.shell.daemon import read_configuration
from leasehold.shell.faces import is_loopback
from leasehold.shell.tracing import TracingConfig
from leasehold.sidecar.capture.budget import CONNECTIONS, HELD_BYTES
from leasehold.sidecar.capture.dialler import OwnerTls
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.document import (
    AdminSection,
    CaptureMode,
    CaptureSection,
    Document,
    HostSection,
    HttpProbe,
    LeaseSection,
    LimitsSection,
    OwnerTlsSection,
    Probe,
    RulesSection,
)
from leasehold.sidecar.host.probes import Pace

_MEMORY = re.compile(r"(\d{1,9})(KiB|MiB|GiB)")
_MEMORY_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


@dataclass(frozen=True, slots=True)
class Capture:
    """One way in; ``to`` is known for ``upstream`` only."""

    mode: CaptureMode
    listen: Address
    to: Address | None = None
    tls: OwnerTls | None = None
    mark: int | None = None
    if_present: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the relay may use."""

    connections: int = CONNECTIONS
    held_bytes: int = HELD_BYTES


@dataclass(frozen=True, slots=True)
class Settings:
    """What the app needs. ``rules`` is ``None`` when they are in etcd."""

    tenant: Tenant
    service: ServiceName
    instance: str
    etcd: EtcdConfig
    ttl_seconds: int
    service_ttl_seconds: int
    host: int | Probe | None
    capture: tuple[Capture, ...]
    rules: RuleSet | None
    journal: Path
    admin: Address
    limits: Limits = Limits()
    ends_first: bool = False
    health_port: int | None = None
    extra_rules: RuleSet | None = None
    about: Mapping[str, str] | None = None
    tracing: TracingConfig | None = None


def load_settings(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read, check, complete. Raises ``BadConfiguration`` with every mistake."""
    text = read_configuration(path)
    hostname = socket.gethostname()
    environment = {"HOSTNAME": hostname, **_pod_host(environment), **environment}
    reading = read(Document, text, str(path), environment, _NEUTRAL)
    document, mistakes = reading.model, reading.mistakes
    rules: RuleSet | None = None
    if document is not None:
        mistakes = reading.with_meaning(str(path), _nonsense(document, path.parent))
        try:
            rules = _rules(document.rules, path.parent, environment)
        except BadConfiguration as error:
            mistakes += error.mistakes
    if mistakes or document is None:
        raise BadConfiguration(dict.fromkeys(mistakes))
    return _settings(document, rules, path.parent, hostname)


def _pod_host(environment: Mapping[str, str]) -> Mapping[str, str]:
    """A pod's address as it stands before a port: only in the pod it is known whether it needs brackets."""
    ip = environment.get("LEASEHOLD_POD_IP", "")
    return {"LEASEHOLD_POD_HOST": f"[{ip}]" if ":" in ip else ip} if ip else {}


def pace_of(probe: Probe) -> Pace:
    """How a probe is repeated."""
    return Pace(probe.interval, probe.timeout, probe.failures)


# --- form -------------------------------------------------------------------------------------------------------


_NEUTRAL: Mapping[str, object] = {
    "capture": {"mode": "forward-proxy", "listen": "127.0.0.1:0"},
    "endpoints": "https://127.0.0.1:2379",
}
"""What stands in a list for an item of a wrong form: nothing is wrong with its meaning, and the others keep their
numbers."""


# --- meaning ----------------------------------------------------------------------------------------------------


def _nonsense(document: Document, folder: Path) -> Iterator[tuple[str, str]]:
    yield from _name_nonsense(document)
    yield from document.etcd.nonsense(folder)
    yield from _lease_nonsense(document.lease)
    yield from _host_nonsense(document.host)
    yield from _capture_nonsense(document.capture, document.admin.listen, folder)
    yield from _limits_nonsense(document.limits)
    yield from _rules_nonsense(document.rules)
    yield from _journal_nonsense(document.journal, folder)
    yield from document.tracing.nonsense(folder)
    yield from _admin_nonsense(document.admin)
    if document.admin.health_port is not None and not 0 <= document.admin.health_port <= 65535:
        yield "admin.health_port", f"expected a port, got {document.admin.health_port}"


def _admin_nonsense(admin: AdminSection) -> Iterator[tuple[str, str]]:
    try:
        host = Address.parse(admin.listen).host
    except ValueError as error:
        yield "admin.listen", str(error)
        return
    if not (admin.exposed or is_loopback(host)):
        expected = f"expected a loopback address, got {admin.listen!r}: /v1 names what is held, to anybody"
        yield "admin.listen", f"{expected}. Others get health and metrics by health_port; all of it by exposed: true"


def _rules_nonsense(rules: RulesSection) -> Iterator[tuple[str, str]]:
    if (rules.file is not None) == rules.etcd:
        yield "rules", "expected exactly one of: file: <path>, etcd: true"
    if rules.extra is None:
        return
    if rules.file is not None:
        yield "rules.extra", "expected only beside etcd: true"
    # An owner that is not said here may be in etcd: each rule is checked with what is known of it.
    known = {owner.name for owner in rules.extra.owners}
    named = [rule for rule in rules.extra.rules if rule.owner in known]
    try:
        checked(RuleSet(rules.extra.owners, tuple(named)), "rules.extra")
    except BadConfiguration as error:
        yield from ((f"rules.extra.{mistake.path}", mistake.problem) for mistake in error.mistakes)


def _name_nonsense(document: Document) -> Iterator[tuple[str, str]]:
    if not is_name(document.tenant):
        yield "tenant", f"expected {NAME_EXPECTED}, got {document.tenant!r}"
    if document.service is None:
        yield "service", "missing; expected the name of the service we stand beside"
    elif not is_name(document.service):
        yield "service", f"expected {NAME_EXPECTED}, got {document.service!r}"
    if document.instance is not None and not is_instance(document.instance):
        yield (
            "instance",
            f"expected 1 to 200 letters, digits, '.', '_', '~', ':', '+' or '-', got {document.instance!r}",
        )


def _tls_nonsense(where: str, tls: OwnerTlsSection, folder: Path) -> Iterator[tuple[str, str]]:
    if (tls.cert is None) != (tls.key is None):
        yield where, "expected cert and key together"
    for field, file in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        if file is not None and not os.access(folder / file, os.R_OK):
            yield f"{where}.{field}", f"cannot be read: {file}"


def _lease_nonsense(lease: LeaseSection) -> Iterator[tuple[str, str]]:
    for field, value in (("ttl", lease.ttl), ("service_ttl", lease.service_ttl)):
        if not 2 <= value <= 86400:
            yield f"lease.{field}", f"expected 2s to 1d, got {value}"


def _host_nonsense(host: HostSection) -> Iterator[tuple[str, str]]:
    kinds = {"pid": host.pid, "http": host.http, "tcp": host.tcp, "grpc": host.grpc}
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) > 1 or not (given or host.ends_first):
        yield "host", f"expected exactly one of pid, http, tcp, grpc; got {' and '.join(given) or 'none'}"
    if host.ends_first and host.pid is not None:
        yield "host.ends_first", "a pid tells its end by itself: expected it beside a probe or alone"
    if host.pid is not None and host.pid < 1:
        yield "host.pid", f"expected a process id, got {host.pid}"
    if host.http is not None and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", host.http.url):
        yield "host.http.url", f"expected http(s)://host[:port]/path, got {host.http.url!r}"
    for name, probe in (("http", host.http), ("tcp", host.tcp), ("grpc", host.grpc)):
        if probe is None:
            continue
        if not isinstance(probe, HttpProbe):
            yield from _address_nonsense(f"host.{name}.address", probe.address, least_port=1)
        if probe.interval <= 0 or probe.timeout <= 0:
            yield f"host.{name}", "expected interval and timeout of more than 0s"
        if probe.failures < 1:
            yield f"host.{name}.failures", f"expected at least 1, got {probe.failures}"


def _capture_nonsense(capture: tuple[CaptureSection, ...], admin: str, folder: Path) -> Iterator[tuple[str, str]]:
    if not capture:
        yield "capture", 'expected at least one way in, e.g. {mode: forward-proxy, listen: "127.0.0.1:15002"}'
    taken = {admin}
    for n, way in enumerate(capture):
        yield from _address_nonsense(f"capture[{n}].listen", way.listen)
        if way.listen in taken and not way.listen.endswith(":0"):
            yield f"capture[{n}].listen", f"expected each address once, admin.listen included; got {way.listen} again"
        taken.add(way.listen)
        for field, problem in _way_nonsense(way, folder):
            yield f"capture[{n}].{field}", problem


def _way_nonsense(way: CaptureSection, folder: Path) -> Iterator[tuple[str, str]]:
    if way.mode != "upstream" and way.to is not None:
        yield "to", "expected only beside mode: upstream"
    elif way.mode == "upstream" and way.to is None:
        yield "to", "missing; mode: upstream expects the owner's host:port"
    elif way.to is not None:
        yield from _address_nonsense("to", way.to, least_port=1)
    if way.tls is not None:
        yield from _tls_nonsense("tls", way.tls, folder)
        if way.mode == "forward-proxy":
            yield "tls", "expected only beside mode: upstream or mode: transparent"
        if not all(0 < len(name) < 256 and name.isascii() for name in way.tls.alpn):
            yield "tls.alpn", f"expected names of protocols such as h2, got {list(way.tls.alpn)}"
    if way.mark is not None and way.mode == "forward-proxy":
        yield "mark", "expected only beside mode: upstream or mode: transparent"
    if way.mark is not None and not 0 < way.mark < 2**32:
        yield "mark", f"expected 1 to {2**32 - 1}, got {way.mark}"


def _limits_nonsense(limits: LimitsSection) -> Iterator[tuple[str, str]]:
    if limits.connections < 1:
        yield "limits.connections", f"expected at least 1, got {limits.connections}"
    if not _memory(limits.memory):
        yield "limits.memory", f"expected an amount like 512KiB, 64MiB or 1GiB, got {limits.memory!r}"


def _memory(text: str) -> int:
    found = _MEMORY.fullmatch(text)
    return int(found[1]) * _MEMORY_UNITS[found[2]] if found else 0


def _address_nonsense(where: str, text: str, least_port: int = 0) -> Iterator[tuple[str, str]]:
    try:
        address = Address.parse(text)
    except ValueError as error:
        yield where, str(error)
        return
    if address.port < least_port:
        yield where, f"expected a port from {least_port} to 65535, got {text!r}"


def _journal_nonsense(journal: str | None, folder: Path) -> Iterator[tuple[str, str]]:
    if not journal:
        yield "journal", "missing; expected a folder that survives a restart of the sidecar"
        return
    path = folder / journal
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not there.is_dir():
        yield "journal", f"expected a folder: {there} is none"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield "journal", f"expected a folder we may write to: {there} is none"


def _rules(section: RulesSection, folder: Path, environment: Mapping[str, str]) -> RuleSet | None:
    if section.file is None:
        return None
    file = folder / section.file
    return load_rules(read_configuration(file), str(file), environment)


# --- completion -------------------------------------------------------------------------------------------------


def _settings(document: Document, rules: RuleSet | None, folder: Path, hostname: str) -> Settings:
    etcd, host = document.etcd, document.host
    kind = host.pid if host.pid is not None else host.http or host.tcp or host.grpc
    if document.service is None or document.journal is None or (kind is None and not host.ends_first):
        raise AssertionError("checked before")
    instance = document.instance if document.instance is not None else _instance(hostname)
    return Settings(
        tenant=Tenant(document.tenant),
        service=ServiceName(document.service),
        instance=instance,
        etcd=etcd.completed(folder),
        ttl_seconds=math.ceil(document.lease.ttl),
        service_ttl_seconds=math.ceil(document.lease.service_ttl),
        host=kind,
        capture=tuple(_capture(way, folder) for way in document.capture),
        rules=rules,
        journal=folder / document.journal,
        admin=Address.parse(document.admin.listen),
        limits=Limits(document.limits.connections, _memory(document.limits.memory)),
        ends_first=host.ends_first,
        health_port=document.admin.health_port,
        extra_rules=document.rules.extra,
        about=document.about,
        tracing=document.tracing.completed(folder),
    )


def _capture(way: CaptureSection, folder: Path) -> Capture:
    to = None if way.to is None else Address.parse(way.to)
    return Capture(way.mode, Address.parse(way.listen), to, _owner_tls(way.tls, folder), way.mark, way.if_present)


def _owner_tls(tls: OwnerTlsSection | None, folder: Path) -> OwnerTls | None:
    if tls is None:
        return None
    ca, cert, key = (None if file is None else str(folder / file) for file in (tls.ca, tls.cert, tls.key))
    return OwnerTls(ca, cert, key, tls.server_name, tls.alpn)


def _instance(hostname: str) -> str:
    return re.sub(r"[^A-Za-z0-9._~:+-]", "-", hostname)[:200] or "unnamed"
