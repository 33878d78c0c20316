"""Our table as text for ``nft -f``, and back from what ``nft -j`` says of it. Pure.

One table of our own, ``inet leasehold``: a set of addresses and ports for each family, and one chain that redirects new
connections to them. Whoever is exempt returns from the chain before the sets are asked. Replacing is one transaction:
at no instant is half a table in force, and connections that exist keep the way they have (conntrack's memory).

Nothing but numbers and checked names gets into the text, so no host name of a rule can add a line to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from leasehold.protocol.names import is_name

TABLE = "inet leasehold"
REMOVAL = f"table {TABLE}\ndelete table {TABLE}\n"
"""Naming a table makes it if it is not there: so this may be loaded at any time."""
_MAX_COMMENT = 120
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Endpoint(NamedTuple):
    """One address and port of an owner."""

    ip: IpAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.ip.version == 6 else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Exempt:
    """Whose connections are left alone: the sidecar's own. Any one of these is enough."""

    uid: int | None = None
    gid: int | None = None
    mark: int | None = None

    @property
    def nobody(self) -> bool:
        return self.uid is None and self.gid is None and self.mark is None

    def conditions(self) -> Iterator[str]:
        if self.uid is not None:
            yield f"meta skuid {self.uid}"
        if self.gid is not None:
            yield f"meta skgid {self.gid}"
        if self.mark is not None:
            yield f"meta mark {self.mark:#x}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the table is to hold: endpoints with the names of their owners."""

    listen_port: int
    exempt: Exempt
    owners: Mapping[Endpoint, Sequence[str]] = field(default_factory=dict)

    def of_version(self, version: int) -> list[Endpoint]:
        return sorted((endpoint for endpoint in self.owners if endpoint.ip.version == version), key=_order)


def replacement(plan: Plan) -> str:
    """The text that puts this table in the place of any older one of ours, in one transaction."""
    lines = [
        f"table {TABLE}",
        f"delete table {TABLE}",
        f"table {TABLE} {{",
        *_set("owners4", "ipv4_addr", plan.of_version(4), plan.owners),
        *_set("owners6", "ipv6_addr", plan.of_version(6), plan.owners),
        "\tchain output {",
        "\t\ttype nat hook output priority -100; policy accept;",
        *(f"\t\t{condition} return" for condition in plan.exempt.conditions()),
        f"\t\tip daddr . tcp dport @owners4 counter redirect to :{plan.listen_port}",
        f"\t\tip6 daddr . tcp dport @owners6 counter redirect to :{plan.listen_port}",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _set(name: str, family: str, endpoints: Sequence[Endpoint], owners: Mapping[Endpoint, Sequence[str]]) -> list[str]:
    lines = [f"\tset {name} {{", f"\t\ttype {family} . inet_service"]
    if endpoints:
        elements = [
            f'\t\t\t{endpoint.ip} . {endpoint.port} comment "{_comment(owners[endpoint])}"' for endpoint in endpoints
        ]
        lines += ["\t\telements = {", ",\n".join(elements), "\t\t}"]
    return [*lines, "\t}"]


def _comment(names: Iterable[str]) -> str:
    return " ".join(name for name in names if is_name(name))[:_MAX_COMMENT]


def _order(endpoint: Endpoint) -> tuple[int, int, int]:
    return endpoint.ip.version, int(endpoint.ip), endpoint.port


# --- back -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Installed:
    """What the kernel has. ``redirected``: connections so far, by IP version."""

    listen_port: int | None
    exempt: Exempt
    owners: Mapping[Endpoint, Sequence[str]]
    redirected: Mapping[int, int]


def read_back(document: Mapping[str, Any]) -> Installed:
    """From the JSON of ``nft -j list table``. What somebody else added to our table is passed over."""
    owners: dict[Endpoint, Sequence[str]] = {}
    exempt: dict[str, int] = {}
    redirected: dict[int, int] = {}
    port: int | None = None
    for item in document.get("nftables", ()):
        if "set" in item:
            owners.update(_elements(item["set"]))
        elif "rule" in item:
            expressions = item["rule"].get("expr", ())
            matched, version = _matched(expressions)
            exempt.update(matched)
            for expression in expressions:
                if "redirect" in expression:
                    port = expression["redirect"].get("port")
                elif version is not None and "counter" in expression:
                    redirected[version] = expression["counter"]["packets"]
    return Installed(port, Exempt(exempt.get("skuid"), exempt.get("skgid"), exempt.get("mark")), owners, redirected)


def _elements(found: Mapping[str, Any]) -> Iterator[tuple[Endpoint, Sequence[str]]]:
    for plain_or_commented in found.get("elem", ()):
        commented = plain_or_commented.get("elem", {"val": plain_or_commented})
        address, port = commented["val"]["concat"]
        yield Endpoint(ipaddress.ip_address(address), port), tuple(commented.get("comment", "").split())


def _matched(expressions: Iterable[Mapping[str, Any]]) -> tuple[dict[str, int], int | None]:
    """Whom a rule exempts, or which IP version it redirects."""
    for expression in expressions:
        match = expression.get("match", {})
        right = match.get("right")
        key = match.get("left", {}).get("meta", {}).get("key")
        if key is not None and isinstance(right, int):
            return {key: right}, None
        if right in {"@owners4", "@owners6"}:
            return {}, int(right[-1])
    return {}, None
