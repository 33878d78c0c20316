"""``leasehold run`` with a real sidecar, a real etcd and a program that knows of neither."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestServer

from leasehold.cli.demo.depot import Depot, Face
from leasehold.operating.states import HolderStatus, holder_status, resource_views
from leasehold.operating.survey import Survey, take
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Tenant

pytestmark = pytest.mark.etcd

PROGRAM = """\
import json, os, sys, urllib.request
url = sys.argv[1]
with urllib.request.urlopen(urllib.request.Request(url + "/v1/crates", b'{"content": 1}')) as answer:
    print(json.load(answer)["id"], os.getpid(), flush=True)
"""
WAITING = f"""\
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
{PROGRAM}
sys.stdin.readline()
sys.exit(5)
"""
FOREVER = f"{PROGRAM}\nimport time\ntime.sleep(60)\n"


class Place:
    """An etcd, an owner and the files for one tenant."""

    def __init__(self, folder: Path, etcd: EtcdClient, depot: Depot, url: str) -> None:
        self.folder, self.etcd, self.depot, self.url = folder, etcd, depot, url
        self.tenant = f"run-{uuid4().hex[:8]}"
        address = url.removeprefix("http://")
        (folder / "rules.yaml").write_text(
            f"""\
owners:
  - name: depot
    hosts: ["{address}"]
    endpoint: {url}
    delete: {{path: "/v1/crates/{{id}}", precondition: if-match}}
    read: {{path: "/v1/crates/{{id}}", incarnation: {{json: uid}}}}
rules:
  - name: make-crate
    owner: depot
    type: crate
    on: create
    match: {{method: POST, path: /v1/crates, status: [201]}}
    id: {{json: id}}
    incarnation: {{json: uid}}
    held_by: process
    mode: sweep
"""
        )
        self.config = folder / "sidecar.yaml"
        self.config.write_text(
            f"""\
tenant: {self.tenant}
service: job
instance: one
etcd: {{endpoints: ["{etcd.config.endpoints[0]}"]}}
lease: {{ttl: 5s}}
host: {{pid: 1}}
rules: {{file: {folder}/rules.yaml}}
journal: {folder}/journal
admin: {{listen: "127.0.0.1:0"}}
"""
        )

    async def run(self, *program: str, config: Path | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "leasehold.cli", "run", "--config", str(config or self.config), "--", *program,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "NO_PROXY": "127.0.0.1", "TMPDIR": str(self.folder)}, start_new_session=True,
        )  # fmt: skip

    async def program(self, text: str) -> asyncio.subprocess.Process:
        return await self.run(sys.executable, "-c", text, self.url)

    async def picture(self) -> Survey:
        return await take(self.etcd, Keyspace(Tenant(self.tenant)), deadline=5)

    def sidecar_pids(self) -> list[int]:
        """Those that read a configuration below our folder."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if b"leasehold.sidecar" in line and str(self.folder).encode() in line:
                    found.append(int(entry.name))
        return found


@pytest.fixture
async def place(tmp_path: Path, real_etcd: EtcdProcess | None) -> AsyncIterator[Place]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    depot = Depot()
    server = TestServer(Face(depot).application())
    async with server, EtcdClient(EtcdConfig(endpoints=[real_etcd.endpoint])) as etcd:
        yield Place(tmp_path, etcd, depot, f"http://127.0.0.1:{server.port}")


async def said(process: asyncio.subprocess.Process) -> tuple[str, int]:
    """The crate the program made, and the pid it had."""
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(30):
        line = (await process.stdout.readline()).decode().split()
        assert line, (await process.stderr.read()).decode()
    return line[0], int(line[1])


async def ended(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    return err.decode()


async def test_what_a_program_creates_is_registered_and_its_end_is_reported(place: Place) -> None:
    process = await place.program(PROGRAM)
    crate, _ = await said(process)
    told = await ended(process)
    assert process.returncode == 0, told
    picture = await place.picture()
    [view] = resource_views(picture)
    assert view.id == crate
    [holder] = picture.roster
    assert holder_status(picture, holder) is HolderStatus.ENDED
    assert place.sidecar_pids() == []
    assert not list(place.folder.glob("leasehold-run-*"))


async def test_the_exit_code_and_stdin_are_the_programs(place: Place) -> None:
    process = await place.program(WAITING)
    await said(process)
    [view] = resource_views(await place.picture())
    assert view.state == "held"
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await ended(process)
    assert process.returncode == 5


async def test_signals_are_passed_on_to_the_program(place: Place) -> None:
    process = await place.program(WAITING)
    await said(process)
    process.send_signal(signal.SIGTERM)
    await ended(process)
    assert process.returncode == 7


async def test_a_program_ended_by_a_signal_is_told_as_shells_do(place: Place) -> None:
    process = await place.program(FOREVER)
    _, pid = await said(process)
    os.kill(pid, signal.SIGKILL)
    await ended(process)
    assert process.returncode == 128 + signal.SIGKILL


async def test_the_program_goes_on_when_its_sidecar_dies(place: Place) -> None:
    process = await place.program(WAITING)
    await said(process)
    [sidecar] = place.sidecar_pids()
    os.kill(sidecar, signal.SIGKILL)
    assert process.stderr is not None
    async with asyncio.timeout(10):
        while b"the sidecar ended" not in (line := await process.stderr.readline()):
            assert line, "its standard error ended without a word about it"
    assert process.returncode is None
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await ended(process)
    assert process.returncode == 5


async def test_a_bad_configuration_starts_no_program(place: Place) -> None:
    bad = place.folder / "bad.yaml"
    bad.write_text(json.dumps({"service": "job", "lease": {"ttl": "soon"}}))
    marker = place.folder / "ran"
    process = await place.run("touch", str(marker), config=bad)
    told = await ended(process)
    assert process.returncode == 78, told
    assert "lease.ttl" in told
    assert not marker.exists()


async def test_a_program_that_is_not_there_is_127(place: Place) -> None:
    process = await place.run("/no/such/program")
    assert "No such file" in await ended(process)
    assert process.returncode == 127
