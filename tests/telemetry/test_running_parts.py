"""Both parts as processes, on a real etcd: what they export is what is declared, and it changes when it should."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from leasehold.control_plane.telemetry import declared as control_plane
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.shell.declaring import Declared
from leasehold.sidecar import telemetry as sidecar
from tests.e2e.harness import Process, Program, World, eventually, http_text
from tests.e2e.owner import Owner, rules
from tests.e2e.test_collecting import gone, pair
from tests.telemetry.exported import shown, value

pytestmark = [pytest.mark.etcd, pytest.mark.slow]


@dataclass
class Pair:
    """One control plane, one program with its sidecar, and what both tell."""

    plane: Process
    beside: Process
    program: Program

    async def of_plane(self) -> str:
        return await http_text(f"http://{self.plane.ready['http']}/metrics".replace("http://http://", "http://"))

    async def of_sidecar(self) -> str:
        return await http_text(f"http://{self.beside.ready['admin']}/metrics")

    async def until(self, what: str, look: Callable[[str, str], bool], within: float = 30.0) -> tuple[str, str]:
        """What both tell, as soon as that is so."""
        last = ("", "")

        async def looked() -> bool:
            nonlocal last
            last = (await self.of_plane(), await self.of_sidecar() if self.beside.running else "")
            return look(*last)

        await eventually(what, looked, within)
        return last


async def start(here: World, owner: Owner, text: str) -> Pair:
    plane = await here.control_plane(here.write("rules.yaml", text), more="canary: {interval: 1s}")
    program, beside = await pair(here, owner, text)
    return Pair(plane, beside, program)


def is_as_declared(text: str, declared: tuple[Declared, ...]) -> None:
    told = shown(text)
    wanted = {one.name: one for one in declared}
    assert told.keys() <= wanted.keys()
    missing = wanted.keys() - told.keys()
    assert all(wanted[name].only for name in missing), missing
    for name, one in told.items():
        assert (one.kind, one.about) == (wanted[name].kind.value, wanted[name].about)
        # Every series has all of its labels, or none was there yet.
        assert one.labels in (frozenset(), frozenset(wanted[name].labels)), name
    assert "_created" not in text


async def test_what_both_parts_export_is_declared_and_follows_a_life_from_creation_to_sweep(
    here: World, owner: Owner
) -> None:
    it = await start(here, owner, rules(owner))
    before, beside = await it.until("it is ready", lambda p, s: value(p, "leasehold_armed") == 1)
    blobs = [await it.program.create() for _ in range(3)]
    used = await it.program.call("GET", f"/v1/blobs/{blobs[0]}")
    deleted = await it.program.call("DELETE", f"/v1/blobs/{blobs.pop()}")
    assert (used["status"], deleted["status"]) == (200, 204)

    held, along = await it.until(
        "they are registered",
        lambda p, s: value(p, "leasehold_resources", state="held") == 2 and value(s, "leasehold_sidecar_holds") == 2,
    )
    is_as_declared(held, control_plane.EVERY)
    is_as_declared(along, sidecar.EVERY)

    def grew(name: str, by: float | None = None, **labels: str) -> None:
        growth = value(along, f"leasehold_sidecar_{name}", **labels) - value(
            beside, f"leasehold_sidecar_{name}", **labels
        )
        assert growth > 0 if by is None else growth == by, (name, growth)

    grew("registrations_total", 3, commit="before-response", outcome="registered")
    grew("registrations_total", 1, outcome="already-held")
    grew("registrations_total", 1, outcome="forgotten")
    grew("matched_calls_total", 3, rule="create-blob")
    grew("hold_seconds_count", direction="response")
    grew("connections_opened_total", 1)
    grew("commits_total")
    grew("commit_members_count")
    grew("commit_seconds_count")
    grew("operations_total")
    grew("operation_seconds_count")
    assert value(along, "leasehold_sidecar_connections") == 1
    assert value(along, "leasehold_sidecar_rules") == 4
    assert value(along, "leasehold_sidecar_host_alive") == 1
    assert value(along, "leasehold_sidecar_build_info") == 1
    assert value(along, "leasehold_sidecar_journal_bytes") > 0
    assert 0 < value(along, "leasehold_sidecar_lease_belief_seconds", kind="process") <= 3
    for text in (held, along):
        assert value(text, "process_virtual_memory_bytes") > value(text, "process_resident_memory_bytes") > 1e6
        assert 0 < value(text, "process_open_fds") < value(text, "process_max_fds")
        assert value(text, "process_start_time_seconds") > 1.6e9
        assert value(text, "process_cpu_seconds_total") > 0

    assert value(held, "leasehold_orphaned_resources") == 0
    assert value(held, "leasehold_shards_held") == value(held, "leasehold_shards") == 64
    assert value(held, "leasehold_leader") == value(held, "leasehold_replicas") == 1
    assert value(held, "leasehold_shard_moves_total", how="gained") == 64
    assert value(held, "leasehold_warm_ups_total") >= 2
    assert value(held, "leasehold_watch_lag_seconds") < 10
    assert value(held, "leasehold_scan_age_seconds") < 60
    assert value(held, "leasehold_build_info") == 1
    assert value(held, "leasehold_etcd_members") == 1
    assert value(held, "leasehold_etcd_known_defects", severity="risky") > 0, "the wheel's etcd is an old one"
    assert value(held, "leasehold_etcd_known_defects", severity="deadly") > 0
    assert value(held, "leasehold_etcd_database_bytes") > 0
    assert value(held, "leasehold_window_live_resources") >= 0

    await it.program.kill()
    in_grace, _ = await it.until(
        "it is on the way out", lambda p, s: value(p, "leasehold_cleanup_resources", stage="in-grace") == 2
    )
    assert value(in_grace, "leasehold_orphaned_resources", owner="blob-store", type="blob") == 2
    for blob in blobs:
        await gone(owner, blob)
    after, last = await it.until(
        "it is over",
        lambda p, s: (
            value(p, "leasehold_swept_total", owner="blob-store", outcome="gone") == 2
            and value(p, "leasehold_canaries_total", outcome="passed") > 0
        ),
    )
    for name in ("condemned_total", "prepared_total"):
        assert value(after, f"leasehold_{name}") - value(before, f"leasehold_{name}") == 2
    assert value(after, "leasehold_owner_calls_total", owner="blob-store") == 2
    assert value(after, "leasehold_owner_call_seconds_count", owner="blob-store") == 2
    assert value(after, "leasehold_owner_stopped", owner="blob-store", state="calling") == 0
    assert value(after, "leasehold_event_loop_lag_seconds_count") > value(
        before, "leasehold_event_loop_lag_seconds_count"
    )
    assert value(after, "leasehold_resources") == value(after, "leasehold_orphaned_resources") == 0
    for text in (held, along, in_grace, after, last):
        assert not any(blob in text for blob in blobs)


async def test_an_outage_of_etcd_shows_in_the_metrics_of_both_and_so_does_its_end(
    here: World, owner: Owner, etcd: EtcdProcess
) -> None:
    text = rules(owner, extra_create="hold_deadline: 200ms", grace="30s")
    it = await start(here, owner, text)
    await it.program.create()
    await it.until("it is registered", lambda p, s: value(p, "leasehold_resources", state="held") == 1)
    etcd.signal(signal.SIGSTOP)
    try:
        await it.program.create()
        during, beside = await it.until(
            "both tell of it",
            lambda p, s: (
                value(p, "leasehold_watch_lag_seconds") > 4
                and value(s, "leasehold_sidecar_lease_belief_seconds") <= 0
                and value(s, "leasehold_sidecar_journal_oldest_age_seconds") > 1
                and value(s, "leasehold_sidecar_lease_renewals_total", result="failed") > 0
                and value(s, "leasehold_sidecar_commit_failures_total") > 0
            ),
        )
    finally:
        etcd.signal(signal.SIGCONT)
    assert value(beside, "leasehold_sidecar_journal_pending") == 1
    assert value(beside, "leasehold_sidecar_degraded") == 1
    assert value(beside, "leasehold_sidecar_hold_deadlines_passed_total", rule="create-blob") == 1
    assert value(beside, "leasehold_sidecar_journal_full") == 0
    gaps = value(during, "leasehold_warm_ups_total", reason="gap")
    after, along = await it.until(
        "it has mended itself",
        lambda p, s: (
            value(p, "leasehold_warm_ups_total", reason="gap") > gaps
            and value(p, "leasehold_watch_lag_seconds") < 3
            and value(p, "leasehold_resources", state="held") == 2
            and value(s, "leasehold_sidecar_journal_pending") == 0
            and value(s, "leasehold_sidecar_degraded") == 0
            and value(s, "leasehold_sidecar_lease_belief_seconds") > 0
        ),
    )
    assert value(along, "leasehold_sidecar_registrations_total", outcome="registered") == 2
    assert value(after, "leasehold_late_returns_total") == value(along, "leasehold_sidecar_late_returns_total") == 0
    assert value(along, "leasehold_sidecar_unprotected_creations_total") == 0


async def test_what_cannot_be_read_along_is_counted_with_its_reason(here: World, owner: Owner) -> None:
    it = await start(here, owner, rules(owner))
    host, port = it.beside.ready["capture"][0]["listen"].rsplit(":", 1)
    for said in (b"GET / HTTP/1.1\r\nno header at all\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(said)
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
    _, along = await it.until(
        "both are counted",
        lambda p, s: (
            value(s, "leasehold_sidecar_uninspected_connections_total") >= 1
            and value(s, "leasehold_sidecar_observer_gave_up_total") >= 1
        ),
    )
    assert value(along, "leasehold_sidecar_uninspected_connections_total", reason="tls") == 1
    assert value(along, "leasehold_sidecar_connections_closed_total") >= 1
    assert value(along, "leasehold_sidecar_observer_gave_up_total", reason="bad-request") == 1
