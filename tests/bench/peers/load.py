"""Load tools and what they printed: wrk for HTTP/1.1, h2load for HTTP/2, curl for one large body."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.run import LOAD_CORE

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    """What one run did: requests, seconds, latencies in milliseconds, and how many answers were no success."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    bad: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def wrk(url: str, *, connections: int, seconds: int, script: Path | None = None) -> Load:
    """Bounded by ``seconds``."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    text = _run([*command, *(("-s", str(script)) if script else ()), url], seconds + 30)
    found = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise RuntimeError(f"wrk said: {text}")
    bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    bad += sum(int(n) for line in re.findall(r"Socket errors: (.*)", text) for n in re.findall(r"\d+", line))
    took = float(found[2]) * _UNITS[found[3]] / 1e3
    return Load(int(found[1]), took, _latency(text, "50%"), _latency(text, "99%"), bad)


def h2load(url: str, *, connections: int, streams: int, seconds: int) -> Load:
    """Bounded by ``seconds``; HTTP/2 with prior knowledge."""
    command = ["taskset", "-c", LOAD_CORE, "h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", url]
    text = _run(command, seconds + 30)
    done = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded", text)
    if done is None:
        raise RuntimeError(f"h2load said: {text}")
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", text)
    middle = float(mean[1]) * _UNITS[mean[2]] if mean else 0.0
    return Load(int(done[2]), float(seconds), middle, 0.0, int(done[1]) - int(done[2]))


def download(url: str, size: int) -> float:
    """Bytes per second of one large body."""
    command = ["taskset", "-c", LOAD_CORE, "curl", "-s", "-o", "/dev/null", "-w", "%{size_download} %{time_total}"]
    got, took = _run([*command, "--max-time", "60", url], 90).split()
    if int(got) != size:
        raise RuntimeError(f"{url}: {got} bytes of {size}")
    return size / float(took)


def _latency(text: str, name: str) -> float:
    found = re.search(rf"\s{name}\s+([\d.]+)(us|ms|s|m)", text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _run(command: list[str], seconds: float) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True).stdout
