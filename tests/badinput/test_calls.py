"""HTTP calls to our own ports, by whoever reaches them: a clear answer, nothing changed, nobody stalled."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from leasehold.control_plane.inject.review import BadReview, read_review
from leasehold.control_plane.kubernetes.kinds import GROUP
from leasehold.control_plane.kubernetes.review import BadReview as BadObjectReview
from leasehold.control_plane.kubernetes.review import validate_review
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.world import World, rules, world

BAD_QUERIES = [
    ("/v1/resources?limit=x", 400, "bad query"),
    ("/v1/resources?limit=1.5", 400, "bad query"),
    ("/v1/resources?limit=" + "9" * 5000, 400, "bad query"),
    ("/v1/resources?after=x", 400, "expected <owner>/<type>/<id>"),
    ("/v1/resources?after=", 400, "expected <owner>/<type>/<id>"),
    ("/v1/resources?after=..%2F..%2Fx", 400, "expected <owner>/<type>/<id>"),
    ("/v1/resources?state=gone", 400, "bad query"),
    ("/v1/resources/store", 404, ""),
    ("/v1/resources/store/blob/%00", 404, ""),
    ("/v1/resources/store/blob/..%2F..%2Fx", 404, ""),
    ("/v1/resources/%FF/blob/x", 404, ""),
    ("/v1/../../etc/passwd", 404, ""),
    ("/..%2f..%2fetc/passwd", 404, ""),
    ("/nothing", 404, ""),
]
GOOD_QUERIES = ["limit=-1", "limit=0", "limit=1000000", "owner=%00", "type=%0d%0aX:%20y", "owner=" + "a" * 4000, "x=y"]
METHODS = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with FakeEtcd() as fake, world(fake.endpoint) as it:
        yield it


@pytest.fixture
async def client(here: World) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    leading = await here.leading(rules(here.owner))
    async with TestClient(TestServer(leading.web_app())) as it:
        yield it


async def test_whatever_the_control_plane_is_asked_it_answers_clearly_and_goes_on(client: TestClient) -> None:  # type: ignore[type-arg]
    for path, status, told in BAD_QUERIES:
        answer = await client.get(path)
        text = await answer.text()
        assert (answer.status, told in text) == (status, True), (path[:60], answer.status, text[:200])
        assert "Traceback" not in text
    for query in GOOD_QUERIES:
        answer = await client.get(f"/v1/resources?{query}")
        assert (answer.status, (await answer.json())["resources"]) == (200, []), query[:60]
    for method in METHODS:
        for path in ("/v1/resources", "/v1/status", "/v1/holders", "/metrics", "/livez"):
            answer = await client.request(method, path, data=b"{}")
            assert answer.status == 405, (method, path)
    answer = await client.get("/livez", headers={"X": "a" * 20_000})
    assert answer.status == 400, "a head has a bound"
    assert (await client.get("/livez")).status == 200


REQUEST = {"uid": "u", "operation": "CREATE", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "object": {}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b"{", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"9" * 5000, "expected JSON"),
        (b"null", "expected kind: AdmissionReview"),
        (b"[]", "expected kind: AdmissionReview"),
        (b'"AdmissionReview"', "expected kind: AdmissionReview"),
        (b"{}", "expected kind: AdmissionReview"),
        (b'{"kind": ["AdmissionReview"]}', "expected kind: AdmissionReview"),
        (b'{"kind": "AdmissionReview"}', "expected apiVersion"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "expected apiVersion"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', "expected a request with a uid"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": []}', "request with a uid"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": 7}}', "with a uid"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": ""}}', "with a uid"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_no_review_is_told_what_was_expected(body: bytes, expected: str) -> None:
    with pytest.raises(BadReview, match=expected):
        read_review(body)


@pytest.mark.parametrize("odd", [None, 7, "x", [], {"kind": 7}, {"group": [], "kind": None}, True])
@pytest.mark.parametrize("field", ["kind", "object", "namespace", "operation", "dryRun"])
def test_odd_fields_of_a_review_are_read_as_nothing_asked(field: str, odd: object) -> None:
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {**REQUEST, field: odd}}
    question = read_review(json.dumps(review).encode())
    assert question.uid == "u"
    assert isinstance(question.kind, str)
    assert isinstance(question.object, dict)


@pytest.mark.parametrize(
    "odd", [None, 7, "x", [], {}, {"metadata": 7}, {"metadata": {"name": 7}, "spec": []}, {"spec": 1}]
)
def test_an_odd_object_of_ours_is_denied_or_no_review_and_never_let_through(odd: object) -> None:
    request = {"uid": "u", "operation": "CREATE", "kind": {"group": GROUP, "kind": "Owner"}, "object": odd}
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    if not isinstance(odd, dict):
        with pytest.raises(BadObjectReview, match="expected the object"):
            validate_review(review)
        return
    answer = validate_review(review)["response"]
    assert answer["allowed"] is False
    assert answer["status"]["message"]
