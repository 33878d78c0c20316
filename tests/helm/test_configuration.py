"""What the chart writes as the control plane's configuration is what the control plane reads: by the real one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from leasehold.control_plane.config import Config, load_config
from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.etcd.process import EtcdProcess
from tests.fakes.api_server import FakeApiServer
from tests.helm.chart import SETS, one, rendered
from tests.unit.control_plane.kubernetes.objects import OWNER_SPEC, RULE_SPEC

WITHIN_SECONDS = 30


def configuration(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(
        one(rendered(name), "ConfigMap", "leasehold-control-plane" + ("-canary" if name == "canary" else ""))["data"][
            "control-plane.yaml"
        ]
    )
    return config


def laid_out(name: str, folder: Path, document: dict[str, Any]) -> Path:
    """The files that the pod would see, below ``folder``; secrets and the service account are empty ones."""
    text = yaml.safe_dump(document).replace("/etc/leasehold/", f"{folder}/")
    data = one(rendered(name), "ConfigMap", "leasehold-control-plane" + ("-canary" if name == "canary" else ""))["data"]
    here = folder / "configuration"
    for place in ("configuration", "etcd", "webhook", "account"):
        (folder / place).mkdir()
    for file in ("etcd/ca.crt", "etcd/tls.crt", "etcd/tls.key", "etcd/password", "webhook/tls.crt", "webhook/tls.key",
                 "account/token", "account/ca.crt"):  # fmt: skip
        (folder / file).touch()
    (here / "control-plane.yaml").write_text(text)
    if "rules.yaml" in data:
        (here / "rules.yaml").write_text(data["rules.yaml"])
    return here / "control-plane.yaml"


@pytest.mark.parametrize("name", SETS)
def test_the_control_plane_reads_what_the_chart_writes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "leasehold-control-plane-5d4f-x2x")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    document = configuration(name)
    for section in {"kubernetes", "webhook"} & document.keys():
        document[section]["service_account"] = str(tmp_path / "account")
    config = load_config(laid_out(name, tmp_path, document))
    assert config.replica == "leasehold-control-plane-5d4f-x2x"
    assert config.http.port == 8700
    assert (config.objects is not None) == (document.get("kubernetes") is not None)
    assert (config.rules is not None) == (name == "rules-from-a-file")
    special(name, config)


def special(name: str, config: Config) -> None:
    """What a set is there for."""
    if name == "everything-said":
        assert (config.tenant, config.lease_ttl_seconds, config.http.host) == ("shop", 10, "::")
        assert config.objects is not None
        assert config.objects.selector == "leasehold.dev/tenant=shop"
    if name == "ha":
        assert config.etcd.tls is not None
        assert config.etcd.tls.key is not None
        assert config.etcd.endpoints == ["https://etcd-0:2379", "https://etcd-1:2379"]
    if name == "server-tls-and-password":
        assert config.etcd.username == "leasehold"
        assert config.etcd.tls is not None
        assert config.etcd.tls.key is None


def test_what_is_said_beside_the_charts_own_is_checked_by_the_control_plane(tmp_path: Path) -> None:
    document = configuration("nothing-but-collecting") | {"scan_intervall": "5m"}
    os.environ.setdefault("POD_NAME", "p")
    with pytest.raises(BadConfiguration, match="scan_intervall: not a field here"):
        load_config(laid_out("nothing-but-collecting", tmp_path, document))


@pytest.mark.etcd
async def test_a_real_control_plane_starts_with_it_and_passes_the_charts_own_test(
    tmp_path: Path, real_etcd: EtcdProcess | None
) -> None:
    if real_etcd is None:
        pytest.skip("no etcd here")
    things = rendered("bundled")
    document = configuration("bundled")
    document["etcd"]["endpoints"] = [real_etcd.endpoint]
    document["tenant"] = f"chart-{os.getpid()}"
    document["http"]["listen"] = "127.0.0.1:0"
    async with FakeApiServer() as cluster:
        document["kubernetes"]["api"] = cluster.url
        await cluster.apply("owners", "blobs", OWNER_SPEC)
        await cluster.apply("interceptionrules", "create-blob", RULE_SPEC)
        for section in ("webhook", "inject"):
            document.pop(section, None)  # that is tried where it is served
        file = laid_out("bundled", tmp_path, document)
        container = one(things, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        arguments = [
            str(file) if argument.endswith("control-plane.yaml") else argument for argument in container["args"]
        ]
        environment = os.environ | {"POD_NAME": "leasehold-control-plane-0"}
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "leasehold-control-plane"), *arguments, env=environment,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                assert process.stdout is not None
                ready = json.loads(await process.stdout.readline())
            assert ready["replica"] == "leasehold-control-plane-0"
            await charts_test(things, ready["http"])
            await probes(container, ready["http"])
            async with asyncio.timeout(WITHIN_SECONDS):
                while cluster.condition("interceptionrules", "create-blob").get("status") != "True":
                    await asyncio.sleep(0.1)
        finally:
            process.terminate()
            async with asyncio.timeout(WITHIN_SECONDS):
                await process.wait()
        assert process.returncode == 0


async def charts_test(things: list[dict[str, Any]], address: str) -> None:
    """The script in the chart's test pod, as it stands there."""
    container = one(things, "Pod")["spec"]["containers"][0]
    [script] = container["args"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *container["command"][1:], script, env=os.environ | {"CONTROL_PLANE": f"http://{address}"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(2 * WITHIN_SECONDS):
        told, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    assert told.decode().startswith("fine: ")


async def probes(container: dict[str, Any], address: str) -> None:
    """Every probe of the pod is answered."""
    async with aiohttp.ClientSession() as session:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] == "http"
            async with session.get(f"http://{address}{container[probe]['httpGet']['path']}") as answer:
                assert answer.status == 200, probe
