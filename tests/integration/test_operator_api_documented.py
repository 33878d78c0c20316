"""What docs/operator-api.md shows works as it stands there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.operator.config import OperatorSection
from leasehold.protocol.configuration import convert
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from tests.integration.operator_world import Face, facing
from tests.unit.control_plane.world import World, eventually, rules, state, world

pytestmark = pytest.mark.etcd
TEXT = (Path(__file__).parents[2] / "docs" / "operator-api.md").read_text()
EXAMPLES = re.findall(r"```(bash|python|yaml)\n(.*?)```", TEXT, re.DOTALL)


async def shell(program: list[str], environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *program, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        return (await process.communicate())[0].decode()


@pytest.fixture
async def documented(real_etcd: EtcdProcess | None, tmp_path: Path) -> AsyncIterator[tuple[World, dict[str, str]]]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with world(real_etcd.endpoint) as here, facing(here, rules(here.owner), tmp_path) as face:
        holder = await here.hand.attach("a")
        await here.hand.register(holder, "x")
        await eventually("held", lambda: state(face.plane, "x") is State.HELD)
        yield here, environment(here, face, tmp_path)


def environment(here: World, face: Face, folder: Path) -> dict[str, str]:
    assert face.plane.operator is not None
    assert face.plane.operator.grpc is not None
    token = folder / "ada"
    token.write_text("ada-token\n")
    commands = str(Path(sys.executable).parent)
    return {
        "API": face.url, "TOKEN": "ada-token", "TOKEN_FILE": str(token), "TENANT": here.tenant,
        "GRPC_PORT": str(face.plane.operator.grpc[1]), "PATH": f"{commands}:{os.environ['PATH']}",
    }  # fmt: skip


async def test_every_example_runs(documented: tuple[World, dict[str, str]]) -> None:
    here, variables = documented
    answers = []
    for language, text in EXAMPLES:
        if language == "bash":
            answers.append(await shell(["bash", "-c", text], variables))
        elif language == "python":
            answers.append(await shell([sys.executable, "-c", text], variables))
    overview, listed, why, pinned, watched, by_grpc, by_command = answers
    assert json.loads(overview)["overview"]["total"]["held"] == 1
    assert json.loads(listed)["total"] == 0
    assert json.loads(why)["sentences"][0] == "store/blob/x is held."
    assert json.loads(pinned) == {}
    assert await here.hand.count(Family.PINS) == 1
    assert watched.startswith("event: message\ndata: {")
    assert by_grpc == "x held\n"
    assert "store/blob/x" in by_command


def test_the_configuration_that_is_shown_is_one() -> None:
    (text,) = [text for language, text in EXAMPLES if language == "yaml"]
    section = convert(OperatorSection, yaml.safe_load(text)["operator"], "docs")
    problems = [path for path, _ in section.nonsense(Path("/nowhere"))]
    assert problems == ["operator.tls.cert", "operator.tls.key", "operator.tls.client_ca", "operator.tokens"]
