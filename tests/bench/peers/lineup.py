"""Who takes part: the sidecar in its modes, and each peer with the least configuration that relays.

An entrant is started beside the others of its load, so that rounds can be interleaved; one that waits costs nothing
worth counting. All listen on loopback, on the proxy's core, with one worker thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers import configs
from tests.bench.peers.run import PROXY_CORE, DidNotStart, Running, free_port, program, started
from tests.bench.peers.site import LOOPBACK, Site

MARK = 0x1EA5E
TRANSPARENT_PORT = 15001


class NotInstalled(Exception):
    """``str()`` names the program."""


@dataclass(frozen=True)
class Entry:
    """An entrant that runs. ``base`` is where its clients connect; ``admin`` is the sidecar's, for its counters."""

    running: Running
    base: str
    admin: str = ""
    site: Site | None = None

    def counted(self, metric: str, *labels: str) -> float:
        """The sum of a sidecar's counter over all rows that have these labels."""
        command = [*(self.site.here if self.site else ()), "curl", "-s", "--max-time", "10"]
        done = subprocess.run([*command, f"http://{self.admin}/metrics"], capture_output=True, text=True, check=True)
        rows = (line.rpartition(" ") for line in done.stdout.splitlines())
        name = f"leasehold_sidecar_{metric}"
        return sum(
            float(value)
            for row, _, value in rows
            if row.partition("{")[0] == name and all(label in row for label in labels)
        )


@dataclass(frozen=True)
class Entrant:
    """``start`` raises ``NotInstalled`` or ``DidNotStart``."""

    name: str
    start: Callable[[], AbstractContextManager[Entry]]


@dataclass(frozen=True)
class Way:
    """What a peer is to relay: ``http``, ``http2`` or ``tcp``, from ``port`` to an address; files go into a folder."""

    kind: str
    port: int
    to: str
    folder: Path


def peer(name: str, kind: str, site: Site, to: int, *, shown: str = "") -> Entrant:
    shown = shown or name

    @contextmanager
    def start() -> Iterator[Entry]:
        port = free_port()
        folder = site.folder / f"{shown}-{port}".replace(" ", "-")
        folder.mkdir()
        command = PEERS[name](Way(kind, port, f"{site.owner}:{to}", folder))
        found = program(command[0])
        if found is None:
            raise NotInstalled(name)
        command = [*site.here, found, *command[1:]]
        with started(command, folder / "log", core=PROXY_CORE, port=port) as running:
            yield Entry(running, f"http://{LOOPBACK}:{port}")

    return Entrant(shown, start)


def _haproxy(way: Way) -> list[str]:
    mode, proto = ("tcp", "") if way.kind == "tcp" else ("http", " proto h2" if way.kind == "http2" else "")
    option = "option http-keep-alive" if mode == "http" else ""
    text = configs.HAPROXY.format(port=way.port, to=way.to, mode=mode, proto=proto, option=option)
    return ["haproxy", "-db", "-f", _written(way, "haproxy.cfg", text)]


def _nginx(way: Way) -> list[str]:
    text = configs.NGINX_PROXY.format(folder=way.folder, port=way.port, to=way.to)
    return ["nginx", "-c", _written(way, "nginx.conf", text)]


def _envoy(way: Way) -> list[str]:
    path = _written(way, "envoy.json", configs.envoy(way.port, way.to, kind=way.kind))
    return ["envoy", "-c", path, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]


def _caddy(way: Way) -> list[str]:
    scheme, protocols = ("h2c", "h1 h2c") if way.kind == "http2" else ("http", "h1")
    text = configs.CADDY.format(port=way.port, to=way.to, scheme=scheme, protocols=protocols)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", _written(way, "Caddyfile", text)]


def _traefik(way: Way) -> list[str]:
    scheme = "h2c" if way.kind == "http2" else "http"
    _written(way, "dynamic.yaml", configs.TRAEFIK_DYNAMIC.format(scheme=scheme, to=way.to))
    path = _written(way, "traefik.yaml", configs.TRAEFIK_STATIC.format(port=way.port, folder=way.folder))
    return ["traefik", f"--configFile={path}"]


def _aiohttp(way: Way) -> list[str]:
    return [sys.executable, "-m", "tests.bench.peers.plain_proxy", str(way.port), way.to]


def _mitmproxy(way: Way) -> list[str]:
    listen = ["--listen-host", LOOPBACK, "--listen-port", str(way.port)]
    # Streamed and forgotten: it would otherwise keep each body, and cost more still.
    options = [f"confdir={way.folder}", "stream_large_bodies=64k", "store_streamed_bodies=false"]
    sets = [word for option in options for word in ("--set", option)]
    return ["mitmdump", "-q", "--mode", f"reverse:http://{way.to}", *listen, *sets]


def _written(way: Way, name: str, text: str) -> str:
    (way.folder / name).write_text(text)
    return str(way.folder / name)


PEERS: dict[str, Callable[[Way], list[str]]] = {
    "haproxy": _haproxy,
    "nginx": _nginx,
    "envoy": _envoy,
    "caddy": _caddy,
    "traefik": _traefik,
    "aiohttp": _aiohttp,
    "mitmproxy": _mitmproxy,
}
SPEAK_HTTP2 = ("haproxy", "envoy", "caddy", "traefik")
"""To the backend as well; nginx and mitmproxy speak no h2c to a backend, aiohttp none at all."""


def sidecar(
    site: Site, to: int, *, commit: str = "before-response", shown: str = "sidecar", ttl: str = "15s"
) -> Entrant:
    """In upstream mode: a base URL that points at it, as the peers have."""

    @contextmanager
    def start() -> Iterator[Entry]:
        port = free_port()
        way = {"mode": "upstream", "listen": f"{LOOPBACK}:{port}", "to": f"{site.owner}:{to}"}
        with _sidecar(site, shown, way, to, commit, ttl) as (running, admin, _):
            yield Entry(running, f"http://{LOOPBACK}:{port}", admin, site)

    return Entrant(shown, start)


def transparent_sidecar(site: Site) -> Entrant:
    """Capture is installed by the real command, in the app's namespace, for the captured port only."""

    @contextmanager
    def start() -> Iterator[Entry]:
        way = {"mode": "transparent", "listen": f"{LOOPBACK}:{TRANSPARENT_PORT}", "mark": MARK}
        to = site.captured_port
        with _sidecar(site, "transparent", way, to, "before-response", "15s") as (running, admin, folder):
            files = ["--rules", str(folder / "rules.yaml"), "--config", str(folder / "sidecar.yaml")]
            _capture(site, "install", *files)
            try:
                yield Entry(running, f"http://{site.owner}:{to}", admin, site)
            finally:
                _capture(site, "remove")

    return Entrant("sidecar transparent", start)


def _capture(site: Site, *arguments: str) -> None:
    command = [*site.here, sys.executable, "-m", "leasehold.cli", "--etcd", site.etcd_endpoint, "capture"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise DidNotStart(f"leasehold capture {arguments[0]}: {done.stdout}{done.stderr}")


@contextmanager
def _sidecar(
    site: Site, name: str, way: Mapping[str, object], to: int, commit: str, ttl: str
) -> Iterator[tuple[Running, str, Path]]:
    folder = site.folder / f"{name}-{free_port()}".replace(" ", "-")
    folder.mkdir()
    (folder / "rules.yaml").write_text(configs.RULES.format(owner=f"{site.owner}:{to}", commit=commit))
    text = configs.SIDECAR.format(
        instance=folder.name, endpoint=site.etcd_endpoint, pid=os.getpid(), way=json.dumps(way), folder=folder, ttl=ttl
    )
    (folder / "sidecar.yaml").write_text(text)
    command = [*site.here, sys.executable, "-m", "leasehold.sidecar", "--config", str(folder / "sidecar.yaml")]
    with started(command, folder / "log", core=PROXY_CORE, ready=True) as running:
        yield running, str(running.said["admin"]), folder
