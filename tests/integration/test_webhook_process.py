"""A control plane as a process, with its webhook: asked as an API server asks, with the rules that are in etcd."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.etcd import FakeEtcd
from tests.fakes.kubernetes import FakeKubernetes, NotReached
from tests.integration.kubelet import SCRIPTS
from tests.unit.injection.pods import review

RULES = """
owners: [{name: store, hosts: ["store.shop:8080"], endpoint: "http://store.shop:8080"},
         {name: unused, hosts: ["unused.shop:8080"], endpoint: "http://unused.shop:8080"}]
rules:
  - {name: make, owner: store, type: blob, on: create, held_by: process, id: {json: id},
     match: {method: POST, path: /v1/blobs, status: [201]}}
"""


@dataclass
class Scene:
    folder: Path
    etcd: FakeEtcd
    kubernetes: FakeKubernetes
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def control_plane(self, name: str) -> str:
        """Where its plain HTTP is."""
        (self.folder / "rules.yaml").write_text(RULES)
        config = self.folder / f"{name}.yaml"
        config.write_text(f"""
replica: {name}
etcd: {{endpoints: ["{self.etcd.endpoint}"]}}
rules: {{file: rules.yaml}}
http: {{listen: "127.0.0.1:0"}}
lease: {{ttl: 2s}}
webhook: {{http: {{listen: "127.0.0.1:0"}}, api: "{self.kubernetes.url}"}}
inject: {{image: "leasehold/sidecar:test", etcd: {{endpoints: ["http://etcd.leasehold-system:2379"]}}}}
""")
        process = await asyncio.create_subprocess_exec(
            str(SCRIPTS / "leasehold-control-plane"), "--config", str(config), stdout=asyncio.subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            return str(json.loads(await process.stdout.readline())["http"])


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with FakeEtcd() as etcd, FakeKubernetes() as kubernetes:
        kubernetes.webhooks()
        kubernetes.namespace("shop", {"leasehold.dev/injection": "enabled"})
        it = Scene(tmp_path, etcd, kubernetes)
        yield it
        for process in it.processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def get(address: str, path: str) -> Any:
    async with aiohttp.ClientSession() as client, client.get(f"http://{address}{path}") as answer:
        return await (answer.json() if "json" in answer.content_type else answer.text())


async def until(what: str, look: Callable[[], Awaitable[Any]], within: float = 60.0) -> Any:
    try:
        async with asyncio.timeout(within):
            while not (found := await look()):
                await asyncio.sleep(0.1)
            return found
    except TimeoutError:
        raise AssertionError(f"not within {within} s: {what}") from None


async def listening(address: str) -> int:
    """The webhook's port, once the replica is ready."""

    async def ready() -> bool:
        return bool((await get(address, "/readyz"))["status"] == "ready")

    await until("it is ready", ready)
    return int((await get(address, "/v1/status"))["webhook"]["listen"].rpartition(":")[2])


async def test_two_replicas_answer_alike_with_the_owners_that_rules_name(scene: Scene) -> None:
    one, two = await scene.control_plane("a"), await scene.control_plane("b")
    pods = []
    for address in (one, two):
        port = await listening(address)
        pod, _ = await scene.kubernetes.admit(review("deployment"), port)
        pods.append(pod)
    assert pods[0] == pods[1]
    capture, sidecar = pods[0]["spec"]["initContainers"]
    [owners] = [json.loads(one["value"]) for one in capture["env"] if one["name"] == "LEASEHOLD_OWNERS"]
    assert [owner["name"] for owner in owners["owners"]] == ["store"], "no rule names the other one"
    assert sidecar["image"] == "leasehold/sidecar:test"
    metrics = await get(one, "/metrics")
    assert 'leasehold_admissions_total{result="injected"} 1.0' in metrics
    assert "leasehold_webhook_certificate_not_after_seconds" in metrics
    secrets = [path for path in scene.kubernetes.objects if "/secrets/" in path]
    assert secrets == ["/api/v1/namespaces/leasehold-system/secrets/leasehold-webhook"]


async def test_a_replica_without_a_certificate_is_not_ready_and_collects_all_the_same(scene: Scene) -> None:
    scene.kubernetes.closed["/api/v1/namespaces/leasehold-system/secrets"] = 403
    address = await scene.control_plane("a")

    async def told() -> Any:
        return (await get(address, "/readyz"))["reasons"].get("webhook", "")

    async def denied() -> bool:
        return "403" in await told()

    await until("it says what is in the way", denied)

    async def leads() -> bool:
        return bool((await get(address, "/v1/status"))["leader"])

    await until("it leads", leads)
    with pytest.raises(NotReached):
        await scene.kubernetes.admit(review("deployment"), 1)
    scene.kubernetes.closed.clear()
    await listening(address)
