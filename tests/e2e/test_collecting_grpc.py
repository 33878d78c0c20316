"""The main job at an owner that speaks nothing but gRPC: created through the sidecar, deleted by the owner's method."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import free_port
from tests.e2e.harness import Program, World, eventually
from tests.fakes.grpc_owner import MESSAGES, SERVICE, GrpcBlobs, descriptor_set, grpc_rules

GRACE = 2.0
PROGRAM = Path(__file__).with_name("grpc_program.py")
pytestmark = [pytest.mark.etcd, pytest.mark.slow]


@pytest.fixture
def store() -> Iterator[GrpcBlobs]:
    with GrpcBlobs() as it:
        yield it


class GrpcProgram(Program):
    """An unmodified gRPC client."""

    async def ask(self, method: str, request: Any) -> tuple[str, bytes]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"method": f"/{SERVICE}/{method}", "request": request.SerializeToString().hex()}
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        async with asyncio.timeout(30):
            answer = json.loads(await self.process.stdout.readline())
        return answer["status"], bytes.fromhex(answer.get("reply", ""))

    async def create(self) -> str:
        status, reply = await self.ask("CreateBlob", MESSAGES["CreateBlobRequest"](content="x"))
        assert status == "OK"
        name: str = MESSAGES["Blob"].FromString(reply).name
        return name

    async def use(self, name: str) -> None:
        assert (await self.ask("GetBlob", MESSAGES["GetBlobRequest"](name=name)))[0] == "OK"


async def pair(here: World, store: GrpcBlobs, rules: str, name: str) -> GrpcProgram:
    """A program and its sidecar in front of the owner."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), f"http://127.0.0.1:{port}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    program = GrpcProgram(process)
    here._stack.push_async_callback(program.kill)
    file = here.write(f"rules-{name}.yaml", rules)
    await here.sidecar(pid=program.pid, to=store.address, rules=file, listen=port, service=name, name=name)
    return program


@pytest.mark.parametrize("precondition", ["if-match", "never-reused"])
async def test_what_a_killed_grpc_client_abandoned_is_deleted_by_the_owners_method_and_the_held_survives(
    here: World, store: GrpcBlobs, precondition: str
) -> None:
    schema = here.folder / "blobs.pb"
    schema.write_bytes(descriptor_set())
    rules = grpc_rules(f"http://{store.address}", schema, precondition=precondition, hosts=store.address)
    file = here.write("rules.yaml", rules)
    assert "fine" in await here.leasehold("rules", "check", str(file))
    await here.control_plane(file)
    maker = await pair(here, store, rules, "maker")
    user = await pair(here, store, rules, "user")
    abandoned = [await maker.create() for _ in range(5)]
    shared = await maker.create()
    await user.use(shared)
    assert await here.resources() == dict.fromkeys([*abandoned, shared], "held")
    assert store.deletes() == []
    etags = {name: store.blobs[name].etag for name in abandoned}
    await maker.kill()
    for name in abandoned:
        await eventually(f"{name} is gone", lambda name=name: name not in store.blobs, 30)
    await eventually("only the held one is recorded", lambda: _only(here, shared))
    await asyncio.sleep(2 * GRACE)  # time for a wrong sweep to happen
    assert set(store.blobs) == {shared}
    assert await here.resources() == {shared: "held"}
    assert sorted(store.deletes()) == sorted(abandoned), "each was deleted exactly once"
    if precondition == "if-match":
        asked = [request for request in store.requests if request.DESCRIPTOR.name == "DeleteBlobRequest"]
        assert {request.name: request.etag for request in asked} == etags
    await user.kill()
    await eventually("the last holder's death ends it", lambda: shared not in store.blobs, 30)


async def _only(here: World, name: str) -> bool:
    return await here.resources() == {name: "held"}
