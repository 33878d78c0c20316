"""What is written into a pod, executed: it captures an unmodified program, registers, survives, and lets go in the end.

The init container and the sidecar run as the pod says, with no more than the pod gives them; the program, the owner,
etcd and the control plane are real. Nobody here was told anything but through the pod and the rules.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from leasehold.injection.injecting import Injection, inject
from leasehold.injection.patch import applied
from leasehold.injection.pod import Namespace as Place
from leasehold.injection.pod import Pod
from leasehold.injection.settings import EtcdAccess, InjectSection, Settings
from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from leasehold.protocol.rules import load_rules
from tests.e2e.owner import Owner
from tests.integration.kubelet import SCRIPTS, Kubelet
from tests.integration.namespaces import APP4, OWNER4, Namespace, wired

OWNED = 8000
ETCD = f"http://{OWNER4}:2379"
RULES = f"""
owners:
  - name: store
    hosts: ["{OWNER4}:{OWNED}"]
    endpoint: "http://{OWNER4}:{OWNED}"
    delete: {{path: "/v1/blobs/{{id}}", precondition: never-reused}}
    read: {{path: "/v1/blobs/{{id}}"}}
rules:
  - {{name: make, owner: store, type: blob, on: create, held_by: process, mode: sweep, grace: 2s, id: {{json: id}},
     match: {{method: POST, path: /v1/blobs, status: [201]}}}}
"""
APP = f"""
import http.client, http.server, sys
connection = http.client.HTTPConnection("{OWNER4}", {OWNED}, timeout=20)
connection.request("POST", "/v1/blobs", b'{{"content": "x"}}', {{"Content-Type": "application/json"}})
print(connection.getresponse().status, flush=True)
class Live(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("0.0.0.0", 8080), Live).serve_forever()
"""
"""It creates, and lives. It knows of no sidecar."""


def pod(**annotations: str) -> dict[str, Any]:
    """As a team writes it."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    app = {"name": "app", "image": "app", "command": ["python3", "-c", APP], "livenessProbe": probe}
    metadata = {
        "name": "uploader-1",
        "labels": {"app.kubernetes.io/name": "uploader", "app.kubernetes.io/version": "1.4"},
        "annotations": {f"leasehold.dev/{key}": value for key, value in annotations.items()},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [app]}}


@dataclass
class Cluster:
    """Two namespaces, an owner, and what was started."""

    app: Namespace
    elsewhere: Namespace
    owner: Owner
    folder: Path
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    kubelets: list[Kubelet] = field(default_factory=list)

    def schedule(self, document: dict[str, Any], etcd: str = ETCD) -> Kubelet:
        """Injected as the webhook does it, and bound to this node."""
        owners = load_rules(RULES, "rules", {}).owners
        settings = Settings(InjectSection(etcd=EtcdAccess((etcd,))), "0.1.0")
        result = inject(Pod(document, Place("shop", {"leasehold.dev/injection": "enabled"})), settings, owners)
        assert isinstance(result, Injection), result
        kubelet = Kubelet(self.app, applied(result.operations, document), APP4, self.folder)
        self.kubelets.append(kubelet)
        return kubelet

    async def spawn(self, *command: str) -> asyncio.subprocess.Process:
        log = (self.folder / f"{Path(command[0]).name}.log").open("wb")
        with log:
            process = await asyncio.create_subprocess_exec(
                *self.elsewhere.command(*command), stdout=subprocess.DEVNULL, stderr=log
            )
        self.processes.append(process)
        return process

    async def etcd(self) -> None:
        binary = find_etcd()
        await self.spawn(
            str(binary.path), "--data-dir", str(self.folder / "etcd"), "--listen-client-urls", ETCD,
            "--advertise-client-urls", ETCD, "--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync",
        )  # fmt: skip

    async def control_plane(self) -> None:
        (self.folder / "rules.yaml").write_text(RULES)
        config = self.folder / "control-plane.yaml"
        config.write_text(f'etcd: {{endpoints: ["{ETCD}"]}}\nrules: {{file: rules.yaml}}\nlease: {{ttl: 2s}}\n')
        await self.spawn(str(SCRIPTS / "leasehold-control-plane"), "--config", str(config))

    async def look(self, *arguments: str) -> Any:
        """What ``leasehold ... -o json`` says, asked from where etcd is."""
        command = (str(SCRIPTS / "leasehold"), "--etcd", ETCD, *arguments, "-o", "json")
        done = await asyncio.to_thread(self.elsewhere.run, *command)
        return json.loads(done.stdout) if done.returncode == 0 else None

    async def health(self, path: str) -> Any:
        done = await asyncio.to_thread(self.app.run, "curl", "-s", "--max-time", "5", f"http://{APP4}:15421{path}")
        return json.loads(done.stdout) if done.stdout else None


async def until(what: str, look: Callable[[], Any], within: float = 60.0) -> Any:
    """Ask again and again."""
    try:
        async with asyncio.timeout(within):
            while True:
                found = look()
                found = await found if asyncio.iscoroutine(found) else found
                if found:
                    return found
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within {within} s: {what}") from None


def logged(said: str, event: str) -> Any:
    """The first whole line that is this event; ``None``: there is none yet."""
    lines = (json.loads(line) for line in said.splitlines() if line.startswith("{") and line.endswith("}"))
    return next((line for line in lines if line.get("event") == event), None)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="leasehold-pod-"))  # pytest's own is closed to other users
    folder.chmod(0o777)
    try:
        with wired() as (app, elsewhere):
            async with Owner() as owner:
                assert owner._runner is not None
                await web.SockSite(owner._runner, elsewhere.socket(OWNER4, OWNED)).start()
                it = Cluster(app, elsewhere, owner, folder)
                try:
                    yield it
                finally:
                    for kubelet in it.kubelets:
                        await kubelet.stop()
                    for process in it.processes:
                        if process.returncode is None:
                            process.kill()
                        await process.wait()
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.etcd
async def test_an_injected_pod_captures_registers_survives_and_is_swept_when_it_has_ended(cluster: Cluster) -> None:
    try:
        await cluster.etcd()
    except EtcdNotFound:
        pytest.skip("no etcd here")
    await cluster.control_plane()
    kubelet = cluster.schedule(pod(ttl="60s"))  # longer than a restart of the sidecar takes on a slow machine

    capture = await kubelet.start("leasehold-capture")
    assert await capture.ended() == 0, capture.said
    assert "installed: 1 addresses to port 15401" in capture.said
    sidecar = await kubelet.start("leasehold-sidecar")
    await kubelet.started_up("leasehold-sidecar")
    ready = lambda: _is_ready(cluster)  # noqa: E731
    await until("the sidecar is ready", ready)

    app = await kubelet.start("app")
    [blob] = await until("the app has created", lambda: list(cluster.owner.blobs))
    await until("it was answered", lambda: app.said.strip() == "201")
    [holder] = await until("its holder is known", lambda: cluster.look("get", "holders"))
    assert holder["holder"].startswith("uploader.shop@uploader-1~")
    [resource] = await cluster.look("get", "resources")
    assert (resource["owner"], resource["id"], resource["state"]) == ("store", blob, "held")

    await sidecar.kill()
    sidecar = await kubelet.start("leasehold-sidecar")
    await kubelet.started_up("leasehold-sidecar")
    await until("the restarted sidecar is ready", ready)
    [still] = await cluster.look("get", "holders")
    assert still["holder"] == holder["holder"], "the journal told it whom it holds for"
    assert cluster.owner.deletes() == []

    await app.terminate()
    assert await sidecar.terminate() == 0, sidecar.said
    [ended] = await cluster.look("get", "holders")
    assert ended["ended"] == "exited", "being told to stop was the news"
    await until("what nobody holds is swept", lambda: cluster.owner.deletes() == [f"/v1/blobs/{blob}"])
    assert cluster.owner.blobs == {}


@pytest.mark.slow
@pytest.mark.etcd
async def test_a_sidecar_that_is_restarted_beside_a_living_app_takes_nothing_from_it_even_without_a_probe(
    cluster: Cluster,
) -> None:
    try:
        await cluster.etcd()
    except EtcdNotFound:
        pytest.skip("no etcd here")
    document = pod(ttl="60s")
    del document["spec"]["containers"][0]["livenessProbe"]
    kubelet = cluster.schedule(document)
    assert await (await kubelet.start("leasehold-capture")).ended() == 0
    (cluster.folder / "rules.yaml").write_text(RULES)
    applying = (str(SCRIPTS / "leasehold"), "--etcd", ETCD, "apply", "-f", str(cluster.folder / "rules.yaml"))

    async def applied_rules() -> bool:
        return (await asyncio.to_thread(cluster.elsewhere.run, *applying)).returncode == 0

    await until("the rules are in etcd", applied_rules)
    sidecar = await kubelet.start("leasehold-sidecar")
    await kubelet.started_up("leasehold-sidecar")
    await until("the sidecar is ready", lambda: _is_ready(cluster))
    app = await kubelet.start("app")
    await until("the app was answered", lambda: app.said.strip() == "201")
    [before] = await cluster.look("get", "holders")

    assert await sidecar.terminate() == 0, "as for a new image of the sidecar"
    [after] = await cluster.look("get", "holders")
    assert (after["holder"], after["ended"], after["holds"]) == (before["holder"], None, 1)
    sidecar = await kubelet.start("leasehold-sidecar")
    await kubelet.started_up("leasehold-sidecar")

    await app.terminate()
    assert await sidecar.terminate() == 0, sidecar.said
    [last] = await cluster.look("get", "holders")
    assert (last["holder"], last["ended"]) == (before["holder"], "exited")


@pytest.mark.slow
async def test_without_etcd_the_app_starts_and_works_and_the_sidecar_says_that_it_is_degraded(cluster: Cluster) -> None:
    kubelet = cluster.schedule(pod())
    capture = await kubelet.start("leasehold-capture")
    assert await capture.ended() == 0, capture.said
    sidecar = await kubelet.start("leasehold-sidecar")
    await kubelet.started_up("leasehold-sidecar")
    app = await kubelet.start("app")
    await until("the app was answered", lambda: app.said.strip() == "201")
    assert len(cluster.owner.blobs) == 1
    told = await cluster.health("/readyz")
    assert told["status"] == "degraded"
    told = await until("it is in the log", lambda: logged(sidecar.said, "degraded"))
    assert (told["pod"], told["node"]) == ("shop/uploader-1", "node node-1")
    assert told["labels"] == "app.kubernetes.io/version=1.4"
    await app.terminate()
    assert await sidecar.terminate() == 0, sidecar.said


@pytest.mark.slow
async def test_a_redirect_that_cannot_be_made_costs_no_more_than_being_seen(cluster: Cluster) -> None:
    kubelet = cluster.schedule(pod(), etcd="http://no-such-etcd.invalid:2379")
    capture = await kubelet.start("leasehold-capture")
    assert await capture.ended() == 0
    assert "going on: what this program creates is not captured" in capture.said
    await kubelet.start("leasehold-sidecar")
    await kubelet.started_up("leasehold-sidecar")
    app = await kubelet.start("app")
    await until("the app was answered", lambda: app.said.strip() == "201")
    assert "leasehold" not in (await asyncio.to_thread(cluster.app.run, "nft", "list", "ruleset")).stdout


@pytest.mark.slow
async def test_the_sidecar_itself_may_not_touch_the_network_of_the_pod(cluster: Cluster) -> None:
    kubelet = cluster.schedule(pod())
    sidecar = next(one for one in kubelet.pod["spec"]["initContainers"] if one["name"] == "leasehold-sidecar")
    tampering = {**sidecar, "name": "tampering", "command": ["nft"], "args": ["add", "table", "inet", "mine"]}
    kubelet.pod["spec"]["containers"].append(tampering)
    tried = await kubelet.start("tampering")
    assert await tried.ended() != 0
    assert "Operation not permitted" in tried.said
    writing = {**tampering, "name": "writing", "command": ["touch"], "args": ["/etc/mine"]}
    kubelet.pod["spec"]["containers"].append(writing)
    tried = await kubelet.start("writing")
    assert await tried.ended() != 0
    assert "Read-only file system" in tried.said


async def _is_ready(cluster: Cluster) -> bool:
    told = await cluster.health("/readyz")
    return bool(told and told["status"] == "ready")
