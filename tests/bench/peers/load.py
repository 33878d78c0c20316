"""Load tools and what they printed: wrk for HTTP/1.1, h2load for HTTP/2, curl for one large body.

Each run is bounded in time by its arguments, and killed if it overstays. The readers are pure: text in, ``Load`` out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.run import LOAD_CORES

OVERSTAY_SECONDS = 30
TRANSFER_SECONDS = 60
LASTING = 0.7
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


class LoadFailed(Exception):
    """The load tool failed, or said what nobody expected. ``str()`` carries it."""


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


def wrk(url: str, *, connections: int, seconds: int, script: Path | None = None, where: Sequence[str] = ()) -> Load:
    """``where`` runs it elsewhere: what stands before a command in a network namespace. Raises ``LoadFailed``."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    return parse_wrk(_run([*where, "wrk", *options, *(("-s", str(script)) if script else ()), url], seconds))


def parse_wrk(text: str) -> Load:
    found = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise LoadFailed(f"wrk said: {text}")
    bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    bad += sum(int(n) for line in re.findall(r"Socket errors: (.*)", text) for n in re.findall(r"\d+", line))
    took = float(found[2]) * _UNITS[found[3]] / 1e3
    return Load(int(found[1]), took, _latency(text, "50%"), _latency(text, "99%"), bad)


def _latency(text: str, name: str) -> float:
    found = re.search(rf"\s{name}\s+([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise LoadFailed(f"wrk told no {name}: {text}")
    return float(found[1]) * _UNITS[found[2]]


def h2load(
    url: str, *, connections: int, streams: int, seconds: int, log: Path, body: Path | None = None
) -> Load:  # fmt: skip
    """HTTP/2 with prior knowledge; a POST where there is a ``body``. ``log`` is where each latency is written."""
    log.unlink(missing_ok=True)
    options = ["-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"--log-file={log}"]
    post = ("-d", str(body), "-H", "content-type: application/json") if body else ()
    text = _run(["h2load", *options, *post, url], seconds)
    return parse_h2load(text, log.read_text() if log.exists() else "", seconds)


def parse_h2load(text: str, log: str, seconds: float) -> Load:
    """It prints no percentiles: those come from its log, whose lines are begin (us), status, duration (us).

    It does not connect again when it is sent away, and says nothing of it: seen here by its last request's begin.
    """
    done = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed", text)
    if done is None:
        raise LoadFailed(f"h2load said: {text}")
    rows = [line.split("\t") for line in log.splitlines() if line.count("\t") >= 2]
    begun, took = sorted(int(row[0]) / 1e6 for row in rows), sorted(int(row[2]) / 1e3 for row in rows)
    if begun and begun[-1] - begun[0] < seconds * LASTING:
        raise LoadFailed(f"h2load began its last request after {begun[-1] - begun[0]:.1f} s of {seconds}")
    return Load(int(done[1]), seconds, percentile(took, 0.50), percentile(took, 0.99), int(done[2]))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed; NaN of nothing."""
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)] if ordered else float("nan")


def download(url: str, size: int) -> float:
    """Seconds of one large body. Raises ``LoadFailed`` when less came."""
    return parse_transfer(_curl("%{size_download} %{time_total} %{http_code}", "-o", "/dev/null", url), size)


def upload(url: str, file: Path, size: int) -> float:
    """Seconds until the owner, who counts, has answered that it has it all. Raises ``LoadFailed``."""
    said = _curl("%{size_upload} %{time_total} %{http_code}", "-H", "Expect:", "-T", str(file), url)
    got, _, told = said.partition("\n")
    if got != str(size):
        raise LoadFailed(f"the owner got {got} bytes of {size}")
    return parse_transfer(told, size)


def parse_transfer(text: str, size: int) -> float:
    fields = text.split()
    if len(fields) != 3 or int(fields[0]) != size or fields[2] != "200":
        raise LoadFailed(f"expected {size} bytes and 200, curl told: {text}")
    return float(fields[1])


def _curl(told: str, *arguments: str) -> str:
    return _run(["curl", "-s", "--max-time", str(TRANSFER_SECONDS), "-w", told, *arguments], TRANSFER_SECONDS)


def _run(command: Sequence[str], seconds: float) -> str:
    command = ["taskset", "-c", LOAD_CORES, *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + OVERSTAY_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{' '.join(command)}: no end after {error.timeout:.0f} s") from error
    if done.returncode:
        raise LoadFailed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-500:]}{done.stdout[-500:]}")
    return done.stdout
