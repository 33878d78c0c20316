"""What every line of the log says, however little it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from leasehold.shell.logs import _utc

SAYING = """
import structlog
from leasehold.shell.logs import configure_logs, say_always
say_always(tenant="shop")
configure_logs("info")
log = structlog.get_logger()
structlog.contextvars.bind_contextvars(replica="r")
log.debug("unheard")
log.info("called", correlation_id="c", latency_ms=1.5, names=("a", "b"), attempt=1)
log.warn("odd")
try:
    raise KeyError("boom")
except KeyError:
    log.exception("broken")
"""


def test_a_line_says_whose_it_is_how_grave_and_when() -> None:
    began = datetime.now(UTC)
    said = subprocess.run([sys.executable, "-c", SAYING], capture_output=True, text=True, timeout=60, check=True).stderr
    called, odd, broken = map(json.loads, said.splitlines())
    assert {line["tenantId"] for line in (called, odd, broken)} == {"shop"}
    assert {line["replica"] for line in (called, odd, broken)} == {"r"}
    assert [line["level"] for line in (called, odd, broken)] == ["info", "warning", "error"]
    assert (called["correlationId"], called["latencyMs"], called["names"], called["attempt"]) == (
        "c",
        1.5,
        ["a", "b"],
        1,
    )
    assert not {"tenant", "correlation_id", "latency_ms"} & called.keys()
    assert "KeyError" in broken["exception"]
    assert began <= datetime.fromisoformat(called["timestamp"]) <= datetime.now(UTC)


@pytest.mark.parametrize("microseconds", [0, 1, 999_999, 1_000_000, 1_790_000_000_000_001, 4_102_444_799_999_999])
def test_a_moment_is_written_as_iso_8601_in_utc(microseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    assert _utc(microseconds) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
