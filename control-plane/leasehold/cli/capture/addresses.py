"""From the owners' ``hosts`` to addresses and ports, and what must never be among them.

A host name may resolve to something else the next time: names in front of many machines answer with a few of them each.
So what was seen is remembered for a while; an address too many costs nothing but a relay, an address too few is a call
that nobody sees.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from leasehold.cli.capture.ruleset import Endpoint
from leasehold.cli.target import Failure
from leasehold.protocol.rules import Owner

DEFAULT_PORT = 80
REMEMBERED_SECONDS = 3600.0

Resolve = Callable[[str], Sequence[str]]
"""A host name to the texts of its addresses. Raises ``OSError``."""


def resolve(host: str) -> Sequence[str]:
    """By the system's resolver."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} is no host name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def host_and_port(authority: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """``host``, ``host:port``, ``[::1]:port`` or a bare IPv6 address. Raises ``ValueError``."""
    try:
        return str(ipaddress.IPv6Address(authority)), default_port
    except ValueError:
        pass
    parts = urlsplit(f"//{authority}")
    if not parts.hostname:
        raise ValueError(f"expected host or host:port, got {authority!r}")
    return parts.hostname, parts.port or default_port


def endpoints_of(authority: str, resolve: Resolve, default_port: int = DEFAULT_PORT) -> list[Endpoint]:
    """Raises ``OSError`` when the name does not resolve, ``ValueError`` when it is none."""
    host, port = host_and_port(authority, default_port)
    found = []
    for text in resolve(host):
        ip = ipaddress.ip_address(text.partition("%")[0])
        # An IPv4 address in IPv6 clothes is sent as IPv4.
        found.append(Endpoint(getattr(ip, "ipv4_mapped", None) or ip, port))
    return found


@dataclass
class Owners:
    """The endpoints of all owners, as they were seen lately."""

    resolve: Resolve = resolve
    lenient: bool = False
    """An owner without any address is a warning instead of a failure."""
    _seen: dict[Endpoint, dict[str, float]] = field(default_factory=dict)

    def look(self, owners: Iterable[Owner], now: float) -> tuple[dict[Endpoint, Sequence[str]], list[str]]:
        """Endpoints with the names of their owners, and warnings. Raises ``Failure`` for an owner without any."""
        owners = list(owners)
        warnings: list[str] = []
        for owner in owners:
            warnings += self._look_at(owner, now)
        named = {owner.name for owner in owners}
        current: dict[Endpoint, Sequence[str]] = {}
        for endpoint, names in list(self._seen.items()):
            fresh = {name: at for name, at in names.items() if name in named and now - at <= REMEMBERED_SECONDS}
            if fresh:
                self._seen[endpoint], current[endpoint] = fresh, sorted(fresh)
            else:
                del self._seen[endpoint]
        lost = [name for name in sorted(named) if not any(name in names for names in current.values())]
        if lost and not self.lenient:
            raise Failure(f"no address is known of {', '.join(lost)}: {'; '.join(warnings)}")
        return current, warnings

    def _look_at(self, owner: Owner, now: float) -> list[str]:
        warnings = []
        for host in owner.hosts:
            try:
                found = endpoints_of(host, self.resolve)
            except (OSError, ValueError) as error:
                warnings.append(f"owner {owner.name}: host {host} does not resolve ({error})")
                continue
            for endpoint in found:
                self._seen.setdefault(endpoint, {})[owner.name] = now
        return warnings


@dataclass(frozen=True, slots=True)
class Protected:
    """What must be reached without us: without etcd there is no registering, without the control plane no operating."""

    what: str
    authority: str
    default_port: int = DEFAULT_PORT


def protected_etcd(url: str) -> Protected:
    """An endpoint URL of etcd."""
    parts = urlsplit(url)
    return Protected("etcd", parts.netloc, 443 if parts.scheme == "https" else 80)


def refuse_protected(owners: dict[Endpoint, Sequence[str]], protected: Iterable[Protected], resolve: Resolve) -> None:
    """Raises ``Failure`` naming every owner that is one of the protected, or what cannot be ruled out."""
    clashes = []
    for one in protected:
        try:
            found = endpoints_of(one.authority, resolve, one.default_port)
        except (OSError, ValueError) as error:
            raise Failure(
                f"{one.what} at {one.authority} does not resolve ({error}): it cannot be ruled out that a rule names it"
            ) from error
        clashes += [
            f"owner {', '.join(owners[endpoint])} is at {endpoint}, where {one.what} ({one.authority}) is"
            for endpoint in found
            if endpoint in owners
        ]
    if clashes:
        raise Failure(f"refused to redirect what the sidecar itself depends on: {'; '.join(clashes)}")


def refuse_ourselves(owners: dict[Endpoint, Sequence[str]], listen_port: int) -> None:
    """Raises ``Failure`` when a rule names the port that connections are redirected to."""
    for endpoint, names in owners.items():
        if endpoint.port == listen_port and endpoint.ip.is_loopback:
            raise Failure(
                f"refused to redirect {endpoint} of owner {', '.join(names)}: the sidecar itself listens there"
            )
