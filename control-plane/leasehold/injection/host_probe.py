"""How the sidecar sees whether the app is alive: by the app's own liveness probe, unless the pod says otherwise.

What kubelet restarts an app for is what ends a host here, by the same numbers. What the sidecar cannot do alike (TLS,
headers of its own) becomes a look at the port; what it cannot do at all (a command inside the container) is left out,
and then a native sidecar goes by the pod alone, which ends before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leasehold.injection.pod import listing, mapping

POD_HOST = "${LEASEHOLD_POD_HOST}"
"""Expanded by the sidecar: its pod's address, in brackets if it needs them."""
NONE = "none"
_TEXT = re.compile(r"(http|tcp|grpc):(\d{1,5})(/[!-~]*)?")
_PATH = re.compile(r"/[!-~]*")


class BadProbe(ValueError):
    """What was written is no probe."""


@dataclass(frozen=True, slots=True)
class HostProbe:
    """The ``host:`` section, as far as it is about a probe; empty: none. ``note``: what had to be given up."""

    section: Mapping[str, Any]
    note: str = ""


def probe_from_text(text: str) -> HostProbe:
    """``http:8080/path``, ``tcp:8080``, ``grpc:9000/service`` or ``none``. Raises ``BadProbe``."""
    if text == NONE:
        return HostProbe({})
    found = _TEXT.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 65536 or "${" in text or (found[1] == "tcp" and found[3]):
        raise BadProbe(f"expected http:8080/path, tcp:8080, grpc:9000, grpc:9000/service or none, got {text!r}")
    kind, port, path = found[1], int(found[2]), found[3] or ""
    if kind == "http":
        return HostProbe({"http": {"url": f"http://{POD_HOST}:{port}{path or '/'}"}})
    if kind == "grpc":
        return HostProbe({"grpc": {"address": f"{POD_HOST}:{port}", "service": path.removeprefix("/")}})
    return HostProbe({"tcp": {"address": f"{POD_HOST}:{port}"}})


def probe_of(container: Mapping[str, Any]) -> HostProbe:
    """From a container's liveness probe."""
    probe = container.get("livenessProbe")
    if not isinstance(probe, Mapping):
        return HostProbe({}, "the app has no livenessProbe: a crash of it alone is not seen, only the end of the pod")
    pace = {
        "interval": f"{_number(probe, 'periodSeconds', 10)}s",
        "timeout": f"{_number(probe, 'timeoutSeconds', 1)}s",
        "failures": _number(probe, "failureThreshold", 3),
    }
    for kind, build in (("httpGet", _http), ("tcpSocket", _tcp), ("grpc", _grpc)):
        action = probe.get(kind)
        if isinstance(action, Mapping):
            return build(action, pace, container)
    return HostProbe({}, "the app's livenessProbe is a command, which only kubelet can run: see annotation host-probe")


def _http(action: Mapping[str, Any], pace: Mapping[str, Any], container: Mapping[str, Any]) -> HostProbe:
    path = str(action.get("path") or "/")
    path = path if path.startswith("/") else f"/{path}"
    special = {
        "speaks HTTPS": str(action.get("scheme", "HTTP")).upper() != "HTTP",
        "has headers of its own": bool(action.get("httpHeaders")),
        "has an unusual path": _PATH.fullmatch(path) is None or "${" in path,
    }
    why = next((word for word, is_so in special.items() if is_so), None)
    found = _tcp(action, pace, container)
    if not found.section or why is None:
        port = _port(action, container)
        url = f"http://{_host(action)}:{port}{path}"
        return found if not found.section else HostProbe({"http": {"url": url, **pace}})
    return HostProbe(found.section, f"the app's livenessProbe {why}: only its port is looked at")


def _tcp(action: Mapping[str, Any], pace: Mapping[str, Any], container: Mapping[str, Any]) -> HostProbe:
    port = _port(action, container)
    if port is None:
        return HostProbe({}, "the port of the app's livenessProbe is not among the container's ports")
    return HostProbe({"tcp": {"address": f"{_host(action)}:{port}", **pace}})


def _grpc(action: Mapping[str, Any], pace: Mapping[str, Any], container: Mapping[str, Any]) -> HostProbe:
    port = _port(action, container)
    if port is None:
        return HostProbe({}, "the app's livenessProbe has no port")
    return HostProbe({"grpc": {"address": f"{POD_HOST}:{port}", "service": str(action.get("service") or ""), **pace}})


def _host(action: Mapping[str, Any]) -> str:
    host = str(action.get("host") or "")
    if not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        return POD_HOST
    return f"[{host}]" if ":" in host else host


def _port(action: Mapping[str, Any], container: Mapping[str, Any]) -> int | None:
    port = action.get("port")
    if isinstance(port, str) and not port.isdecimal():
        named = (one for one in listing(container.get("ports")) if one.get("name") == port)
        port = next((one.get("containerPort") for one in named), None)
    try:
        number = int(port) if port is not None else 0
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 65536 else None


def _number(probe: Mapping[str, Any], field: str, default: int) -> int:
    value = mapping(probe).get(field)
    return value if isinstance(value, int) and value > 0 else default
