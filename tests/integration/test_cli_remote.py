"""The command line asks the operator API as it asks etcd, and prints the same."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from leasehold.cli.__main__ import main
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from tests.integration.operator_world import Face, facing
from tests.unit.control_plane.world import World, eventually, rules, state, world

pytestmark = pytest.mark.etcd
X = "store/blob/x"


@dataclass
class Ended:
    exit_code: int
    output: str


async def run(*arguments: str) -> Ended:
    """In a thread, while the control plane serves it from the loop."""
    result = await asyncio.to_thread(CliRunner().invoke, main, list(arguments))
    return Ended(result.exit_code, result.output)


class Terminal:
    """Runs commands, at etcd and at the API."""

    def __init__(self, here: World, face: Face, token: Path) -> None:
        assert face.plane.operator is not None
        assert face.plane.operator.grpc is not None
        self.here, self.face = here, face
        port = face.plane.operator.grpc[1]
        self._api = ["--server", f"http://127.0.0.1:{port}", "--token-file", str(token), "--tenant", here.tenant]
        self._etcd = ["--etcd", here.endpoint, "--tenant", here.tenant]

    async def api(self, *arguments: str) -> Ended:
        return await run(*self._api, *arguments)

    async def etcd(self, *arguments: str) -> Ended:
        return await run(*self._etcd, *arguments)


@pytest.fixture
async def terminal(real_etcd: EtcdProcess | None, tmp_path: Path) -> AsyncIterator[Terminal]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    # What the control plane logs meanwhile is not what the command prints.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    token = tmp_path / "ada"
    token.write_text("ada-token\n")
    async with world(real_etcd.endpoint) as here, facing(here, rules(here.owner, grace="3600s"), tmp_path) as face:
        holder = await here.hand.attach("a")
        here.owner.add("x")
        await here.hand.register(holder, "x", "y", grace_class="3600s")
        await eventually("held", lambda: state(face.plane, "y") is State.HELD)
        yield Terminal(here, face, token)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "command",
    ["get resources", "get rules", "get owners", "get tombstones", "get sweeps", "get resources --state in-grace",
     f"why {X}", "graph", f"graph --resource {X} -o dot", "shadow"],
)  # fmt: skip
async def test_both_say_the_same(terminal: Terminal, command: str) -> None:
    by_api, by_etcd = await terminal.api(*command.split()), await terminal.etcd(*command.split())

    def seen(result: Ended) -> list[str]:
        return [line for line in result.output.splitlines() if " at http" not in line and "renewed" not in line]

    assert by_api.exit_code == by_etcd.exit_code == 0, by_api.output
    assert seen(by_api) == seen(by_etcd)


async def test_writes_go_through_the_api_and_are_audited(terminal: Terminal) -> None:
    here, face = terminal.here, terminal.face
    assert (await terminal.api("pin", X, "--why", "evidence")).output == f"{X}: pinned\n"
    assert (await terminal.api("unpin", X)).exit_code == 2, "why is needed"
    assert (await terminal.api("unpin", X, "--why", "done")).exit_code == 0
    assert (await terminal.api("brake", "trip", "--reason", "trouble")).exit_code == 0
    await eventually("braked", lambda: face.plane.brake.why_not)
    assert (await terminal.api("brake", "status")).exit_code == 1
    assert (await terminal.api("brake", "arm", "--reason", "over")).exit_code == 0
    await eventually("armed", lambda: not face.plane.brake.why_not)
    holder = "svc@a~1"
    assert "is alive" in (await terminal.api("release", X, "--holder", holder, "--why", "leak")).output
    assert (await terminal.api("release", X, "--holder", holder, "--why", "leak", "--force")).exit_code == 0
    await eventually("condemned", lambda: state(face.plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    assert (await terminal.api("restore", X, "--why", "not yet")).exit_code == 0
    await eventually("condemned again", lambda: state(face.plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    assert (await terminal.api("sweep-now", X, "--why", "disk")).exit_code == 0
    await eventually("swept", lambda: "x" not in here.owner.things)
    assert await here.hand.count(Family.AUDIT) == 7


async def test_sweep_now_works_at_etcd_too(terminal: Terminal) -> None:
    here, face = terminal.here, terminal.face
    assert (await terminal.etcd("release", X, "--holder", "svc@a~1", "--force")).exit_code == 0
    await eventually("condemned", lambda: state(face.plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    assert (await terminal.etcd("sweep-now", X, "--why", "disk")).exit_code == 0
    await eventually("swept", lambda: "x" not in here.owner.things)


async def test_rules_are_applied_through_the_api(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("owners: [{name: other, hosts: ['o:80'], endpoint: 'http://127.0.0.1:1'}]\nrules: []\n")
    dry = await terminal.api("apply", "-f", str(file), "--dry-run")
    assert "owner other: created (dry run)" in dry.output
    assert (await terminal.api("apply", "-f", str(file))).exit_code == 2
    assert "owner other: created" in (await terminal.api("apply", "-f", str(file), "--why", "new")).output


async def test_trouble_is_one_line(terminal: Terminal, tmp_path: Path) -> None:
    gone = await terminal.api("why", "store/blob/nowhere")
    assert (gone.exit_code, gone.output.count("\n")) == (1, 1)
    assert "nothing is recorded" in gone.output
    assert "does not offer this" in (await terminal.api("status")).output
    (tmp_path / "ada").write_text("wrong")
    assert "not let in" in (await terminal.api("get", "resources")).output
    nobody = await run("--server", "http://127.0.0.1:1", "get", "resources")
    assert (nobody.exit_code, nobody.output.count("\n")) == (1, 1)


async def test_scripts_get_every_field(terminal: Terminal) -> None:
    (x, _) = json.loads((await terminal.api("get", "resources", "-o", "json")).output)
    assert x["state"] == "held"
    assert x["tombstone_revision"] == "0"


def test_a_token_and_its_line_belong_together() -> None:
    import hashlib

    from leasehold.control_plane.operator.tokens import parse_tokens

    result = CliRunner().invoke(main, ["token", "create", "--name", "ci", "--role", "operator", "--for-tenant", "*"])
    token, line = result.output.splitlines()
    (parsed,) = parse_tokens(line)
    assert parsed.digest == hashlib.sha256(token.encode()).digest()
    assert (parsed.who, parsed.role.word, parsed.tenant) == ("ci", "operator", "*")
