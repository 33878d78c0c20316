"""What is asked of an owner about an intent, and what its answers mean: a table."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leasehold.control_plane.owners.lookup import Found, NotThere, Question, Unclear, question, understood
from leasehold.control_plane.owners.outcome import Answer, Fetched, Verdict
from leasehold.protocol.lookups import Lookup, Shown
from leasehold.protocol.names import CallId
from leasehold.protocol.records import HolderKind, IntentRecord
from leasehold.protocol.rules import Calls, DeleteCall, Match, On, Owner, Rule, Source
from tests.unit.control_plane.world import blob

CALL = CallId("0123abcd")
BY_KEY = Lookup("/calls?key={key}", id=Shown(json="items[0].id"), missing="length(items) == `0`")
BY_ID = Lookup("/blobs/{id}", key=Shown(header="Idempotency-Key"))
RULE = Rule("make", "store", "blob", On.CREATE, Match(), Source(json="id"), HolderKind.PROCESS, id_pattern="[a-z0-9]+")
TOLD = IntentRecord("make", "POST", "/v1", CALL, sent_as="Idempotency-Key")
NAMED = replace(TOLD, resource=tuple(blob("x1")))


def owner(lookup: Lookup | None) -> Owner:
    return Owner("store", ("store:80",), "http://store", DeleteCall("/v1/{id}"), lookup=lookup)


def asked(lookup: Lookup = BY_KEY, intent: IntentRecord = TOLD) -> Question:
    found = question(CALL, intent, RULE, owner(lookup))
    assert isinstance(found, Question), found
    return found


def answer(body: object = None, status: int = 200, **headers: str) -> Fetched:
    return Fetched(status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("lookup", "intent", "reason"),
    [
        (None, TOLD, "no-lookup"),
        (BY_KEY, replace(TOLD, sent_as=""), "key-not-told"),
        (BY_KEY, replace(TOLD, idempotency_key="chosen-by-the-app"), "key-not-ours"),
        (BY_KEY, replace(TOLD, idempotency_key=CALL.upper()), "key-not-ours"),
        (BY_ID, TOLD, "id-unknown"),
        (BY_ID, replace(TOLD, resource=("store", "blob", "..")), "unsafe-id"),
    ],
)
def test_what_cannot_be_asked_is_said_with_a_reason(lookup: Lookup | None, intent: IntentRecord, reason: str) -> None:
    found = question(CALL, intent, RULE, owner(lookup))
    assert isinstance(found, Unclear)
    assert found.reason == reason


def test_a_type_may_have_a_lookup_of_its_own() -> None:
    both = replace(owner(BY_KEY), types={"blob": Calls(lookup=replace(BY_KEY, path="/other/{key}"))})
    found = question(CALL, TOLD, RULE, both)
    assert isinstance(found, Question)
    assert found.target == f"/other/{CALL}"


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_no_id_leaves_its_place_in_the_path(text: str) -> None:
    target = Lookup("/blobs/{id}?x=1", key=Shown(json="k")).target(text.encode("utf-8", "replace").decode())
    assert target.startswith("/blobs/")
    assert target.endswith("?x=1")
    assert not set(target[len("/blobs/") : -len("?x=1")]) & set("/?#&= ")


@pytest.mark.parametrize(
    ("lookup", "intent", "said", "means"),
    [
        (BY_KEY, TOLD, answer({"items": [{"id": "x1"}]}), Found(blob("x1"), f"call:{CALL}")),
        (BY_KEY, TOLD, answer({"items": [{"id": 7}]}), Found(blob("7"), f"call:{CALL}")),
        (BY_KEY, TOLD, answer({"items": []}), NotThere()),
        (BY_KEY, TOLD, answer({"items": [{}]}), "no-id"),
        (BY_KEY, TOLD, answer({}), "no-id"),
        (BY_KEY, TOLD, answer({"error": "no"}, 404), "unclear-answer"),
        (BY_KEY, TOLD, answer({"items": []}, 500), "unclear-answer"),
        (BY_KEY, TOLD, answer({"items": []}, 302), "unclear-answer"),
        (BY_KEY, TOLD, Answer(Verdict.UNKNOWN, "reset"), "unclear-answer"),
        (BY_KEY, TOLD, Fetched(200, {}, b"<html>", True), "no-id"),
        (BY_KEY, TOLD, Fetched(200, {}, b'{"items": []}', False), "unclear-answer"),
        (BY_KEY, TOLD, answer({"items": [{"id": "NOT fitting"}]}), "unusable-id"),
        (BY_KEY, TOLD, answer({"items": [{"id": "x" * 2000}]}), "unusable-id"),
        (BY_KEY, NAMED, answer({"items": [{"id": "x1"}]}), Found(blob("x1"), f"call:{CALL}")),
        (BY_KEY, NAMED, answer({"items": [{"id": "x2"}]}), "other-id"),
        (replace(BY_KEY, missing=None), TOLD, answer(None, 404), NotThere()),
        (replace(BY_KEY, missing=None), TOLD, answer(None, 410), NotThere()),
        (replace(BY_KEY, missing=None), TOLD, answer({"items": []}), "no-id"),
        (replace(BY_KEY, missing="items"), TOLD, answer({"items": [1]}), "no-id"),
        (replace(BY_KEY, key=Shown(json="items[0].key")), TOLD, answer({"items": [{"id": "x1", "key": CALL}]}),
         Found(blob("x1"), f"call:{CALL}")),
        (replace(BY_KEY, key=Shown(json="items[0].key")), TOLD, answer({"items": [{"id": "x1"}]}), "other-key"),
        (replace(BY_KEY, incarnation=Shown(json="items[0].uid")), TOLD, answer({"items": [{"id": "x1", "uid": "u"}]}),
         Found(blob("x1"), "uid:u")),
        (replace(BY_KEY, incarnation=Shown(json="items[0].uid")), TOLD, answer({"items": [{"id": "x1"}]}),
         "no-incarnation"),
        (BY_ID, NAMED, answer({}, Idempotency_Key=CALL), Found(blob("x1"), f"call:{CALL}")),
        (BY_ID, NAMED, answer({}, Idempotency_Key=CALL, ETag='"e"'), Found(blob("x1"), 'etag:"e"')),
        (BY_ID, NAMED, answer({}, Idempotency_Key="another"), "other-key"),
        (BY_ID, NAMED, answer({}), "other-key"),
        (BY_ID, replace(NAMED, sent_as=""), answer({}, Idempotency_Key=CALL), "other-key"),
        (BY_ID, replace(NAMED, idempotency_key="app"), answer({}, Idempotency_Key="app"), "other-key"),
        (BY_ID, NAMED, answer(None, 404), NotThere()),
    ],
)  # fmt: skip
def test_an_answer_means(
    lookup: Lookup, intent: IntentRecord, said: Fetched | Answer, means: Found | NotThere | str
) -> None:
    found = understood(asked(lookup, intent), said)
    assert (found.reason if isinstance(found, Unclear) else found) == means


@given(st.binary(max_size=200), st.integers(200, 599))
def test_no_answer_breaks_us_and_none_that_we_do_not_understand_concludes_anything(body: bytes, status: int) -> None:
    assert isinstance(understood(asked(), Fetched(status, {}, body)), Unclear | NotThere | Found)
    if status >= 300:
        assert isinstance(understood(asked(), Fetched(status, {}, body)), Unclear)
