"""Which rules cannot match in a cluster, as far as manifests tell: owners nobody can be seen calling. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from leasehold.injection.analysis import Finding, Level
from leasehold.injection.manifests import objects
from leasehold.injection.pod import listing, mapping
from leasehold.protocol.rules import Owner, RuleSet

HTTPS_PORT = 443
TLS_HINT = "let the sidecar speak the TLS (docs/capture.md), or call the owner inside the cluster without it"
Services = Mapping[tuple[str, str], Mapping[str, Any]]
"""By namespace and name."""


def services_in(documents: Iterable[Any], default_namespace: str) -> Services:
    """The Service objects among the documents."""
    found = {}
    for document in documents:
        for _, thing in objects(document):
            if thing.get("kind") == "Service":
                metadata = mapping(thing.get("metadata"))
                place = str(metadata.get("namespace") or default_namespace), str(metadata.get("name"))
                found[place] = mapping(thing.get("spec"))
    return found


def about_rules(rules: RuleSet, services: Services) -> Iterator[Finding]:
    """Owner by owner; what is said of one concerns all of its rules."""
    for owner in rules.owners:
        concerned = [rule.name for rule in rules.rules if rule.owner == owner.name]
        if concerned:
            yield from _about_owner(owner, concerned, services)


def _about_owner(owner: Owner, rules: Sequence[str], services: Services) -> Iterator[Finding]:
    where, told = f"owner {owner.name}", f"rules {', '.join(rules)}" if len(rules) > 1 else f"rule {rules[0]}"
    hosts = [_split(host) for host in owner.hosts]
    if hosts and all(port == HTTPS_PORT for _, port in hosts):
        yield Finding(
            "rule-cannot-match",
            Level.FAIL,
            where,
            f"{told} cannot match: TLS that the app speaks itself cannot be read along",
            TLS_HINT,
        )
    for host, port in hosts:
        if "." not in host and not _is_address(host):
            yield Finding(
                "owner-host-relative",
                Level.WARN,
                where,
                f"{host} is another service in each namespace: {told} may match the wrong one",
                f"write it with its namespace, e.g. {host}.shop",
            )
        yield from _about_service(where, told, host, port, services)


def _about_service(where: str, told: str, host: str, port: int, services: Services) -> Iterator[Finding]:
    parts = host.split(".")
    spec = services.get((parts[1], parts[0])) if len(parts) > 1 else None
    if spec is None:
        return
    if spec.get("clusterIP") == "None":
        yield Finding(
            "owner-headless",
            Level.WARN,
            where,
            f"{host} is a headless service: its addresses change, "
            "and a redirect has those of the time when the pod started",
            "give it a cluster IP",
        )
    ports = [one.get("port") for one in listing(spec.get("ports"))]
    if port not in ports:
        yield Finding(
            "rule-cannot-match",
            Level.FAIL,
            where,
            f"{told} cannot match: service {host} has no port {port}",
            f"its ports are {', '.join(map(str, ports)) or 'none'}: write one of them in hosts",
        )


def _split(authority: str) -> tuple[str, int]:
    parts = urlsplit(f"//{authority}")
    try:
        return parts.hostname or authority, parts.port or 80
    except ValueError:
        return authority, 80


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
