"""A whole life with the roles on: every part logs in as a user of its own, and what is abandoned is swept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leasehold.protocol.etcd.process import free_ports
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import OwnerName, ServiceName, Tenant
from leasehold.protocol.roles import roles, sidecar_role
from tests.e2e.harness import Process, Program, World, eventually, world
from tests.e2e.owner import Owner, rules
from tests.tenants.guarded import OURS, USERS, guarded_etcd
from tests.tenants.strict import StrictEtcd
from tests.tenants.test_secrets import rules_are_fine

pytestmark = [pytest.mark.etcd, pytest.mark.slow]
NARROW = sidecar_role(Keyspace(Tenant(OURS)), ServiceName("web"), [OwnerName("blob-store")])


@dataclass
class Stage:
    """A world, and an etcd in which everybody needs a name."""

    world: World
    owner: Owner
    folder: Path
    strict: StrictEtcd | None

    def etcd(self, user: str) -> str:
        file = self.folder / f"password-{OURS}.{user}"
        return f'etcd: {{endpoints: ["{self.world.endpoint}"], username: {OURS}.{user}, password_file: {file}}}'

    async def pair(self, user: str) -> Program:
        """A program beside a sidecar that logs in as ``user``."""
        [port] = free_ports(1)
        program = await self.world.program(f"http://127.0.0.1:{port}")
        await self._sidecar(program.pid, port, user)
        return program

    async def _sidecar(self, pid: int, port: int, user: str) -> None:
        config = self.world.write(
            f"sidecar-{pid}.yaml",
            f"""
tenant: {OURS}
service: web
instance: one
{self.etcd(user)}
lease: {{ttl: 3s, service_ttl: 4s}}
host: {{pid: {pid}}}
capture: [{{mode: upstream, listen: "127.0.0.1:{port}", to: "{self.owner.address}"}}]
rules: {{etcd: true}}
journal: {self.folder}/journal-{pid}
admin: {{listen: "127.0.0.1:0"}}
""",
        )
        process = await self.world.script("leasehold-sidecar", "--config", str(config))
        await process.wait_ready()
        await eventually("the rules are followed", lambda: rules_are_fine(process))

    async def control_plane(self) -> Process:
        config = self.world.write(
            "control-plane.yaml",
            f"""
tenant: {OURS}
{self.etcd("control-plane")}
rules: {{file: rules.yaml}}
http: {{listen: "127.0.0.1:0"}}
canary: {{interval: 1s}}
""",
        )
        process = await self.world.script("leasehold-control-plane", "--config", str(config))
        await process.wait_ready()
        return process

    async def leasehold(self, user: str, *arguments: str, expect: int | None = 0) -> str:
        file = self.folder / f"password-{OURS}.{user}"
        who = ("--user", f"{OURS}.{user}", "--password-file", str(file), "--tenant", OURS)
        return await self.world.leasehold(*who, *arguments, expect=expect)

    async def resources(self) -> dict[str, str]:
        listed = json.loads(await self.leasehold("reader", "get", "resources", "-o", "json"))
        return {item["id"]: item["state"] for item in listed}


@pytest.fixture
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with Owner() as owner:
        if request.param == "etcd":
            # Tokens that run out every other second: whoever does not log in again does not get through this test.
            async with (
                guarded_etcd(tmp_path, ["--auth-token-ttl", "2"]) as guarded,
                world(tmp_path, guarded.server.endpoint, OURS) as it,
            ):
                yield Stage(it, owner, tmp_path, None)
            return
        every = {role.name.removeprefix(f"leasehold/{OURS}/"): role for role in roles(Keyspace(Tenant(OURS)))}
        every["sidecar/web"] = NARROW
        users = {
            f"{OURS}.{user}": [grant for part in parts for grant in every[part].grants] for user, parts in USERS.items()
        }
        for user in users:
            (tmp_path / f"password-{user}").write_text("any")
        async with StrictEtcd(users) as strict, world(tmp_path, strict.endpoint, OURS) as it:
            yield Stage(it, owner, tmp_path, strict)


@pytest.mark.parametrize(
    ("stage", "user"), [("strict", "sidecar"), ("strict", "web-sidecar"), ("etcd", "web-sidecar")], indirect=["stage"]
)
@pytest.mark.timeout(240)
async def test_a_life_from_registering_to_sweeping_needs_no_right_beyond_the_roles(stage: Stage, user: str) -> None:
    stage.world.write("rules.yaml", rules(stage.owner, extra_create="commit: before-request"))
    await stage.leasehold("operator", "apply", "-f", str(stage.folder / "rules.yaml"))
    await stage.control_plane()
    maker, kept = await stage.pair(user), await stage.pair(user)
    blobs = [await maker.create() for _ in range(3)]
    safe = await kept.create()
    deleted = await kept.create()
    await kept.call("DELETE", f"/v1/blobs/{deleted}")
    await stage.leasehold("operator", "pin", f"blob-store/blob/{blobs[0]}", "--why", "test")
    await maker.kill()
    await eventually("what was abandoned is gone", lambda: not set(blobs[1:]) & set(stage.owner.blobs), 60)
    assert {blobs[0], safe} <= set(stage.owner.blobs)
    await stage.leasehold("operator", "unpin", f"blob-store/blob/{blobs[0]}")
    await eventually("the one without its pin goes, too", lambda: blobs[0] not in stage.owner.blobs, 60)
    await eventually("only what is held is recorded", lambda: _only(stage, safe), 60)
    await stage.leasehold("operator", "brake", "trip", "--reason", "test")
    await stage.leasehold("operator", "brake", "arm", "--reason", "test")
    await stage.leasehold("reader", "why", f"blob-store/blob/{safe}")
    await stage.leasehold("reader", "brake", "trip", "--reason", "not mine", expect=1)
    if stage.strict is not None:
        assert all(line.startswith(f"{OURS}.reader: write") for line in stage.strict.denied), stage.strict.denied
    for log in stage.folder.glob("leasehold-*.log"):
        assert "permission denied" not in log.read_text() or "leasehold: etcd refused us" in log.read_text()


async def _only(stage: Stage, blob: str) -> bool:
    return await stage.resources() == {blob: "held"}
