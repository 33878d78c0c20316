"""The sidecar as a process: what it prints, serves and leaves behind, with a fake etcd in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Tenant
from tests.fakes.etcd import FakeEtcd
from tests.integration.sidecar_world import eventually

KEYS = Keyspace(Tenant("default"))


@dataclass
class Scene:
    """An etcd, an owner, a host process, and sidecars as processes."""

    folder: Path
    fake: FakeEtcd
    owner: int
    host: asyncio.subprocess.Process
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Unset, the owner takes its time."""
    speaks_for: str = ""

    def write(self) -> Path:
        (self.folder / "rules.yaml").write_text(f"""
owners: [{{name: store, hosts: ["127.0.0.1:{self.owner}"], endpoint: "http://127.0.0.1:{self.owner}"}}]
rules:
  - {{name: make, owner: store, type: blob, on: create, held_by: process, id: {{json: id}},
     match: {{method: POST, path: /v1/blobs, status: [201]}}, hold_deadline: 200ms}}
""")
        config = self.folder / "sidecar.yaml"
        config.write_text(f"""
service: maker
instance: one
etcd: {{endpoints: ["{self.fake.endpoint}"], deadline: 500ms}}
host: {self.speaks_for or f"{{pid: {self.host.pid}}}"}
capture: [{{mode: upstream, listen: "127.0.0.1:0", to: "127.0.0.1:{self.owner}"}}]
rules: {{file: rules.yaml}}
journal: journal
admin: {{listen: "127.0.0.1:0", health_port: 0}}
""")
        return config

    async def spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "leasehold.sidecar", "--config", str(self.write()),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        return process

    async def sidecar(self) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
        process = await self.spawn()
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
        assert line, (await process.communicate())[1].decode()
        return process, json.loads(line)

    async def keys(self, family: Family) -> set[tuple[str, ...]]:
        async with EtcdClient(self.fake.config) as client:
            found = await client.read(KEYS.family(family), deadline=5)
        return {key.parts for item in found.items if (key := KEYS.parse(item.key))}

    async def recorded(self) -> set[str]:
        return {parts[2] for parts in await self.keys(Family.RESOURCES)}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    numbers = itertools.count(1)

    async def make_one(_: web.Request) -> web.Response:
        it.asked.set()
        await it.answers.wait()
        return web.json_response({"id": f"blob-{next(numbers)}"}, status=201)

    app = web.Application()
    app.router.add_post("/v1/blobs", make_one)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    async with FakeEtcd() as fake:
        it = Scene(tmp_path, fake, runner.addresses[0][1], host)
        it.answers.set()
        yield it
        for process in [*it.processes, host]:
            if process.returncode is None:
                process.kill()
            await process.communicate()
    await runner.cleanup()


async def make(ready: dict[str, Any]) -> None:
    url = f"http://{ready['capture'][0]['listen']}/v1/blobs"
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        assert answer.status == 201


async def look(ready: dict[str, Any], path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"http://{ready['admin']}{path}") as answer:
        return await (answer.json() if "json" in answer.content_type else answer.text())


async def test_it_says_where_it_serves_and_shows_what_it_holds(scene: Scene) -> None:
    process, ready = await scene.sidecar()
    assert ready["event"] == "ready"
    assert ready["pid"] == process.pid
    assert ready["holder"].startswith(f"maker@one~{scene.host.pid}.")
    assert ready["capture"][0]["to"] == f"127.0.0.1:{scene.owner}"
    await make(ready)
    assert await scene.recorded() == {"blob-1"}
    shown = await look(ready, "/v1/holds")
    assert [one["resource"] for one in shown["holds"]] == ["store/blob/blob-1"]
    assert shown["pending"] == 0
    status = await look(ready, "/v1/status")
    assert status["host"] == "alive"
    assert status["holders"][0]["phase"] == "attached"
    assert status["holders"][0]["belief_seconds"] > 5
    assert (await look(ready, "/readyz"))["status"] == "ready"
    metrics = await look(ready, "/metrics")
    assert 'leasehold_sidecar_registrations_total{commit="before-response",outcome="registered"} 1.0' in metrics
    assert "blob-1" not in metrics


async def test_killed_outright_with_an_outage_behind_it_its_successor_registers_all(scene: Scene) -> None:
    process, ready = await scene.sidecar()
    await make(ready)
    scene.fake.stall()
    for _ in range(3):
        await make(ready)
    shown = await look(ready, "/v1/holds")
    assert shown["pending"] == 3
    assert (await look(ready, "/readyz"))["status"] == "degraded"
    process.kill()
    await process.wait()
    scene.fake.resume()
    scene.fake.disconnect()
    _, again = await scene.sidecar()
    assert again["holder"] == ready["holder"]

    async def all_recorded() -> bool:
        return await scene.recorded() == {f"blob-{n}" for n in range(1, 5)}

    await eventually("all are recorded", all_recorded)
    assert {parts[3] for parts in await scene.keys(Family.HOLDS)} == {ready["holder"]}


async def test_a_dead_host_is_retired_within_a_second_while_traffic_flows_on(scene: Scene) -> None:
    _, ready = await scene.sidecar()
    await make(ready)
    scene.host.kill()
    await scene.host.wait()

    async def retired() -> bool:
        return not await scene.keys(Family.BEACONS)

    await eventually("retired", retired, within=1.0)
    await make(ready)
    assert await scene.recorded() == {"blob-1"}, "nobody is left to hold for"
    assert (await look(ready, "/v1/status"))["host"] == "ended"


CALLER = "import sys, urllib.request; urllib.request.urlopen(sys.stdin.readline().strip(), data=b'x')"


async def test_what_the_owner_was_creating_when_its_caller_was_killed_is_recorded_and_held_by_the_dead(
    scene: Scene,
) -> None:
    scene.processes.append(scene.host)
    scene.host = await asyncio.create_subprocess_exec(sys.executable, "-c", CALLER, stdin=asyncio.subprocess.PIPE)
    _, ready = await scene.sidecar()
    scene.answers.clear()
    assert scene.host.stdin is not None
    scene.host.stdin.write(f"http://{ready['capture'][0]['listen']}/v1/blobs\n".encode())
    await scene.asked.wait()
    scene.host.kill()

    async def retired() -> bool:
        return not await scene.keys(Family.BEACONS)

    await eventually("retired", retired, within=1.0)
    scene.answers.set()

    async def recorded() -> bool:
        return await scene.recorded() == {"blob-1"}

    await eventually("recorded", recorded)
    assert {parts[3] for parts in await scene.keys(Family.HOLDS)} == {ready["holder"]}
    await eventually("retired again", retired)


@pytest.mark.parametrize("trouble", ["none", "stalled", "host-dead"])
async def test_it_stops_within_five_seconds_of_sigterm(scene: Scene, trouble: str) -> None:
    process, ready = await scene.sidecar()
    await make(ready)
    if trouble == "stalled":
        scene.fake.stall()
        await make(ready)
    if trouble == "host-dead":
        scene.host.kill()
        await scene.host.wait()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        assert await process.wait() == 0
    if trouble == "none":
        assert await scene.keys(Family.BEACONS) == {(ready["holder"],)}, "the beacon stays for a successor"
    if trouble == "host-dead":
        assert await scene.keys(Family.BEACONS) == set()


async def test_a_second_sidecar_on_the_same_journal_is_refused(scene: Scene) -> None:
    await scene.sidecar()
    second = await scene.spawn()
    _, said = await second.communicate()
    assert second.returncode == 1
    assert b"another sidecar is using this journal" in said
    assert b"Traceback" not in said


async def test_a_port_in_use_is_told_without_a_traceback(scene: Scene) -> None:
    with contextlib.closing(await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)) as server:
        port = server.sockets[0].getsockname()[1]
        config = scene.write()
        config.write_text(config.read_text().replace('listen: "127.0.0.1:0", to', f'listen: "127.0.0.1:{port}", to'))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "leasehold.sidecar", "--config", str(config), stderr=asyncio.subprocess.PIPE
        )
        scene.processes.append(process)
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in said
    assert b"address already in use" in said


async def test_health_is_told_on_every_address_and_names_nothing(scene: Scene) -> None:
    _, ready = await scene.sidecar()
    await make(ready)
    outside = {"admin": f"127.0.0.1:{ready['health_port']}"}
    assert (await look(outside, "/livez"))["status"] == "alive"
    assert "blob-1" not in await look(outside, "/metrics")
    async with aiohttp.ClientSession() as client:
        answer = await client.get(f"http://{outside['admin']}/v1/holds")
        assert answer.status == 404


async def test_told_to_stop_beside_a_host_that_ends_first_its_end_is_told(scene: Scene) -> None:
    scene.speaks_for = '{tcp: {address: "127.0.0.1:1"}, ends_first: true}'  # where nobody listens
    process, ready = await scene.sidecar()
    await make(ready)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert await scene.keys(Family.BEACONS) == set()
    async with EtcdClient(scene.fake.config) as client:
        [item] = (await client.read(KEYS.family(Family.ROSTER), deadline=5)).items
    assert json.loads(item.value)["ended"] == "exited"


async def test_a_neighbour_that_still_listens_keeps_its_beacon_when_we_are_told_to_stop(scene: Scene) -> None:
    scene.speaks_for = f'{{tcp: {{address: "127.0.0.1:{scene.owner}"}}, ends_first: true}}'
    process, ready = await scene.sidecar()
    await make(ready)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert await scene.keys(Family.BEACONS) == {(ready["holder"],)}


async def test_an_address_that_this_machine_does_not_have_is_left_out_where_that_is_meant(scene: Scene) -> None:
    for word, ends in ((", if_present: true", False), ("", True)):
        config = scene.write()
        elsewhere = f'{{mode: forward-proxy, listen: "192.0.2.1:0"{word}}}, {{mode: upstream'
        config.write_text(config.read_text().replace("{mode: upstream", elsewhere))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "leasehold.sidecar", "--config", str(config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        scene.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
        assert (line == b"") == ends
        if line:
            assert [way["mode"] for way in json.loads(line)["capture"]] == ["upstream"]
            process.terminate()
        assert await process.wait() == int(ends)
