"""The definitions, the client and the controller beside a real Kubernetes API server, where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import yaml

from leasehold.control_plane.kubernetes.api_server import Access, ApiServer
from leasehold.control_plane.kubernetes.controller import Controller
from leasehold.control_plane.kubernetes.crds import crd
from leasehold.control_plane.kubernetes.kinds import API_VERSION, KINDS, OWNER, RULE, Kind
from leasehold.control_plane.ticking import MonotonicClock
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import OwnerName, Revision, RuleName, Tenant
from leasehold.protocol.store import Put, Txn
from leasehold.protocol.transactions import Authority
from tests.fakes.etcd import FakeEtcd
from tests.helm.chart import CHART, rendered
from tests.integration.real_api_server import MERGE, Cluster, assets, running_api_server
from tests.unit.control_plane.kubernetes.objects import OWNER_SPEC, RULE_SPEC, changed
from tests.unit.control_plane.kubernetes.test_crds import CROSSED, MALFORMED

pytestmark = [
    pytest.mark.skipif(
        assets() is None, reason="no kube-apiserver: KUBEBUILDER_ASSETS names no folder that has one (envtest)"
    ),
    pytest.mark.asyncio(loop_scope="module"),
]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPECS = {OWNER: OWNER_SPEC, RULE: RULE_SPEC}


def where(kind: Kind, name: str = "") -> str:
    return f"/apis/{API_VERSION}/{kind.plural}" + (f"/{name}" if name else "")


def body(kind: Kind, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": {"name": name}, "spec": spec}


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await what():
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """With our definitions installed, from the chart's files."""
    binaries = assets()
    assert binaries is not None
    async with running_api_server(binaries, tmp_path_factory.mktemp("cluster")) as it:
        for kind in KINDS:
            definition = yaml.safe_load((CHART / f"files/crds/{kind.plural}.yaml").read_text())
            status, answer = await it.ask("POST", DEFINITIONS, definition)
            assert status == 201, answer
            await until(lambda kind=kind: established(it, kind))
        yield it


async def established(cluster: Cluster, kind: Kind) -> bool:
    _, answer = await cluster.ask("GET", f"{DEFINITIONS}/{crd(kind)['metadata']['name']}")
    conditions = {each["type"]: each["status"] for each in answer.get("status", {}).get("conditions") or ()}
    assert conditions.get("NonStructuralSchema") != "True", answer["status"]
    return conditions.get("Established") == "True" and (await cluster.ask("GET", where(kind)))[0] == 200


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_good_object_comes_back_as_it_was_said(cluster: Cluster, kind: Kind) -> None:
    status, answer = await cluster.ask("POST", where(kind), body(kind, "good", dict(SPECS[kind])))
    assert status == 201, answer
    _, stored = await cluster.ask("GET", where(kind, "good"))
    assert stored["spec"] == SPECS[kind]
    assert (await cluster.ask("DELETE", where(kind, "good")))[0] == 200


@pytest.mark.parametrize(
    ("kind", "changes", "said"), CROSSED, ids=lambda value: str(getattr(value, "name", value))[:50]
)
async def test_the_checks_in_cel_refuse_what_they_are_for(
    cluster: Cluster, kind: Kind, changes: dict[str, Any], said: str
) -> None:
    status, answer = await cluster.ask("POST", where(kind), body(kind, "bad", changed(SPECS[kind], changes)))
    assert status == 422, answer
    assert said in answer["message"]


@pytest.mark.parametrize(
    ("kind", "changes", "place"), MALFORMED, ids=lambda value: str(getattr(value, "name", value))[:50]
)
async def test_the_schema_refuses_what_has_not_its_form(
    cluster: Cluster, kind: Kind, changes: dict[str, Any], place: str
) -> None:
    status, answer = await cluster.ask("POST", where(kind), body(kind, "bad", changed(SPECS[kind], changes)))
    assert status == 422, answer
    assert place.rstrip(".0") in answer["message"]


async def test_a_field_that_is_none_is_refused_by_name_and_an_unquoted_on_with_a_hint(cluster: Cluster) -> None:
    status, answer = await cluster.ask("POST", where(RULE), body(RULE, "bad", changed(RULE_SPEC, {"gracee": "1s"})))
    assert (status, 'unknown field "spec.gracee"' in answer["message"]) == (400, True), answer
    spec = changed(RULE_SPEC, {"on": None, "true": "create"})
    status, answer = await cluster.ask("POST", where(RULE), body(RULE, "bad", spec))
    assert status == 422
    assert "must be written with quotes" in answer["message"]


async def test_a_name_that_is_too_long_for_a_key_is_refused(cluster: Cluster) -> None:
    status, answer = await cluster.ask("POST", where(OWNER), body(OWNER, "a" * 129, dict(OWNER_SPEC)))
    assert (status, "expected at most 128 characters" in answer["message"]) == (422, True), answer


async def test_objects_come_into_force_change_and_go(cluster: Cluster) -> None:
    async with (
        FakeEtcd() as fake,
        EtcdClient(EtcdConfig([fake.endpoint])) as client,
        ApiServer(Access(cluster.url, cluster.token_file, cluster.ca_file)) as api,
    ):
        keys = Keyspace(Tenant(f"t-{uuid4().hex}"))
        fence = (await client.commit(Txn((), (Put(keys.shard(0), b"{}"),)), deadline=5)).revision
        controller = Controller(
            api, client, keys, MonotonicClock(), lambda: Authority(0, Revision(fence), Revision(0)), selector="",
            resync_seconds=3600, deadline=5, jitter=lambda: 0.0,
        )  # fmt: skip
        running = asyncio.create_task(controller.run())

        async def condition(kind: Kind, name: str, status: str) -> bool:
            _, answer = await cluster.ask("GET", where(kind, name))
            conditions = answer.get("status", {}).get("conditions", [{}])
            return bool(
                conditions[0].get("status") == status
                and conditions[0]["observedGeneration"] == answer["metadata"]["generation"]
            )

        try:
            await cluster.ask("POST", where(RULE), body(RULE, "create-blob", dict(RULE_SPEC)))
            await until(lambda: condition(RULE, "create-blob", "False"))  # its owner is not there yet
            await cluster.ask("POST", where(OWNER), body(OWNER, "blobs", dict(OWNER_SPEC)))
            await until(lambda: condition(RULE, "create-blob", "True"))
            await until(lambda: condition(OWNER, "blobs", "True"))
            nonsense = {"spec": {"match": {"path": "no-path"}}}
            status, _ = await cluster.ask("PATCH", where(RULE, "create-blob"), nonsense, kind=MERGE)
            assert status == 200
            await until(lambda: condition(RULE, "create-blob", "False"))
            assert await client.get(keys.rule(RuleName("create-blob")), deadline=5) is not None
            await cluster.ask("DELETE", where(RULE, "create-blob"))
            await cluster.ask("DELETE", where(OWNER, "blobs"))

            async def gone() -> bool:
                owner = await client.get(keys.owner(OwnerName("blobs")), deadline=5)
                return owner is None and await client.get(keys.rule(RuleName("create-blob")), deadline=5) is None

            await until(gone)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.mark.parametrize("name", ["bundled-cluster-with-proxy", "ha", "everything-said"])
async def test_the_api_server_takes_every_object_of_the_chart(cluster: Cluster, name: str, tmp_path: Path) -> None:
    status, _ = await cluster.ask("GET", "/apis/apps/v1")
    if status != 200:
        pytest.skip("this API server serves nothing but custom resources")
    for thing in rendered(name):
        if thing["kind"] in {"CustomResourceDefinition", "ServiceMonitor", "PodMonitor", "PrometheusRule"}:
            continue
        version = thing["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        _, served = await cluster.ask("GET", root)
        plural = next(each["name"] for each in served["resources"] if each["kind"] == thing["kind"])
        namespace = thing["metadata"].get("namespace")
        if namespace:
            await cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        path = f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
        status, answer = await cluster.ask("POST", f"{path}?dryRun=All", thing)
        assert status == 201, answer
