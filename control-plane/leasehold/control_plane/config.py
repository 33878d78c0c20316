"""The control plane's configuration file: read, checked as a whole, every mistake listed.

Only here files and the environment are read. Paths are relative to the configuration file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from leasehold.protocol.configuration import BadConfiguration, Mistake, Seconds, load, parse_yaml
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.names import NAME_EXPECTED, is_name
from leasehold.protocol.rules import RuleSet, load_rules
from leasehold.shell.daemon import read_configuration


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


class Document(_Section, frozen=True):
    """The file as it is written."""

    etcd: EtcdConfig
    rules: RulesSection
    tenant: str = "default"
    http: HttpSection = HttpSection()
    replica: str | None = None
    lease: LeaseSection = LeaseSection()
    scan_interval: Seconds = Seconds(300.0)


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


def load_config(path: Path) -> Config:
    """Raises ``BadConfiguration`` with every mistake, those of the rule file included."""
    text, document = read_configuration(path), None
    mistakes: list[Mistake] = []
    try:
        document = load(Document, text, str(path), os.environ)
        plain = msgspec.to_builtins(document, enc_hook=str)
    except BadConfiguration as error:
        mistakes += error.mistakes
        plain = parse_yaml(text, str(path))
    mistakes += [Mistake(str(path), where, problem) for where, problem in _nonsense(plain)]
    rules = _rules(plain, path, mistakes)
    if mistakes or document is None:
        raise BadConfiguration(dict.fromkeys(mistakes))
    return Config(
        tenant=document.tenant,
        etcd=_resolved(document.etcd, path.parent),
        http=document.http,
        replica=document.replica or f"{socket.gethostname()}-{os.getpid()}",
        lease_ttl_seconds=round(document.lease.ttl),
        scan_seconds=document.scan_interval,
        rules=rules,
    )


def _rules(plain: object, path: Path, mistakes: list[Mistake]) -> RuleSet | None:
    name = _at(plain, "rules", "file")
    if not isinstance(name, str):
        return None
    file = path.parent / name
    try:
        return load_rules(read_configuration(file), str(file), os.environ)
    except BadConfiguration as error:
        mistakes += error.mistakes
        return None


def _resolved(etcd: EtcdConfig, folder: Path) -> EtcdConfig:
    def resolve(name: str | None) -> str | None:
        return None if name is None else str(folder / name)

    tls = etcd.tls
    if tls is not None:
        tls = msgspec.structs.replace(tls, ca=resolve(tls.ca), cert=resolve(tls.cert), key=resolve(tls.key))
    return msgspec.structs.replace(etcd, tls=tls, password_file=resolve(etcd.password_file))


# --- what the types cannot say; looked for also in a document that has other mistakes ----------------------------


def _nonsense(plain: object) -> Iterator[tuple[str, str]]:
    for field in ("tenant", "replica"):
        name = _at(plain, field)
        if isinstance(name, str) and "${" not in name and not is_name(name):
            yield field, f"expected {NAME_EXPECTED}, got {name!r}"
    yield from _endpoint_nonsense(_at(plain, "etcd", "endpoints"))
    rules = _at(plain, "rules")
    if isinstance(rules, dict) and bool(rules.get("file")) is bool(rules.get("etcd")):
        yield "rules", "expected either file: <path> or etcd: true"
    listen = _at(plain, "http", "listen")
    if isinstance(listen, str) and "${" not in listen and not _is_address(listen):
        yield "http.listen", f"expected host:port, got {listen!r}"
    yield from _duration_nonsense("lease.ttl", _at(plain, "lease", "ttl"), 2.0)
    yield from _duration_nonsense("scan_interval", _at(plain, "scan_interval"), 1.0)


def _endpoint_nonsense(endpoints: object) -> Iterator[tuple[str, str]]:
    if not isinstance(endpoints, list):
        return
    if not endpoints:
        yield "etcd.endpoints", "expected at least one, e.g. http://127.0.0.1:2379"
    for n, endpoint in enumerate(endpoints):
        if isinstance(endpoint, str) and "${" not in endpoint and not _is_endpoint(endpoint):
            yield f"etcd.endpoints[{n}]", f"expected http(s)://host:port, got {endpoint!r}"


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and bool(url.port) and url.path in {"", "/"}
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdecimal() and int(port) < 65536


def _duration_nonsense(where: str, value: object, least: float) -> Iterator[tuple[str, str]]:
    try:
        seconds = Seconds.parse(value)
    except ValueError:
        return  # missing, or listed already
    if seconds < least:
        yield where, f"expected at least {least:g}s, got {value}"


def _at(plain: Any, *path: str) -> object:
    for name in path:
        plain = plain.get(name) if isinstance(plain, dict) else None
    return plain
