"""Which loads are put on whom, and what is read off while they last."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.peers import results
from tests.bench.peers.lineup import PEERS, SPEAK_HTTP2, Entrant, Entry, peer, sidecar, transparent_sidecar
from tests.bench.peers.load import Load, download, h2load, upload, wrk
from tests.bench.peers.rounds import Loading, Measure, Plan
from tests.bench.peers.site import Site

CONNECTIONS = 16
SATURATING_CONNECTIONS = 64
SETTLE_SECONDS = 5.0
COMMITS = ("background", "before-response", "before-request")
POST = 'wrk.method = "POST"\nwrk.body = "{}"\nwrk.headers["Content-Type"] = "application/json"\n'
GIB = 1 << 30
Drive = Callable[[Entry, int], Load]
"""One run of a load tool against one entrant, of so many seconds."""


def requests(drive: Drive) -> Measure:
    """Requests per second, latencies, and the CPU of the proxy alone."""

    def measure(entry: Entry, seconds: int) -> dict[str, float]:
        cpu = entry.running.cpu_seconds()
        load = drive(entry, seconds)
        return _values(load, entry.running.cpu_seconds() - cpu)

    return measure


def creations(site: Site, drive: Drive) -> Measure:
    """The same; of a sidecar also what etcd spent, in a column of its own, and how much went into one transaction.

    What a sidecar did not register counts as a bad answer: a fast one that forgets is no use.
    """

    def measure(entry: Entry, seconds: int) -> dict[str, float]:
        if not entry.admin:
            return requests(drive)(entry, seconds)
        registered, commits = _registered(entry), entry.counted("commits_total")
        cpu, etcd = entry.running.cpu_seconds(), site.etcd.cpu_seconds()
        load = drive(entry, seconds)
        registered = _settled(entry, registered + load.requests) - registered
        cpu, etcd = entry.running.cpu_seconds() - cpu, site.etcd.cpu_seconds() - etcd
        values = _values(load, cpu)
        values[results.BAD] += max(0.0, load.requests - registered)
        values[results.ETCD_CPU] = etcd / max(load.requests, 1) * 1e6
        values[results.BATCH] = registered / max(entry.counted("commits_total") - commits, 1)
        return values

    return measure


def _values(load: Load, cpu_seconds: float) -> dict[str, float]:
    return {
        results.RATE: load.per_second,
        results.CPU: cpu_seconds / max(load.requests, 1) * 1e6,
        results.P50: load.p50_ms,
        results.P99: load.p99_ms,
        results.BAD: float(load.bad),
    }


def _registered(entry: Entry) -> float:
    return entry.counted("registrations_total", 'outcome="registered"')


def _settled(entry: Entry, wanted: float) -> float:
    """How many are registered once all are, or time is up: with background commits the work goes on for a moment."""
    until = time.monotonic() + SETTLE_SECONDS
    while (count := _registered(entry)) < wanted and time.monotonic() < until:
        time.sleep(0.2)
    return count


def transfers(seconds_taken: Callable[[Entry], float], size: int) -> Measure:
    def measure(entry: Entry, seconds: int) -> dict[str, float]:
        cpu = entry.running.cpu_seconds()
        took = seconds_taken(entry)
        cpu = entry.running.cpu_seconds() - cpu
        return {results.THROUGHPUT: size / took / 1e6, results.CPU_PER_GIB: cpu * 1e3 * GIB / size}

    return measure


def on_loopback(site: Site, plan: Plan) -> list[Loading]:
    post, body = site.write("post.lua", POST), site.write("post.json", "{}")
    peers1 = [peer(name, "http", site, site.plain_port) for name in PEERS]
    ours1 = sidecar(site, site.plain_port)
    makers = [sidecar(site, site.plain_port, commit=commit, shown=f"sidecar {commit}") for commit in COMMITS]
    all2 = [sidecar(site, site.h2_port), *(peer(name, "http2", site, site.h2_port) for name in SPEAK_HTTP2)]
    creations1 = creations(site, _http1("/v1/blobs", post))
    creations2 = creations(site, _http2(site, "/v1/blobs", 1, body))
    return [
        Loading(results.HTTP1, [ours1, *peers1], requests(_http1("/small"))),
        Loading(results.CREATIONS, [*makers, *peers1], creations1),
        Loading(results.HTTP2, all2, requests(_http2(site, "/small", 1))),
        Loading(results.HTTP2_STREAMS, all2, requests(_http2(site, "/small", 10))),
        Loading(results.HTTP2_CREATIONS, all2, creations2),
        *_large(site, plan.large_bytes),
    ]


def _http1(path: str, script: Path | None = None) -> Drive:
    return lambda entry, seconds: wrk(entry.base + path, connections=CONNECTIONS, seconds=seconds, script=script)


def _http2(site: Site, path: str, streams: int, body: Path | None = None) -> Drive:
    log = site.folder / "h2load.log"
    return lambda entry, seconds: h2load(
        entry.base + path, connections=CONNECTIONS, streams=streams, seconds=seconds, log=log, body=body
    )


def _large(site: Site, size: int) -> list[Loading]:
    large = site.folder / "large"
    with large.open("wb") as file:
        file.truncate(size)

    def entrants(to: int) -> list[Entrant]:
        tcp = [peer(name, "tcp", site, to, shown=f"{name} tcp") for name in ("haproxy", "envoy")]
        return [sidecar(site, to), *tcp, peer("nginx", "http", site, to)]

    down = transfers(lambda entry: download(f"{entry.base}/large", size), size)
    up = transfers(lambda entry: upload(f"{entry.base}/large", large, size), size)
    return [
        Loading(results.DOWNLOAD, entrants(site.plain_port), down),
        Loading(results.UPLOAD, entrants(site.sink_port), up),
    ]


def on_a_wire(site: Site) -> list[Loading]:
    """Transparent capture beside upstream mode and peers, all in the app's namespace, the owner in another."""

    def drive(entry: Entry, seconds: int) -> Load:
        return wrk(f"{entry.base}/small", connections=CONNECTIONS, seconds=seconds, where=site.here)

    peers = [peer(name, "http", site, site.plain_port) for name in ("haproxy", "nginx", "envoy")]
    ours = [transparent_sidecar(site), sidecar(site, site.plain_port, shown="sidecar upstream")]
    return [Loading(results.WIRE, [*ours, *peers], requests(drive))]


def saturation(site: Site) -> Loading:
    """As much as goes through, with a lease of 3 s: is any renewal lost?"""

    def drive(entry: Entry, seconds: int) -> Load:
        return wrk(f"{entry.base}/small", connections=SATURATING_CONNECTIONS, seconds=seconds)

    def measure(entry: Entry, seconds: int) -> dict[str, float]:
        before = _renewals(entry, "failed"), _renewals(entry, "kept")
        values = requests(drive)(entry, seconds)
        failed, kept = _renewals(entry, "failed") - before[0], _renewals(entry, "kept") - before[1]
        return values | {results.LOST: failed, results.KEPT: kept}

    return Loading(results.SATURATION, [sidecar(site, site.plain_port, ttl="3s")], measure)


def _renewals(entry: Entry, result: str) -> float:
    return entry.counted("lease_renewals_total", f'result="{result}"')
