"""The relay beside what people use today, in one run on one machine: requests/s, CPU per request, latency, memory.

``python -m tests.bench.data_plane [--seconds N] [--only NAME,...] [--json FILE]`` (``make bench-data-plane`` installs
the peers first). Every proxy gets a core of its own, one thread, and the same real backend (nginx); the load tools and
the backend share the other core. Peers that are not installed are left out and named. Figures of one run compare with
each other, not with those of another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.peers import configs
from tests.bench.peers.load import Load, download, h2load, wrk
from tests.bench.peers.run import LOAD_CORE, PROXY_CORE, Running, free_port, program, started, wait_for_port
from tests.etcd_process import running_etcd

CONNECTIONS = 16
LARGE_BYTES = 1 << 30
POST = 'wrk.method = "POST"\nwrk.body = "{}"\nwrk.headers["Content-Type"] = "application/json"\n'


@dataclass(frozen=True)
class Figures:
    """One proxy under one load."""

    what: str
    proxy: str
    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    resident_mb: float
    bad: int


class Bench:
    """One run: the backend, the folder, and what was measured."""

    def __init__(self, folder: Path, seconds: int, endpoint: str, only: frozenset[str]) -> None:
        self.folder, self.seconds, self.endpoint, self.only = folder, seconds, endpoint, only
        self.backend, self.backend_h2 = free_port(), free_port()
        self.figures: list[Figures] = []
        self.large: dict[str, float] = {}
        self.idle_mb: dict[str, float] = {}
        self.missing: set[str] = set()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    @contextmanager
    def nginx_backend(self) -> Iterator[None]:
        text = configs.NGINX_BACKEND.format(folder=self.folder, port=self.backend, h2_port=self.backend_h2)
        with (self.folder / "large").open("wb") as file:
            file.truncate(LARGE_BYTES)
        log = self.folder / "backend.log"
        nginx = program("nginx")
        if nginx is None:
            sys.exit("nginx is needed as the backend: make bench-data-plane installs it")
        with started([nginx, "-c", str(self.write("backend.conf", text))], log, core=LOAD_CORE):
            wait_for_port(self.backend, log)
            yield

    @contextmanager
    def proxy(self, name: str, command: list[str] | None, port: int) -> Iterator[Running | None]:
        found = program(command[0]) if command else None
        if command is None or found is None:
            self.missing.add(name)
            yield None
            return
        log = self.folder / f"{name}.log"
        with started([found, *command[1:]], log, core=PROXY_CORE) as (running, _):
            wait_for_port(port, log)
            yield running

    @contextmanager
    def sidecar(self, port: int, to: int, commit: str) -> Iterator[Running]:
        rules = self.write("rules.yaml", _rules(self.backend, commit))
        config = _sidecar_config(port, to, self.endpoint, rules, self.folder / f"journal-{port}")
        command = [str(Path(sys.executable).with_name("leasehold-sidecar")), "--config"]
        path = self.write("sidecar.yaml", config)
        log = self.folder / "sidecar.log"
        with started([*command, str(path)], log, core=PROXY_CORE, ready=True) as (running, _):
            yield running

    # --- loads --------------------------------------------------------------------------------------------------

    def measure(self, what: str, name: str, running: Running, load: Callable[[int], Load]) -> None:
        load(1)  # connections, caches, just-in-time things
        before = running.cpu_seconds()
        result = load(self.seconds)
        cpu = running.cpu_seconds() - before
        figures = Figures(
            what, name, result.per_second, cpu / max(result.requests, 1) * 1e6, result.p50_ms, result.p99_ms,
            running.resident_mb(), result.bad,
        )  # fmt: skip
        self.figures.append(figures)
        print(
            f"{what:<24} {name:<24} {figures.per_second:>9,.0f}/s {figures.cpu_us:>7.1f} us "
            f"{figures.p50_ms:>7.2f} ms {figures.p99_ms:>8.2f} ms {figures.resident_mb:>7.1f} MB"
            + (f"   {figures.bad} BAD ANSWERS" if figures.bad else ""),
            flush=True,
        )

    def wanted(self, name: str) -> bool:
        return not self.only or name in self.only

    def http1(self, name: str, port: int, running: Running) -> None:
        self.idle_mb.setdefault(name, running.resident_mb())
        url = f"http://127.0.0.1:{port}/small"
        self.measure("HTTP/1.1", name, running, lambda s: wrk(url, connections=CONNECTIONS, seconds=s))

    def creations(self, name: str, port: int, running: Running) -> None:
        script = self.write("post.lua", POST)
        url = f"http://127.0.0.1:{port}/v1/blobs"
        load = lambda s: wrk(url, connections=CONNECTIONS, seconds=s, script=script)  # noqa: E731
        self.measure("HTTP/1.1 creations", name, running, load)

    def http2(self, name: str, port: int, running: Running) -> None:
        url = f"http://127.0.0.1:{port}/small"
        self.measure("HTTP/2", name, running, lambda s: h2load(url, connections=CONNECTIONS, streams=1, seconds=s))

    def one_large_body(self, name: str, port: int) -> None:
        rate = max(download(f"http://127.0.0.1:{port}/large", LARGE_BYTES) for _ in range(2))
        self.large[name] = rate
        print(f"{'1 GiB body':<24} {name:<24} {rate / 1e6:>9,.0f} MB/s", flush=True)

    # --- who ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        with self.nginx_backend():
            for name, command in self._http_peers():
                if self.wanted(name):
                    self._peer(name, command)
            if self.wanted("sidecar"):
                self._ours()
            for name, kind in (("haproxy-h2", "haproxy"), ("envoy-h2", "envoy")):
                if self.wanted(name):
                    self._http2_peer(name, kind)
            for name in ("haproxy-tcp", "envoy-tcp"):
                if self.wanted(name):
                    self._tcp_peer(name)

    def _http_peers(self) -> list[tuple[str, Callable[[int], list[str] | None]]]:
        return [
            ("haproxy", lambda port: self._haproxy(port, self.backend, "http")),
            ("nginx", self._nginx),
            ("envoy", lambda port: self._envoy(port, self.backend, "http")),
            ("caddy", self._caddy),
            ("traefik", self._traefik),
            ("aiohttp", self._aiohttp),
            ("mitmproxy", self._mitmproxy),
        ]  # fmt: skip

    def _peer(self, name: str, command: Callable[[int], list[str] | None]) -> None:
        port = free_port()
        with self.proxy(name, command(port), port) as running:
            if running is not None:
                self.http1(name, port, running)
                self.creations(name, port, running)

    def _ours(self) -> None:
        port = free_port()
        with self.sidecar(port, self.backend, "before-response") as running:
            self.http1("sidecar", port, running)
            self.one_large_body("sidecar", port)
        for commit in ("background", "before-response", "before-request"):
            port = free_port()
            with self.sidecar(port, self.backend, commit) as running:
                self.creations(f"sidecar {commit}", port, running)
        port = free_port()
        with self.sidecar(port, self.backend_h2, "before-response") as running:
            self.http2("sidecar", port, running)

    def _http2_peer(self, name: str, kind: str) -> None:
        port = free_port()
        command = (
            self._haproxy(port, self.backend_h2, "http", " proto h2")
            if kind == "haproxy"
            else self._envoy(port, self.backend_h2, "http2")
        )
        with self.proxy(name, command, port) as running:
            if running is not None:
                self.http2(name.removesuffix("-h2"), port, running)

    def _tcp_peer(self, name: str) -> None:
        port = free_port()
        command = (
            self._haproxy(port, self.backend, "tcp")
            if name == "haproxy-tcp"
            else self._envoy(port, self.backend, "tcp")
        )
        with self.proxy(name, command, port) as running:
            if running is not None:
                self.one_large_body(name, port)

    def _haproxy(self, port: int, to: int, mode: str, proto: str = "") -> list[str]:
        option = "option http-keep-alive" if mode == "http" else ""
        text = configs.HAPROXY.format(port=port, to=to, mode=mode, proto=proto, option=option)
        return ["haproxy", "-db", "-f", str(self.write(f"haproxy-{port}.cfg", text))]

    def _nginx(self, port: int) -> list[str]:
        text = configs.NGINX_PROXY.format(folder=self.folder, port=port, to=self.backend)
        return ["nginx", "-c", str(self.write("nginx-proxy.conf", text))]

    def _envoy(self, port: int, to: int, kind: str) -> list[str]:
        path = self.write(f"envoy-{port}.json", configs.envoy(port, to, kind=kind))
        quiet = ["--log-level", "error", "--use-dynamic-base-id", "--disable-hot-restart"]
        return ["envoy", "-c", str(path), "--concurrency", "1", *quiet]

    def _caddy(self, port: int) -> list[str]:
        path = self.write("Caddyfile", configs.CADDY.format(port=port, to=self.backend))
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]

    def _traefik(self, port: int) -> list[str]:
        self.write("traefik-dynamic.yaml", configs.TRAEFIK_DYNAMIC.format(to=self.backend))
        path = self.write("traefik.yaml", configs.TRAEFIK_STATIC.format(port=port, folder=self.folder))
        return ["traefik", f"--configFile={path}"]

    def _aiohttp(self, port: int) -> list[str]:
        return [sys.executable, "-m", "tests.bench.peers.plain_proxy", str(port), str(self.backend)]

    def _mitmproxy(self, port: int) -> list[str]:
        to = f"reverse:http://127.0.0.1:{self.backend}"
        confdir = f"confdir={self.folder}/mitm"
        return [
            "mitmdump",
            "-q",
            "--mode",
            to,
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            str(port),
            "--set",
            confdir,
        ]

    # --- what came of it ----------------------------------------------------------------------------------------

    def cpu(self, what: str, proxy: str) -> float | None:
        return next((one.cpu_us for one in self.figures if (one.what, one.proxy) == (what, proxy)), None)

    def ratios(self) -> Iterator[tuple[str, float, float]]:
        """Each target: what, the ratio measured, the ratio wanted at most (negative: at least)."""
        wanted = [
            ("HTTP/1.1", "sidecar", "HTTP/1.1", "haproxy", 1.2),
            ("HTTP/1.1", "sidecar", "HTTP/1.1", "envoy", 0.4),
            ("HTTP/1.1 creations", "sidecar before-response", "HTTP/1.1 creations", "envoy", 1.0),
            ("HTTP/2", "sidecar", "HTTP/2", "envoy", 1.0),
        ]
        for what, ours, peer_what, peer, most in wanted:
            mine, theirs = self.cpu(what, ours), self.cpu(peer_what, peer)
            if mine is not None and theirs:
                yield f"CPU per request, {what}: {ours} / {peer}", mine / theirs, most
        if "sidecar" in self.large and "envoy-tcp" in self.large:
            yield "1 GiB body: sidecar / envoy as TCP proxy", self.large["sidecar"] / self.large["envoy-tcp"], -0.8
        if "sidecar" in self.idle_mb and "envoy" in self.idle_mb:
            yield "resident memory at idle: sidecar / envoy", self.idle_mb["sidecar"] / self.idle_mb["envoy"], 0.7

    def report(self) -> None:
        print()
        for what, ratio, target in self.ratios():
            met = ratio >= -target if target < 0 else ratio <= target
            bound = f"at least {-target}" if target < 0 else f"at most {target}"
            print(f"{what:<72} {ratio:5.2f}  ({bound}: {'met' if met else 'NOT MET'})")
        if self.missing:
            print(f"not installed, left out: {', '.join(sorted(self.missing))}")

    def as_json(self) -> str:
        return json.dumps(
            {
                "figures": [asdict(one) for one in self.figures],
                "large_body_bytes_per_second": self.large,
                "idle_mb": self.idle_mb,
                "ratios": [{"what": what, "ratio": ratio, "target": target} for what, ratio, target in self.ratios()],
                "missing": sorted(self.missing),
            },
            indent=2,
        )


def _rules(backend: int, commit: str) -> str:
    return f"""
owners:
  - name: blob-store
    hosts: ["127.0.0.1:{backend}"]
    endpoint: http://127.0.0.1:{backend}
    delete: {{path: "/v1/blobs/{{id}}", precondition: never-reused}}
rules:
  - name: create-blob
    owner: blob-store
    type: blob
    on: create
    match: {{method: POST, path: "/v1/blobs", status: [201]}}
    id: {{json: id}}
    held_by: process
    commit: {commit}
"""


def _sidecar_config(port: int, to: int, endpoint: str, rules: Path, journal: Path) -> str:
    return f"""
service: bench
instance: at-{port}
etcd: {{endpoints: ["{endpoint}"]}}
host: {{pid: {os.getpid()}}}
capture: [{{mode: upstream, listen: "127.0.0.1:{port}", to: "127.0.0.1:{to}"}}]
rules: {{file: {rules}}}
journal: {journal}
admin: {{listen: "127.0.0.1:0"}}
"""


async def _main(arguments: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-bench-")))
        folder.chmod(0o755)
        async with running_etcd(folder) as [etcd]:
            only = frozenset(arguments.only.split(",")) if arguments.only else frozenset()
            bench = Bench(folder, arguments.seconds, etcd.endpoint, only)
            header = ("load", "proxy", "requests", "CPU each", "p50", "p99", "resident")
            print("{:<24} {:<24} {:>11} {:>10} {:>10} {:>11} {:>10}".format(*header))
            bench.run()
            bench.report()
            if arguments.json:
                Path(arguments.json).write_text(bench.as_json())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="of load per measurement")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--json", default="", help="also write the figures here")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
