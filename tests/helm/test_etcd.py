"""The etcd that the chart starts, and the proxy before it: the very arguments, with a real etcd, on this machine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from leasehold.protocol.errors import StoreError
from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.known_bad import parse_version
from leasehold.protocol.etcd.process import EtcdProcess, free_ports
from leasehold.protocol.names import Revision
from leasehold.protocol.store import Put, Txn, absent
from tests.helm.chart import one, rendered

pytestmark = pytest.mark.etcd
WITHIN_SECONDS = 30.0
DEADLINE = 5.0


def container(kind: str, name: str) -> Mapping[str, Any]:
    spec = one(rendered("bundled-cluster-with-proxy" if kind == "Deployment" else "bundled"), kind, name)["spec"]
    found: Mapping[str, Any] = spec["template"]["spec"]["containers"][0]
    return found


def here(text: str, ports: Mapping[str, int]) -> str:
    """An address of the cluster, as one of this machine."""
    for inside, outside in ports.items():
        text = re.sub(rf"(//|=|^)[^/,=]*:{inside}\b", rf"\g<1>127.0.0.1:{outside}", text)
    return text


@asynccontextmanager
async def running(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> AsyncIterator[None]:
    binary = find_etcd()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            binary.path, *arguments, env=dict(environment), stdout=output, stderr=output
        )
        try:
            yield
            assert process.returncode is None, log.read_text()[-2000:]
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def serving(client: EtcdClient) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while True:
            try:
                await client.get(b"/leasehold/1/x", deadline=1.0)
            except StoreError:
                await asyncio.sleep(0.1)
            else:
                return


async def used_as_a_sidecar_would(client: EtcdClient) -> None:
    """A lease that is renewed, a beacon on it, a guarded transaction, and a watch that sees both come and go."""
    prefix = f"/leasehold/1/{uuid4().hex}/".encode()
    beacon, record = prefix + b"beacon", prefix + b"record"
    lease = (await client.grant(30, deadline=DEADLINE)).lease
    attached = await client.commit(Txn((absent(beacon),), (Put(beacon, b"boot", lease),)), deadline=DEADLINE)
    assert attached.succeeded
    assert not (await client.commit(Txn((absent(beacon),), (Put(record, b"r"),)), deadline=DEADLINE)).succeeded
    assert await client.keep_alive(lease, deadline=DEADLINE) == 30
    found = await client.get(beacon, deadline=DEADLINE)
    assert found is not None
    assert found.lease == lease
    seen: list[str] = []
    async with aclosing(client.watch(beacon, start=Revision(attached.revision))) as batches:
        async with asyncio.timeout(WITHIN_SECONDS):
            while "PUT" not in seen:
                seen += [event.change.name for event in (await anext(batches)).events]
            await client.revoke(lease, deadline=DEADLINE)
            while "DELETE" not in seen:
                seen += [event.change.name for event in (await anext(batches)).events]
    assert seen == ["PUT", "DELETE"]


def needs_etcd() -> None:
    try:
        find_etcd()
    except EtcdNotFound:
        pytest.skip("no etcd here")


async def test_sidecars_reach_etcd_through_the_charts_proxy(real_etcd: EtcdProcess | None, tmp_path: Path) -> None:
    if real_etcd is None:
        pytest.skip("no etcd here")
    client_port, metrics_port = free_ports(2)
    arguments = [
        f"--endpoints={real_etcd.endpoint}" if argument.startswith("--endpoints=")
        else here(argument, {"2379": client_port, "2381": metrics_port})
        for argument in container("Deployment", "leasehold-etcd-proxy")["args"]
    ]  # fmt: skip
    async with (
        running(arguments, {}, tmp_path / "proxy.log"),
        EtcdClient(EtcdConfig([f"http://127.0.0.1:{client_port}"])) as client,
    ):
        await serving(client)
        await used_as_a_sidecar_would(client)


async def test_the_bundled_etcd_starts_with_what_the_chart_tells_it(tmp_path: Path) -> None:
    needs_etcd()
    it = container("StatefulSet", "leasehold-etcd")
    client_port, peer_port, metrics_port = free_ports(3)
    ports = {"2379": client_port, "2380": peer_port, "2381": metrics_port}
    environment = {"ETCD_NAME": "leasehold-etcd-0"}
    for variable in it["env"]:
        if "value" in variable:
            environment[variable["name"]] = here(variable["value"].replace("$(ETCD_NAME)", "leasehold-etcd-0"), ports)
    environment["ETCD_DATA_DIR"] = str(tmp_path / "data")
    async with (
        running((), environment, tmp_path / "etcd.log"),
        EtcdClient(EtcdConfig([f"http://127.0.0.1:{client_port}"])) as client,
        aiohttp.ClientSession() as session,
    ):
        await serving(client)
        await used_as_a_sidecar_would(client)
        # The probes' paths came with etcd 3.5.12; the chart pins a newer one than what may be here.
        known = (parse_version(find_etcd().version) or (0, 0, 0)) >= (3, 5, 12)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert it[probe]["httpGet"]["port"] == "metrics"
            path = it[probe]["httpGet"]["path"] if known else "/health"
            async with session.get(f"http://127.0.0.1:{metrics_port}{path}") as answer:
                assert answer.status == 200, path
