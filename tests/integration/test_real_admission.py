"""Pods and our webhook beside a real Kubernetes API server, where there is a whole one: it asks us, over TLS, trusting
nobody but the ``caBundle`` that we published, and applies what we answer."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from leasehold.control_plane.inject.certificates.keeper import CertificateKeeper
from leasehold.control_plane.inject.certificates.kubernetes import KubernetesCertificates
from leasehold.control_plane.inject.certificates.material import Certificate
from leasehold.control_plane.inject.namespaces import AskedNamespaces
from leasehold.control_plane.inject.server import TlsServer
from leasehold.control_plane.inject.webhook import Webhook
from leasehold.control_plane.kubernetes.api_server import Access, ApiServer
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.ticking import MonotonicClock
from leasehold.injection.conventions import SIDECAR_CONTAINER
from tests.helm.chart import NAMESPACE, one, rendered
from tests.integration.real_api_server import Cluster, assets, running_api_server
from tests.integration.test_real_api_server import until
from tests.unit.control_plane.inject.test_certificates import NAMES, PLACES
from tests.unit.injection.pods import INJECTED, OWNERS, review, settings

pytestmark = [
    pytest.mark.skipif(
        assets() is None, reason="no kube-apiserver: KUBEBUILDER_ASSETS names no folder that has one (envtest)"
    ),
    pytest.mark.asyncio(loop_scope="module"),
]
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
PODS = "/api/v1/namespaces/shop/pods?dryRun=All"
OF_A_CLUSTER = ("runtimeClassName", "priorityClassName", "priority", "preemptionPolicy")
"""Other objects would have to be there for these."""


@dataclass
class Scene:
    cluster: Cluster
    keeper: CertificateKeeper
    served: list[Certificate]

    async def made(self, name: str) -> dict[str, Any]:
        """The pod as it would be stored."""
        document = copy.deepcopy(review(name)["request"]["object"])
        document["spec"] = {key: value for key, value in document["spec"].items() if key not in OF_A_CLUSTER}
        status, answer = await self.cluster.ask("POST", PODS, document)
        assert status == 201, answer
        return answer

    async def injects(self) -> bool:
        return is_injected(await self.made("deployment"))


def is_injected(pod: dict[str, Any]) -> bool:
    every = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    return any(container["name"] == SIDECAR_CONTAINER for container in every)


async def install(cluster: Cluster, port: int) -> None:
    """The chart's objects that an API server needs to find us. No network leads to a Service here: a name does."""
    things = rendered("external")
    for name, labels in ((NAMESPACE, {}), ("shop", {"leasehold.dev/injection": "enabled"})):
        await cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    service = {"type": "ExternalName", "externalName": "localhost"}
    configuration = copy.deepcopy(dict(one(things, "MutatingWebhookConfiguration")))
    for webhook in configuration["webhooks"]:
        webhook["clientConfig"]["service"]["port"] = port
    for path, document in (
        (f"/api/v1/namespaces/{NAMESPACE}/services", {"metadata": {"name": PLACES.service}, "spec": service}),
        (SECRETS, one(things, "Secret")),
        (CONFIGURATIONS, configuration),
    ):
        status, answer = await cluster.ask("POST", path, document)
        assert status == 201, answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    binaries = assets()
    assert binaries is not None
    async with running_api_server(binaries, tmp_path_factory.mktemp("cluster")) as cluster:
        if (await cluster.ask("GET", "/apis/apps/v1"))[0] != 200:
            pytest.skip("this API server serves nothing but custom resources")
        async with ApiServer(Access(cluster.url, cluster.token_file, cluster.ca_file)) as api:
            clock, served = MonotonicClock(), []
            webhook = Webhook(settings(), lambda: OWNERS, AskedNamespaces(api, clock), Metrics())
            server = TlsServer(webhook.routes(), "localhost", 0)

            async def serve(certificate: Certificate) -> None:
                served.append(certificate)
                await server.use(certificate.pem, certificate.key)

            keeper = CertificateKeeper(
                KubernetesCertificates(api, PLACES), NAMES, serve, clock, leading=lambda: True,
                wall=lambda: datetime.now(UTC),
            )  # fmt: skip
            # The port is only known when there is a certificate, and the certificate waits for nothing but the Secret.
            await cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            await keeper.round()
            assert server.address is not None, keeper.trouble
            await cluster.ask("DELETE", f"{SECRETS}/{PLACES.secret}")
            await install(cluster, server.address[1])
            await keeper.round()
            assert keeper.trouble == ""
            scene = Scene(cluster, keeper, served)
            await until(scene.injects)  # API servers hear of a configuration a moment later
            yield scene
            await server.close()


@pytest.mark.parametrize("name", INJECTED)
async def test_a_real_api_server_takes_every_injected_pod(scene: Scene, name: str) -> None:
    assert is_injected(await scene.made(name))


async def test_a_rotated_certificate_is_believed_by_a_real_api_server(scene: Scene) -> None:
    path = f"{SECRETS}/{PLACES.secret}"
    _, secret = await scene.cluster.ask("GET", path)
    status, answer = await scene.cluster.ask("PUT", path, {**secret, "data": {}})
    assert status == 200, answer
    before = scene.served[-1]
    await scene.keeper.round()
    assert scene.served[-1].issuer != before.issuer
    await until(scene.injects)
