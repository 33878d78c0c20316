"""Transparent capture in network namespaces: real clients, a real kernel, the real commands."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import Tenant
from tests.fakes.etcd import FakeEtcd
from tests.integration.namespaces import OWNER4, OWNER6, Namespace, wired

KEYS = Keyspace(Tenant("default"))
SIDECAR, APP = 1337, 1338
RESET = {7, 56}
"""What curl says of a reset: before it noticed that it was connected, or after."""
OWNED, OTHER, SECURE, ETCD, LISTEN = 8000, 8001, 8443, 2379, 15001
HTTP_CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
for _ in range(2):
    connection.request("POST", "/v1/blobs", b"x")
    answer = connection.getresponse()
    print(answer.status, answer.read().decode())
"""


@dataclass
class Scene:
    """An app's namespace with a sidecar in it, and an owner's with two services and etcd."""

    app: Namespace
    owner: Namespace
    fake: FakeEtcd
    folder: Path
    runner: web.AppRunner
    clients: list[str] = field(default_factory=list)
    """Who connected to the services, each call by its connection."""
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def rules(self) -> str:
        return str(self.folder / "rules.yaml")

    def write(self, host: int, **way: object) -> Path:
        (self.folder / "rules.yaml").write_text(f"""
owners: [{{name: store, hosts: ["{OWNER4}:{OWNED}", "[{OWNER6}]:{OWNED}"], endpoint: "http://{OWNER4}:{OWNED}"}}]
rules:
  - {{name: make, owner: store, type: blob, on: create, held_by: process, id: {{json: id}},
     match: {{method: POST, path: /v1/blobs, status: [201]}}}}
""")
        ways = [{"mode": "transparent", "listen": f"{at}:{LISTEN}", **way} for at in ("127.0.0.1", "[::1]")]
        config = self.folder / "sidecar.yaml"
        config.write_text(f"""
service: maker
instance: one
etcd: {{endpoints: ["{self.fake.endpoint}"]}}
host: {{pid: {host}}}
capture: {json.dumps(ways)}
rules: {{file: rules.yaml}}
journal: journal
admin: {{listen: "127.0.0.1:15020"}}
""")
        return config

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        self.processes.append(process)
        return process

    async def sidecar(self, user: int | None = SIDECAR, **way: object) -> None:
        host = await self.start(*self.app.command("sleep", "600", user=APP))
        config = str(self.write(host.pid, **way))
        command = self.app.command(sys.executable, "-m", "leasehold.sidecar", "--config", config, user=user)
        process = await self.start(*command)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert json.loads(await process.stdout.readline())["event"] == "ready"

    async def inside(self, *command: str, user: int | None = None) -> tuple[int, str]:
        """Run it beside the app; exit code and everything it said."""
        done = await asyncio.to_thread(self.app.run, *command, user=user)
        return done.returncode, done.stdout + done.stderr

    async def capture(self, *arguments: str, user: int | None = None) -> tuple[int, str]:
        etcd = ("--etcd", self.fake.endpoint)
        return await self.inside(sys.executable, "-m", "leasehold.cli", *etcd, "capture", *arguments, user=user)

    async def install(self, *more: str) -> str:
        status, said = await self.capture("install", "--rules", self.rules, *(more or ("--uid", str(SIDECAR))))
        assert status == 0, said
        return said

    async def post(self, url: str, user: int | None = APP) -> tuple[int, str]:
        return await self.inside("curl", "-sS", "--max-time", "20", "-X", "POST", url, user=user)

    async def metric(self, name: str) -> float:
        _, said = await self.inside("curl", "-sS", "http://127.0.0.1:15020/metrics")
        lines = [line.rpartition(" ") for line in said.splitlines()]
        return sum(float(value) for metric, _, value in lines if metric == f"leasehold_sidecar_{name}")

    async def ruleset(self) -> str:
        return (await self.inside("nft", "list", "ruleset"))[1].strip()

    def recorded(self) -> set[str]:
        """Asked of the store itself: no client gets from here to where it listens."""
        where = KEYS.family(Family.RESOURCES)
        found = self.fake.store.range(rpc.RangeRequest(key=where.start, range_end=where.end))
        return {key.parts[2] for kv in found.kvs if (key := KEYS.parse(kv.key))}


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="leasehold-transparent-"))  # pytest's own is closed to other users
    folder.chmod(0o777)
    try:
        with wired() as (app, owner):
            async with FakeEtcd(owner.socket(OWNER4, ETCD)) as fake:
                numbers = itertools.count(1)
                clients: list[str] = []

                async def make(request: web.Request) -> web.Response:
                    assert request.transport is not None
                    clients.append(str(request.transport.get_extra_info("peername")[:2]))
                    return web.json_response({"id": f"blob-{next(numbers)}"}, status=201)

                application = web.Application()
                application.router.add_post("/v1/blobs", make)
                runner = web.AppRunner(application, access_log=None)
                await runner.setup()
                it = Scene(app, owner, fake, folder, runner, clients)
                for address, port in ((OWNER4, OWNED), (OWNER6, OWNED), (OWNER4, OTHER)):
                    await web.SockSite(runner, owner.socket(address, port)).start()
                try:
                    yield it
                finally:
                    for process in it.processes:
                        if process.returncode is None:
                            process.kill()
                        await process.communicate()
                    await runner.cleanup()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("address", [OWNER4, f"[{OWNER6}]"])
async def test_calls_of_unmodified_clients_are_captured_and_registered(scene: Scene, address: str) -> None:
    await scene.sidecar()
    assert "verified" in await scene.install()
    assert await scene.post(f"http://{address}:{OWNED}/v1/blobs") == (0, '{"id": "blob-1"}')
    assert scene.recorded() == {"blob-1"}
    status, said = await scene.inside(sys.executable, "-c", HTTP_CLIENT, address.strip("[]"), str(OWNED), user=APP)
    assert (status, said.split()[::3]) == (0, ["201", "201"]), said
    assert scene.recorded() == {"blob-1", "blob-2", "blob-3"}
    assert len(set(scene.clients)) == 2, "the owner sees one connection for each of the app's"
    assert await scene.metric('refused_connections_total{reason="loop"}') == 0


async def test_what_no_rule_names_is_left_alone(scene: Scene) -> None:
    await scene.sidecar()
    await scene.install()
    before = await scene.metric("connections_opened_total")
    assert await scene.post(f"http://{OWNER4}:{OTHER}/v1/blobs") == (0, '{"id": "blob-1"}')
    assert await scene.post(f"http://{OWNER4}:{OWNED}/v1/blobs", user=SIDECAR) == (0, '{"id": "blob-2"}')
    assert await scene.metric("connections_opened_total") == before
    assert scene.recorded() == set()


async def test_removing_leaves_nothing_behind_and_breaks_nothing(scene: Scene) -> None:
    await scene.sidecar()
    await scene.install()
    await scene.install()
    status, said = await scene.capture("status", "--rules", scene.rules, "-o", "json")
    told: Any = json.loads(said)
    assert (status, told["installed"], told["listen_port"], told["exempt"]["uid"]) == (0, True, LISTEN, SIDECAR)
    assert {row["address"]: row["state"] for row in told["addresses"]} == {
        f"{OWNER4}:{OWNED}": "redirected",
        f"[{OWNER6}]:{OWNED}": "redirected",
    }
    assert await scene.capture("remove") == (0, "removed\n")
    assert await scene.ruleset() == ""
    before = await scene.metric("connections_opened_total")
    assert await scene.post(f"http://{OWNER4}:{OWNED}/v1/blobs") == (0, '{"id": "blob-1"}')
    assert await scene.metric("connections_opened_total") == before
    assert await scene.capture("remove") == (0, "there was nothing to remove\n")
    assert (await scene.capture("status"))[1] == "not installed\n"


async def test_a_sidecar_that_is_not_exempt_breaks_the_loop(scene: Scene) -> None:
    await scene.sidecar()
    await scene.install("--uid", "4242", "--no-verify")
    status, said = await scene.post(f"http://{OWNER4}:{OWNED}/v1/blobs")
    assert status in RESET, said
    assert scene.clients == []
    assert await scene.metric('refused_connections_total{reason="loop"}') == 1
    assert await scene.metric("connections_opened_total") == 1


async def test_who_connects_to_the_listener_himself_is_reset(scene: Scene) -> None:
    await scene.sidecar()
    for address in ("127.0.0.1", "[::1]"):
        status, said = await scene.post(f"http://{address}:{LISTEN}/")
        assert status in RESET, said
    assert await scene.metric('refused_connections_total{reason="not-redirected"}') == 2


async def test_a_mark_exempts_a_sidecar_of_the_same_user(scene: Scene) -> None:
    await scene.sidecar(user=None, mark=0x1EA5E)
    await scene.install("--config", str(scene.folder / "sidecar.yaml"))
    assert await scene.post(f"http://{OWNER4}:{OWNED}/v1/blobs", user=None) == (0, '{"id": "blob-1"}')
    assert scene.recorded() == {"blob-1"}
    assert len(scene.clients) == 1


async def test_a_mark_that_is_not_permitted_is_told(scene: Scene) -> None:
    host = await scene.start("sleep", "600")
    config = str(scene.write(host.pid, mark=7))
    status, said = await scene.inside(sys.executable, "-m", "leasehold.sidecar", "--config", config, user=SIDECAR)
    assert status == 1
    assert "mark 7 needs CAP_NET_ADMIN" in said
    assert "Traceback" not in said


async def test_installing_without_a_sidecar_is_taken_back(scene: Scene) -> None:
    scene.write(1)
    status, said = await scene.capture("install", "--rules", scene.rules, "--uid", str(SIDECAR))
    assert (status, await scene.ruleset()) == (1, "")
    assert "nobody accepted it" in said
    await scene.install("--uid", str(SIDECAR), "--no-verify")
    before = await scene.ruleset()
    status, said = await scene.capture("install", "--rules", scene.rules, "--uid", "4242")
    assert (status, await scene.ruleset()) == (1, before), "the older table is back"


async def test_etcd_and_the_control_plane_are_never_redirected(scene: Scene) -> None:
    scene.write(1)
    rules = Path(scene.rules)
    rules.write_text(rules.read_text().replace(f"{OWNER4}:{OWNED}", f"{OWNER4}:{ETCD}", 1))
    status, said = await scene.capture("install", "--rules", scene.rules, "--uid", str(SIDECAR), "--no-verify")
    assert (status, await scene.ruleset()) == (1, "")
    assert f"owner store is at {OWNER4}:{ETCD}, where etcd" in said
    status, said = await scene.capture(
        "install", "--rules", scene.rules, "--uid", "1", "--dry-run", "--control-plane", f"[{OWNER6}]:{OWNED}"
    )
    assert status == 1
    assert f"owner store is at [{OWNER6}]:{OWNED}, where the control plane" in said


async def test_the_sidecar_speaks_tls_to_owners_that_the_app_calls_in_plain(scene: Scene) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(scene.folder / "ca.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("blobs.test").configure_cert(server)
    await web.SockSite(scene.runner, scene.owner.socket(OWNER4, SECURE), ssl_context=server).start()
    await scene.sidecar(tls={"ca": "ca.pem", "server_name": "blobs.test"})
    Path(scene.rules).write_text(Path(scene.rules).read_text().replace(f"{OWNER4}:{OWNED}", f"{OWNER4}:{SECURE}"))
    await scene.install()
    # The sidecar has read the rules before: the call is known by what it names, and goes where it goes.
    status, said = await scene.inside(
        "curl", "-sS", "-X", "POST", "-H", f"Host: {OWNER4}:{OWNED}", f"http://{OWNER4}:{SECURE}/v1/blobs", user=APP
    )
    assert (status, said) == (0, '{"id": "blob-1"}')
    assert scene.recorded() == {"blob-1"}


async def test_rules_in_etcd_are_followed_while_watching(scene: Scene) -> None:
    scene.write(1)
    etcd = (sys.executable, "-m", "leasehold.cli", "--etcd", scene.fake.endpoint)
    assert (await scene.inside(*etcd, "apply", "-f", scene.rules))[0] == 0
    options = ("install", "--from-etcd", "--uid", str(SIDECAR), "--no-verify", "--watch", "1s")
    watching = await scene.start(*scene.app.command(*etcd, "capture", *options))
    assert watching.stdout is not None
    async with asyncio.timeout(30):
        assert b"2 addresses" in await watching.stdout.readline()
    Path(scene.rules).write_text(Path(scene.rules).read_text().replace(f'"{OWNER4}:{OWNED}"', f'"{OWNER4}:{OTHER}"', 1))
    assert (await scene.inside(*etcd, "apply", "-f", scene.rules))[0] == 0
    async with asyncio.timeout(30):
        assert b"refreshed: 3 addresses" in await watching.stdout.readline(), "what was seen lately stays"
    assert f"{OWNER4} . {OTHER}" in await scene.ruleset()
    watching.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await watching.wait() == 0
    assert f"{OWNER4} . {OTHER}" in await scene.ruleset(), "the table outlives who watched it"


async def test_who_may_not_is_told_what_is_missing(scene: Scene) -> None:
    scene.write(1)
    for arguments in (("install", "--rules", scene.rules, "--uid", "1", "--no-verify"), ("remove",)):
        status, said = await scene.capture(*arguments, user=APP)
        assert status == 1
        assert "CAP_NET_ADMIN" in said
