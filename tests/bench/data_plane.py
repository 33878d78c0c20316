"""The relay beside what people use today, in one run on one machine: requests/s, CPU per request, latency, memory.

``make bench-data-plane`` installs the peers and runs this; with ``BENCH_ARGS=--quick`` it is a smoke test of two
minutes. How it measures and how to read it: tests/bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from leasehold.protocol.etcd.binary import find_etcd
from tests.bench.peers import loads, results, site
from tests.bench.peers.rounds import Findings, Loading, Plan
from tests.bench.peers.run import LOAD_CORES, PROXY_CORE, DidNotStart, version

FULL = Plan(seconds=2, rounds=3, large_bytes=1 << 30, saturation_seconds=60, budget_seconds=480)
QUICK = Plan(seconds=1, rounds=1, large_bytes=1 << 28, saturation_seconds=5, budget_seconds=90)
ONE_DAY = 86_400
UNABLE = "nginx and mitmproxy speak no h2c to a backend, the aiohttp proxy speaks none at all: not in the HTTP/2 loads"
VERSIONS = {
    "haproxy": ("haproxy", "-v"),
    "nginx": ("nginx", "-v"),
    "envoy": ("envoy", "--version"),
    "caddy": ("caddy", "version"),
    "traefik": ("traefik", "version"),
    "mitmproxy": ("mitmdump", "--version"),
    "aiohttp": (sys.executable, "-c", "import aiohttp; print(aiohttp.__version__)"),
    "sidecar": ("leasehold-sidecar", "--version"),
    "wrk": ("wrk", "-v"),
    "h2load": ("h2load", "--version"),
    "curl": ("curl", "--version"),
}


def run(plan: Plan, folder: Path, found: Findings) -> None:
    with site.on_loopback(folder / "loopback") as here:
        for load in loads.on_loopback(here, plan):
            _load(load, plan, found)
        if any(plan.entrants(load) for load in loads.on_a_wire(here)):
            _over_a_wire(plan, folder / "wire", found)
        _load(loads.saturation(here), replace(plan, seconds=plan.saturation_seconds, rounds=1), found)


def _over_a_wire(plan: Plan, folder: Path, found: Findings) -> None:
    with ExitStack() as stack:
        try:
            wire = stack.enter_context(site.on_a_wire(folder))
        except pytest.skip.Exception as reason:
            found.leave_out(results.WIRE, f"skipped: {reason}")
            return
        for load in loads.on_a_wire(wire):
            _load(load, plan, found)


def _load(load: Loading, plan: Plan, found: Findings) -> None:
    if not plan.entrants(load):
        return
    load.run(plan, found)
    if any(sample.load == load.name for sample in found.samples):
        print(f"\n{results.table(found.samples, load.name)}\n", flush=True)


def versions() -> dict[str, str]:
    return {name: version(*command) for name, command in VERSIONS.items()} | {"etcd": find_etcd().version}


def report(plan: Plan, found: Findings, told: dict[str, str]) -> None:
    print(results.verdict_table(results.verdicts(found.samples)))
    print(f"\n{plan.rounds} interleaved rounds of {plan.seconds} s each: median (least-most)")
    print(f"{loads.CONNECTIONS} connections; proxy on core {PROXY_CORE}, load, backend and etcd on {LOAD_CORES}")
    print(f"Linux {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("; ".join(f"{name} {number}" for name, number in told.items()))
    print(UNABLE)
    for name, why in found.absent.items():
        print(f"NOT IN IT: {name}: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test of two minutes: its figures say little")
    parser.add_argument("--seconds", type=int, help=f"of load per measurement ({FULL.seconds})")
    parser.add_argument("--rounds", type=int, help=f"of interleaved repetitions ({FULL.rounds})")
    parser.add_argument("--large-mib", type=int, help=f"of one large body ({FULL.large_bytes >> 20})")
    parser.add_argument(
        "--only", default="", help="loads or entrants, separated by commas: sidecar,envoy or 'HTTP/1.1'"
    )
    parser.add_argument("--json", default="", metavar="FILE", help="also write all figures here")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    plan = replace(
        plan,
        seconds=arguments.seconds or plan.seconds,
        rounds=arguments.rounds or plan.rounds,
        large_bytes=arguments.large_mib << 20 if arguments.large_mib else plan.large_bytes,
        # Who chooses how long has chosen how long.
        budget_seconds=ONE_DAY if arguments.seconds or arguments.rounds else plan.budget_seconds,
        only=frozenset(filter(None, arguments.only.split(","))),
    )
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as name:
        Path(name).chmod(0o755)
        try:
            run(plan, Path(name), found)
        except DidNotStart as error:
            sys.exit(f"the backend or etcd did not start: {error}")
    told = versions()
    report(plan, found, told)
    if arguments.json:
        figures = results.as_json(found.samples, results.verdicts(found.samples))
        Path(arguments.json).write_text(json.dumps({**figures, "versions": told, "absent": found.absent}, indent=2))


if __name__ == "__main__":
    main()
