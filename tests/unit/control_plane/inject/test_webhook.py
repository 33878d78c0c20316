"""The webhook over real TLS, asked as an API server asks: with reviews of many shapes of pods, and with nonsense."""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import kubernetes_validate
import pytest

from leasehold.control_plane.inject import webhook as webhook_module
from leasehold.control_plane.inject.api import ApiAccess, ApiServerClient
from leasehold.control_plane.inject.certificates.authority import issue
from leasehold.control_plane.inject.certificates.keeper import CertificateKeeper
from leasehold.control_plane.inject.certificates.kubernetes import KubernetesCertificates
from leasehold.control_plane.inject.certificates.material import Certificate
from leasehold.control_plane.inject.namespaces import AskedNamespaces, TrustedSelectors
from leasehold.control_plane.inject.server import TlsServer
from leasehold.control_plane.inject.webhook import Webhook
from leasehold.control_plane.kubernetes.kinds import RULE
from leasehold.control_plane.kubernetes.webhook import ValidatingWebhook
from leasehold.control_plane.metrics import Metrics
from tests.fakes.kubernetes import FakeKubernetes, NotReached
from tests.unit.control_plane.inject.clock import WallClock
from tests.unit.control_plane.inject.test_certificates import NAMES, PLACES
from tests.unit.control_plane.kubernetes.objects import RULE_SPEC, changed, thing
from tests.unit.control_plane.kubernetes.test_review import review as review_of_object
from tests.unit.injection.pods import INJECTED, LEFT_ALONE, OWNERS, review, settings
from tests.unit.injection.pods import NAMES as REVIEWS


@dataclass
class Scene:
    kubernetes: FakeKubernetes
    server: TlsServer
    keeper: CertificateKeeper
    webhook: Webhook
    metrics: Metrics

    @property
    def port(self) -> int:
        assert self.server.address is not None
        return self.server.address[1]

    async def admit(self, what: Any) -> Any:
        return await self.kubernetes.admit(what, self.port)

    def counted(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("leasehold_admissions_total", {"result": result}) or 0.0

    async def post(self, body: bytes, path: str = "/v1/inject") -> tuple[int, Any]:
        trust = ssl.create_default_context(cadata=self.kubernetes.bundles()[0].decode())
        name = f"{PLACES.service}.{PLACES.namespace}.svc"
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"https://127.0.0.1:{self.port}{path}", data=body, ssl=trust, server_hostname=name) as answer,
        ):
            return answer.status, await answer.json() if answer.content_type == "application/json" else None


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with FakeKubernetes() as kubernetes:
        kubernetes.webhooks()
        kubernetes.namespace("shop", {"leasehold.dev/injection": "enabled"})
        api, clock, metrics = ApiServerClient(ApiAccess(kubernetes.url)), WallClock(), Metrics()
        webhook = Webhook(settings(), lambda: OWNERS, AskedNamespaces(api, clock), metrics)
        server = TlsServer([*webhook.routes(), *ValidatingWebhook(metrics).routes()], "127.0.0.1", 0)

        async def serve(certificate: Certificate) -> None:
            await server.use(certificate.pem, certificate.key)

        keeper = CertificateKeeper(
            KubernetesCertificates(api, PLACES), NAMES, serve, clock, leading=lambda: True,
            wall=lambda: datetime.now(UTC) + clock.passed,
        )  # fmt: skip
        await keeper.round()
        yield Scene(kubernetes, server, keeper, webhook, metrics)
        await server.close()
        await api.close()


@pytest.mark.parametrize("name", REVIEWS)
async def test_every_shape_of_pod_gets_what_the_core_decides_and_is_never_rejected(scene: Scene, name: str) -> None:
    pod, response = await scene.admit(review(name))
    assert response["allowed"] is True
    if name in INJECTED:
        kubernetes_validate.validate(pod, "1.37", strict=True)
        assert pod != review(name)["request"]["object"]
        assert scene.metrics.registry.get_sample_value("leasehold_admission_seconds_count") == 1
        assert scene.counted("injected") == 1
    else:
        assert pod == review(name)["request"]["object"]
        assert scene.counted(LEFT_ALONE[name]) == 1
        warned = any(LEFT_ALONE[name] in warning for warning in response.get("warnings", ()))
        assert warned == (name != "opted-out-by-pod"), "who expected it is told, who did not want it is not"


async def test_asked_again_about_what_it_injected_it_changes_nothing(scene: Scene) -> None:
    again = review("deployment")
    again["request"]["object"], _ = await scene.admit(review("deployment"))
    pod, response = await scene.admit(again)
    assert pod == again["request"]["object"]
    assert "patch" not in response
    assert "warnings" not in response


async def test_the_namespaces_own_label_counts_and_is_asked_for(scene: Scene) -> None:
    scene.kubernetes.namespace("other")
    elsewhere = review("deployment")
    elsewhere["request"]["namespace"] = "other"
    assert (await scene.admit(elsewhere))[1].get("patch") is None
    assert scene.counted("not-selected") == 1
    elsewhere["request"]["namespace"] = "gone"
    _, response = await scene.admit(elsewhere)
    assert "labels of the namespace could not be read" in response["warnings"][0]
    assert scene.counted("namespace-unknown") == 1


async def test_labels_of_a_namespace_are_remembered_for_a_moment_only(scene: Scene) -> None:
    for _ in range(3):
        await scene.admit(review("deployment"))
    assert scene.kubernetes.calls.count("GET /api/v1/namespaces/shop") == 1


async def test_without_an_api_server_the_selector_is_trusted() -> None:
    webhook = Webhook(settings(revision="canary"), lambda: None, TrustedSelectors("canary"), Metrics())
    answer = await webhook.answer(webhook_module.read_review(as_bytes(review("deployment"))))
    assert answer.operations


@pytest.mark.parametrize(
    ("change", "result"),
    [({"operation": "UPDATE"}, "not-a-new-pod"), ({"kind": {"group": "apps", "kind": "Pod"}}, "not-a-new-pod"),
     ({"object": None}, "not-selected"), ({"object": {"spec": []}}, "no-app-container")],
)  # fmt: skip
async def test_what_is_no_new_pod_is_allowed_as_it_is(scene: Scene, change: Any, result: str) -> None:
    if result == "not-selected":
        scene.kubernetes.namespace("shop")
    odd = review("deployment")
    odd["request"] |= change
    response = (await scene.post(as_bytes(odd)))[1]["response"]
    assert (response["allowed"], response.get("patch"), scene.counted(result)) == (True, None, 1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "expected JSON"), (b"[]", "expected kind: AdmissionReview"), (b"[" * 100_000, "expected JSON"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "expected apiVersion"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {}}', "a request with a uid"),
    ],
)  # fmt: skip
async def test_what_is_no_review_is_refused_and_says_what_was_expected(
    scene: Scene, body: bytes, expected: str
) -> None:
    status, answer = await scene.post(body)
    assert (status, answer["error"], scene.counted("bad-review")) == (400, "bad-review", 1)
    assert expected in answer["message"]


async def test_a_body_has_a_bound(scene: Scene) -> None:
    status, answer = await scene.post(b"x" * (9 * 1024 * 1024))
    assert (status, answer["error"]) == (413, "too-large")


async def test_an_answer_has_a_deadline(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        async def labels(self, name: str) -> dict[str, str]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr(webhook_module, "DEADLINE_SECONDS", 0.05)
    monkeypatch.setattr(scene.webhook, "_namespaces", Slow())
    status, answer = await scene.post(as_bytes(review("deployment")))
    assert (status, answer["error"]) == (504, "too-late")


async def test_a_mistake_of_ours_is_an_error_and_the_failure_policy_decides(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.webhook, "_owners", lambda: 1 / 0)
    with pytest.raises(NotReached, match=r"500: .*crashed"):
        await scene.admit(review("deployment"))


async def test_who_is_trusted_by_no_bundle_is_not_asked(scene: Scene) -> None:
    scene.kubernetes.webhooks()  # applied again by a chart, without the bundle
    with pytest.raises(NotReached):
        await scene.admit(review("deployment"))
    await scene.keeper.round()
    await scene.admit(review("deployment"))


async def test_a_rotated_certificate_is_served_without_a_restart_and_old_connections_go_on(scene: Scene) -> None:
    trust = ssl.create_default_context(cadata=scene.kubernetes.bundles()[0].decode())
    name = f"{PLACES.service}.{PLACES.namespace}.svc"
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port, ssl=trust, server_hostname=name)

    def served(stream: asyncio.StreamWriter) -> bytes:
        found: bytes = stream.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found

    before = served(writer)
    authority = scene.keeper._known
    assert authority is not None
    fresh = webhook_issue(authority.current)
    await scene.server.use(fresh.pem, fresh.key)
    _, second = await asyncio.open_connection("127.0.0.1", scene.port, ssl=trust, server_hostname=name)
    assert served(second) != before
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 404")
    for one in (writer, second):
        one.close()
    await scene.admit(copy.deepcopy(review("deployment")))


def webhook_issue(authority: Certificate) -> Certificate:
    return issue(authority, NAMES, datetime.now(UTC), timedelta(days=1))


def as_bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


async def test_who_asks_for_no_name_is_shown_the_same_certificate(scene: Scene) -> None:
    trust = ssl.create_default_context(cadata=scene.kubernetes.bundles()[0].decode())
    trust.check_hostname = False
    _, writer = await asyncio.open_connection("127.0.0.1", scene.port, ssl=trust, server_hostname="")
    found = writer.get_extra_info("ssl_object").getpeercert()
    assert ("DNS", f"{PLACES.service}.{PLACES.namespace}.svc") in found["subjectAltName"]
    writer.close()


async def test_an_old_version_of_tls_is_refused(scene: Scene) -> None:
    old = ssl.create_default_context(cadata=scene.kubernetes.bundles()[0].decode())
    old.check_hostname = False
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", scene.port, ssl=old, server_hostname="")


# --- owners and rules -------------------------------------------------------------------------------------------


async def validated(scene: Scene, body: bytes) -> tuple[int, Any]:
    return await scene.post(body, "/v1/validate")


@pytest.mark.parametrize(("spec", "allowed"), [({}, True), ({"grace": "soon"}, False)])
async def test_rules_as_objects_are_allowed_or_denied_over_the_same_port(
    scene: Scene, spec: dict[str, Any], *, allowed: bool
) -> None:
    asked = review_of_object(RULE, thing(RULE, "blobs", changed(RULE_SPEC, spec)))
    status, said = await validated(scene, json.dumps(asked).encode())
    assert status == 200
    assert said["response"]["uid"] == "705ab4f5"
    assert said["response"]["allowed"] is allowed
    result = "allowed" if allowed else "denied"
    assert scene.metrics.registry.get_sample_value("leasehold_validations_total", {"result": result}) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"{}", b"\xff"])
async def test_what_is_no_review_of_an_object_is_refused_with_what_was_expected(scene: Scene, body: bytes) -> None:
    status, said = await validated(scene, body)
    assert status == 400
    assert said["error"] == "bad-review"


async def test_an_object_that_is_too_large_is_refused_and_counted(scene: Scene) -> None:
    status, said = await validated(scene, b"[" * (webhook_module.MOST_BYTES + 1))
    assert (status, said["error"]) == (413, "too-large")
    assert scene.metrics.registry.get_sample_value("leasehold_validations_total", {"result": "too-large"}) == 1
