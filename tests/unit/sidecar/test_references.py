"""References out of creations: what is read is right, and what cannot be read keeps everything of its type."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.names import CallId, Resource
from leasehold.protocol.rules import RuleSet, load_rules, warnings
from leasehold.protocol.transactions import MAX_REFERENCES
from leasehold.sidecar.observe.events import Creation
from leasehold.sidecar.observe.exchanges import Concluded
from leasehold.sidecar.observe.http2 import Http2Observer
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.observe.observer import Observer
from leasehold.sidecar.observe.references import Referring, read_references

OWNER = '{name: store, hosts: ["store.test"], endpoint: "http://store.test"}'


def rules(references: str, *, identity: str = "{json: id}", owners: str = OWNER, on: str = "create") -> RuleSet:
    return load_rules(
        f"""
owners: [{owners}]
rules:
  - name: compose
    owner: store
    type: manifest
    on: {on}
    match: {{method: POST, path: "/v1/manifests", status: [201]}}
    id: {identity}
    held_by: process
    body_limit: 2048
    references: {references}
""",
        "rules.yaml",
        {},
    )


PARTS = '[{owner: store, type: blob, ids: "parts[].blob_id"}]'
ASKED = '[{owner: store, type: blob, ids: "parts[].blob_id", from: request}]'


def blobs(*ids: str) -> tuple[Resource, ...]:
    return tuple(Resource("store", "blob", one) for one in ids)  # type: ignore[arg-type]


def message(start: str, body: bytes, *headers: str, chunked: bool = False) -> bytes:
    if chunked:
        framed = b"".join(b"%x\r\n%b\r\n" % (1, body[n : n + 1]) for n in range(len(body))) + b"0\r\n\r\n"
        return "\r\n".join((start, "Transfer-Encoding: chunked", *headers, "", "")).encode() + framed
    return "\r\n".join((start, f"Content-Length: {len(body)}", *headers, "", "")).encode() + body


class View:
    def __init__(self, rule_set: RuleSet) -> None:
        self.matcher = Matcher.compile(rule_set)


def observed(rule_set: RuleSet, request: bytes, response: bytes, step: int = 10**9) -> Creation:
    observer = Observer(View(rule_set), lambda: CallId("c"))
    pieces: list[Any] = []
    for n in range(0, len(request), step):
        pieces += observer.request(request[n : n + step]) or ()
    for n in range(0, len(response), step):
        pieces += observer.response(response[n : n + step]) or ()
    pieces += observer.response_end()
    (creation,) = (finding for piece in pieces if isinstance(piece, Concluded) for finding in piece.findings)
    assert isinstance(creation, Creation), creation
    return creation


def asking(body: bytes, *headers: str, chunked: bool = False) -> bytes:
    return message("POST /v1/manifests HTTP/1.1", body, "Host: store.test", *headers, chunked=chunked)


def answering(document: object, *headers: str) -> bytes:
    return message("HTTP/1.1 201 Created", json.dumps(document).encode(), *headers)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"parts": [{"blob_id": "a"}, {"blob_id": 7}]}, ("a", "7")), ({"parts": [{"blob_id": "a"}] * 3}, ("a",)),
        ({"parts": []}, ()),
    ],
)  # fmt: skip
def test_references_are_read_from_the_response(document: dict[str, object], expected: tuple[str, ...]) -> None:
    found = observed(rules(PARTS), asking(b"{}"), answering({"id": "m", **document}))
    assert (found.references, found.doubt) == (blobs(*expected), "")


@pytest.mark.parametrize("wrong", [{}, {"parts": None}, {"parts": 3}, {"parts": [{"blob_id": ["x"]}]},
                                   {"parts": [{"blob_id": ""}]}, {"parts": [{"blob_id": "a\nb"}]},
                                   {"parts": [{"blob_id": "x" * 1025}]}])  # fmt: skip
def test_what_cannot_be_read_refers_to_everything_of_the_type(wrong: dict[str, object]) -> None:
    found = observed(rules(PARTS), asking(b"{}"), answering({"id": "m", **wrong}))
    assert (found.references, found.doubt) == (blobs("*"), "references-unreadable")


def test_one_id_that_is_none_does_not_hide_the_others() -> None:
    found = observed(
        rules(PARTS), asking(b"{}"), answering({"id": "m", "parts": [{"blob_id": "a"}, {"blob_id": True}]})
    )
    assert found.references == blobs("*")


SHAPED = """
owners: [{name: store, hosts: ["store.test"], endpoint: "http://store.test"}]
rules:
  - {name: blob, owner: store, type: blob, on: create, match: {method: POST, path: /b, status: [201]}, id: {json: id},
     held_by: process, id_pattern: "[0-9]+"}
  - {name: compose, owner: store, type: manifest, on: create, id: {json: id}, held_by: process,
     match: {method: POST, path: "/v1/manifests", status: [201]},
     references: [{owner: store, type: blob, ids: "parts[].blob_id"}]}
"""


def test_what_cannot_be_the_id_of_anything_recorded_refers_to_everything_of_the_type() -> None:
    """A link instead of an id, say: referring to it alone would keep nothing."""
    known = load_rules(SHAPED, "rules.yaml", {})
    answer = [{"blob_id": "7"}, {"blob_id": "/v1/blobs/8"}]
    response = message("HTTP/1.1 201 Created", json.dumps({"id": "m", "parts": answer}).encode())
    found = observed(known, asking(b"{}"), response)
    assert found.references == blobs("*")
    assert found.doubt == "references-unreadable"
    fine = message("HTTP/1.1 201 Created", json.dumps({"id": "m", "parts": answer[:1]}).encode())
    assert observed(known, asking(b"{}"), fine).references == blobs("7")
    loose = load_rules(SHAPED.replace(', id_pattern: "[0-9]+"', ""), "rules.yaml", {})
    assert observed(loose, asking(b"{}"), response).references == blobs("7", "/v1/blobs/8"), "any id may be"


def test_one_id_may_stand_alone() -> None:
    one = rules('[{owner: store, type: blob, ids: "blob"}, {owner: other, type: base, ids: "base || `[]`"}]')
    assert observed(one, asking(b"{}"), answering({"id": "m", "blob": "b"})).references == blobs("b")


def test_more_than_a_record_holds_is_everything_of_the_type() -> None:
    for count, expected in ((MAX_REFERENCES, MAX_REFERENCES), (MAX_REFERENCES + 1, 1)):
        found = observed(
            rules(PARTS), asking(b"{}"), answering({"id": "m", "parts": [{"blob_id": n} for n in range(count)]})
        )
        assert len(found.references) == expected
        assert found.doubt == ("" if expected > 1 else "references-too-many")


@pytest.mark.parametrize("response", [
    message("HTTP/1.1 201 Created", b"no json", "Location: /v1/manifests/m"),
    message("HTTP/1.1 201 Created", b"{}", "Location: /v1/manifests/m", "Content-Type: text/html"),
    message("HTTP/1.1 201 Created", b'{"parts":[' + b" " * 4096 + b"]}", "Location: /v1/manifests/m"),
    message("HTTP/1.1 201 Created", b"", "Location: /v1/manifests/m"),
])  # fmt: skip
def test_a_body_that_cannot_be_read_does_not_keep_a_creation_from_being_registered(response: bytes) -> None:
    elsewhere = rules(PARTS, identity='{header: location, pattern: "/v1/manifests/{id}"}')
    found = observed(elsewhere, asking(b"{}"), response)
    assert (found.resource.id, found.references) == ("m", blobs("*"))


BODY = b'{"parts": [{"blob_id": "a"}, {"blob_id": "b"}]}'


@pytest.mark.parametrize("step", [1, 7, 10**9])
@pytest.mark.parametrize("request_", [
    asking(BODY), asking(BODY, chunked=True), asking(zlib.compress(BODY), "Content-Encoding: deflate"),
])  # fmt: skip
def test_references_are_read_from_the_request_however_it_comes(request_: bytes, step: int) -> None:
    found = observed(rules(ASKED), request_, answering({"id": "m"}), step)
    assert (found.references, found.doubt) == (blobs("a", "b"), "")


@pytest.mark.parametrize("request_", [
    asking(b""), asking(b"{"), asking(BODY + b" " * 2048), asking(BODY, "Content-Encoding: br"), asking(BODY * 2),
])  # fmt: skip
def test_a_request_that_cannot_be_read_refers_to_everything(request_: bytes) -> None:
    found = observed(rules(ASKED), request_, answering({"id": "m"}))
    assert (found.references, found.doubt) == (blobs("*"), "references-unreadable")


def test_the_next_request_on_the_connection_is_read_by_itself() -> None:
    observer = Observer(View(rules(ASKED)), lambda: CallId("c"))
    found = []
    for one in ("a", "b"):
        observer.request(asking(json.dumps({"parts": [{"blob_id": one}]}).encode()))
        for piece in observer.response(answering({"id": "m"})) or ():
            found += [finding.references for finding in piece.findings] if isinstance(piece, Concluded) else []
    assert found == [blobs("a"), blobs("b")]


def test_a_request_over_http2_is_read_too() -> None:
    from hpack import Encoder

    from leasehold.sidecar.observe.frames import PREFACE

    class Open:
        open = True

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    observer = Http2Observer(View(rules(ASKED)), lambda: CallId("c"), "", Open(), Open())
    head = Encoder().encode(
        [(":method", "POST"), (":scheme", "http"), (":authority", "store.test"), (":path", "/v1/manifests")]
    )
    request = PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, head) + frame(0, 0, 1, BODY[:9]) + frame(0, 1, 1, BODY[9:])
    answer = Encoder().encode([(":status", "201"), ("content-type", "application/json")])
    response = frame(4, 0, 0, b"") + frame(1, 4, 1, answer) + frame(0, 1, 1, b'{"id":"m"}')
    pieces = [*(observer.request(request) or ()), *(observer.response(response) or ())]
    (found,) = (finding for piece in pieces if isinstance(piece, Concluded) for finding in piece.findings)
    assert isinstance(found, Creation)
    assert found.references == blobs("a", "b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["parts", "blob_id", "x"]), inner),
)


@given(JSON)
def test_whatever_is_in_a_body_nothing_raises_and_every_target_can_have_a_key(document: object) -> None:
    referring = [Referring.compile(one) for one in rules(PARTS).rules[0].references]
    targets, doubt = read_references(referring, document, None)
    assert all(target.id for target in targets)
    assert targets == blobs("*") or not doubt


@pytest.mark.parametrize(
    ("references", "on", "told"),
    [
        ('[{owner: store, type: blob, ids: "a["}]', "create", "references[0].ids"),
        ('[{owner: "a b", type: blob, ids: a}]', "create", "references[0].owner"),
        ('[{owner: store, type: "a/b", ids: a}]', "create", "references[0].type"),
        ('[{owner: store, type: blob, ids: ""}]', "create", "references[0].ids"),
        ('[{owner: store, type: blob}]', "create", "references[0]"),
        ('[{owner: store, type: blob, ids: a, from: header}]', "create", "references[0].from"),
        ('[{owner: store, type: blob, ids: a, pattern: b}]', "create", "pattern"),
        ('{owner: store, type: blob, ids: a}', "create", "references"),
        ("[" + ", ".join(f"{{owner: store, type: blob, ids: a{n}}}" for n in range(9)) + "]", "create", "at most 8"),
        ('[{owner: store, type: blob, ids: a}, {owner: store, type: blob, ids: a}]', "create", "references[1]"),
        (PARTS, "use", "only a creation"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_where_it_stands(references: str, on: str, told: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        rules(references, on=on)
    assert told in str(refused.value)


def test_an_owner_that_is_not_in_the_file_is_worth_a_warning() -> None:
    assert any("other" in one for one in warnings(rules("[{owner: other, type: blob, ids: a}]")))


def test_a_type_that_nothing_creates_is_worth_a_warning_that_names_what_there_is() -> None:
    """A slip in a type's name refers to what nobody records: it would keep nothing, and nobody would notice."""
    (warning,) = warnings(rules("[{owner: store, type: manifest, ids: a}, {owner: store, type: manfest, ids: b}]"))
    assert "rule compose: references[1].type" in warning
    assert "store/manfest" in warning
    assert warning.endswith("rules create manifest there")
