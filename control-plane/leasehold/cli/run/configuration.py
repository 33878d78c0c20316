"""From the configuration a person wrote to the one this run's sidecar reads. Pure.

The host becomes the program's pid, and there is a forward proxy to point the program at. The derived file lies in a
folder of its own, so what was relative to the original's folder (rules, journal, certificates, the password file) is
made absolute. Everything else stays as it was written: the sidecar checks it, and its mistakes are its own to tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leasehold.protocol.configuration import load

PROXY = "forward-proxy"
ANY_PORT = "127.0.0.1:0"
_FILES = (
    ("rules", "file"), ("journal",), ("etcd", "password_file"),
    ("etcd", "tls", "ca"), ("etcd", "tls", "cert"), ("etcd", "tls", "key"),
)  # fmt: skip


def derived(text: str, path: Path, pid: int, variables: Mapping[str, str]) -> str:
    """The configuration's text for this run. Raises ``BadConfiguration`` when it is no mapping at all."""
    document = load(dict[str, Any], text, str(path), variables)
    captures = document.get("capture", [])
    folder = path.parent.absolute()
    if isinstance(captures, list):
        captures = [_with_files_from(folder, capture) for capture in captures]
        if not any(_is_proxy(capture) for capture in captures):
            captures = [*captures, {"mode": PROXY, "listen": ANY_PORT}]
    for place in _FILES:
        _make_absolute(document, place, folder)
    # JSON is YAML, and leaves no doubt about what is text.
    return json.dumps({**document, "capture": captures, "host": {"pid": pid}}, indent=1)


def _make_absolute(document: Any, place: Sequence[str], folder: Path) -> None:
    """The file named at ``place``, if one is named there."""
    *way, last = place
    for step in way:
        document = document.get(step) if isinstance(document, dict) else None
    if isinstance(document, dict) and isinstance(document.get(last), str):
        document[last] = str(folder / document[last])


def _is_proxy(capture: object) -> bool:
    return isinstance(capture, dict) and capture.get("mode") == PROXY


def _with_files_from(folder: Path, capture: object) -> object:
    if not isinstance(capture, dict) or not isinstance(capture.get("tls"), dict):
        return capture
    files = {name: file for name, file in capture["tls"].items() if name in {"ca", "cert", "key"}}
    absolute = {name: str(folder / file) for name, file in files.items() if isinstance(file, str)}
    return {**capture, "tls": {**capture["tls"], **absolute}}


def environment(base: Mapping[str, str], proxy: str) -> dict[str, str]:
    """The program's environment: plain HTTP goes through the sidecar, loopback included; HTTPS stays as it is."""
    url = f"http://{proxy}"
    kept = {name: value for name, value in base.items() if name.upper() != "NO_PROXY"}
    return {**kept, "HTTP_PROXY": url, "http_proxy": url}


def proxy_address(ready: Mapping[str, Any]) -> str | None:
    """Where the forward proxy listens, from the sidecar's ready line."""
    for capture in ready.get("capture", ()):
        if isinstance(capture, dict) and capture.get("mode") == PROXY:
            address = capture.get("listen")
            return address if isinstance(address, str) else None
    return None
