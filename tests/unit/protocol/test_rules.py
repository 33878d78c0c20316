"""Rules: good ones mean what they say, nonsense is listed in full, and nothing dangerous is a default."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from leasehold.protocol.configuration import BadConfiguration, to_json
from leasehold.protocol.rules import Mode, Rule, RuleSet, load_rules, permitted_mode, rules_from_documents, warnings

GOOD = """
owners:
  - name: blob-store
    hosts: ["blobs.internal:8080", "127.0.0.1:9000"]
    endpoint: http://127.0.0.1:9000
    delete: {method: DELETE, path: "/v1/blobs/{id}", precondition: never-reused}
    read: {path: "/v1/blobs/{id}"}
    limits: {concurrency: 16, per_second: 200}
rules:
  - name: create-blob
    owner: blob-store
    type: blob
    on: create
    match: {method: POST, path: "/v1/blobs", status: [201]}
    id: {json: "id"}
    held_by: process
    mode: sweep
    grace: 5m
  - name: use-blob
    owner: blob-store
    type: blob
    on: use
    match: {method: GET, path: "/v1/blobs/{id}", status: [200]}
    id: {path: id}
    held_by: process
    idle_release: 10m
  - name: delete-blob
    owner: blob-store
    type: blob
    on: delete
    match: {method: [DELETE], path: "/v1/blobs/{id}", status: [200, 202, 204, 404]}
    id: {path: id}
"""


def load(text: str = GOOD) -> RuleSet:
    return load_rules(text, "rules.yaml", {})


def only_mistake(old: str, new: str) -> str:
    assert old in GOOD
    with pytest.raises(BadConfiguration) as caught:
        load(GOOD.replace(old, new, 1))
    [mistake] = caught.value.mistakes
    return str(mistake)


def rule(name: str, rules: RuleSet | None = None) -> Rule:
    found = (rules or load()).rule(name)
    assert found is not None
    return found


def test_a_good_file_has_no_warnings_and_sane_defaults() -> None:
    rules = load()
    assert warnings(rules) == []
    assert rule("create-blob").grace_class == "300s"
    assert rule("use-blob").mode is Mode.OBSERVE
    assert rule("delete-blob").match.methods == ("DELETE",)


def test_a_rule_observes_unless_it_says_otherwise() -> None:
    assert rule("create-blob", load(GOOD.replace("    mode: sweep\n", ""))).mode is Mode.OBSERVE


def test_held_by_has_no_default() -> None:
    assert "rules[0].held_by: missing; expected one of: process" in only_mistake("    held_by: process\n", "")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("owner: blob-store", "owner: blob-stor", "rules[0].owner: expected the name of an owner"),
        ("type: blob", "type: 'b/b'", "rules[0].type: expected 1 to 128"),
        ('id: {json: "id"}', 'id: {json: "id["}', "rules[0].id.json: expected a JMESPath"),
        ('id: {json: "id"}', "id: {path: id}", "rules[0].id.path: expected a variable of match.path (none here)"),
        ('id: {json: "id"}', "id: {}", "rules[0].id: expected exactly one of"),
        ('id: {json: "id"}', "id: {json: id, header: location}", "rules[0].id: expected exactly one of"),
        ('id: {json: "id"}', "id: {header: location, pattern: /x}", "rules[0].id.pattern: expected {id}"),
        ("method: POST", "method: post", "rules[0].match.method: expected an upper-case"),
        ('path: "/v1/blobs", status', 'path: "v1/blobs", status', "rules[0].match.path"),
        ("status: [201]", "status: []", "rules[0].match.status: expected at least one"),
        ("status: [201]", "status: [100]", "rules[0].match.status[0]: expected a final"),
        ("grace: 5m", "grace: 500ms", "rules[0].grace: expected at least 1s"),
        ("held_by: process", "held_by: timer", "rules[0].ttl: missing"),
        ("held_by: process", "held_by: process\n    ttl: 1h", "rules[0].ttl: expected only beside"),
        ("grace: 5m", "on_unavailable: reject", "rules[0].on_unavailable: reject is only possible before"),
        ("grace: 5m", "id_pattern: '('", "rules[0].id_pattern: expected a regular expression"),
        ("grace: 5m", "body_limit: 0", "rules[0].body_limit: expected 1 to"),
        ("name: use-blob", "name: create-blob", "rules[1].name: expected each name once"),
        ("endpoint: http://127.0.0.1:9000", "endpoint: 127.0.0.1:9000", "owners[0].endpoint: expected http(s)://"),
        ("endpoint: http://127.0.0.1:9000", "endpoint: http://u:p@h", "owners[0].endpoint: expected http(s)://"),
        ("concurrency: 16", "concurrency: 0", "owners[0].limits.concurrency: expected more than 0"),
        ('path: "/v1/blobs/{id}", prec', 'path: "/v1/blobs", prec', "owners[0].delete.path: expected {id}"),
        ("never-reused", "if-etag", "owners[0].delete.precondition: expected one of"),
        ('hosts: ["blobs.internal:8080", "127.0.0.1:9000"]', "hosts: []", "owners[0].hosts: expected at least one"),
        ('"blobs.internal:8080"', '"http://x"', "owners[0].hosts[0]: expected host or host:port"),
    ],
)  # fmt: skip
def test_nonsense_is_named_with_its_place(old: str, new: str, expected: str) -> None:
    assert only_mistake(old, new).startswith(f"rules.yaml: {expected}")


def test_mistakes_of_form_hide_none_of_meaning() -> None:
    text = GOOD.replace("grace: 5m", "grace: 5").replace("concurrency: 16", "concurrency: 0")
    text = text.replace("status: [201]", "status: [99]").replace("    held_by: process\n    mode", "    mode")
    text = text.replace("name: use-blob", "name: 7").replace("path: id}\n", "path: idd}\n")
    with pytest.raises(BadConfiguration) as caught:
        load(text)
    assert {mistake.path for mistake in caught.value.mistakes} == {
        "rules[0].grace", "owners[0].limits.concurrency", "rules[0].match.status[0]", "rules[0].held_by",
        "rules[1].name", "rules[2].id.path",
    }  # fmt: skip


def test_if_match_without_a_read_is_refused() -> None:
    text = GOOD.replace('    read: {path: "/v1/blobs/{id}"}\n', "").replace("never-reused", "if-match")
    with pytest.raises(BadConfiguration, match="expected a read beside the delete"):
        load(text)


def test_an_owner_without_a_safe_delete_is_only_reported() -> None:
    rules = load(GOOD.replace("never-reused", "none"))
    assert permitted_mode(rule("create-blob", rules), rules.owners[0]) is Mode.OBSERVE
    assert "no effect" in warnings(rules)[0]
    unsafe = load(GOOD.replace("precondition: never-reused", "precondition: none, unsafe: true"))
    assert permitted_mode(rule("create-blob", unsafe), unsafe.owners[0]) is Mode.SWEEP


def test_a_type_may_be_deleted_differently_from_its_siblings() -> None:
    special = 'types: {folder: {delete: {path: "/v1/folders/{id}", precondition: never-reused}}}\n    limits'
    owner = load(GOOD.replace("limits", special, 1)).owners[0]
    folder, blob = owner.delete_of("folder"), owner.delete_of("blob")
    assert folder is not None
    assert blob is not None
    assert (folder.path, blob.path) == ("/v1/folders/{id}", "/v1/blobs/{id}")


def test_rules_survive_the_way_through_etcd() -> None:
    rules = load(GOOD.replace("grace: 5m", "grace: 1500ms"))
    owners = [msgspec.json.decode(to_json(owner)) for owner in rules.owners]
    documents = [msgspec.json.decode(to_json(one)) for one in rules.rules]
    assert rules_from_documents(owners, documents, "etcd") == rules


def test_the_rule_file_of_the_documentation_is_good() -> None:
    for path in Path("docs").glob("**/*.yaml"):
        load_rules(path.read_text(), str(path), {})


# --- gRPC --------------------------------------------------------------------------------------------------------

GRPC = "match: {grpc: {service: blobs.v1.Blobs, method: Create}}"
HTTP = 'match: {method: POST, path: "/v1/blobs", status: [201]}\n    id: {json: "id"}'


def grpc_mistakes(match: str, identity: str) -> list[str]:
    with pytest.raises(BadConfiguration) as caught:
        load(GOOD.replace(HTTP, f"{match}\n    id: {identity}"))
    return [str(mistake).removeprefix("rules.yaml: rules[0].") for mistake in caught.value.mistakes]


def test_a_grpc_rule_reads_fields_by_number_or_by_name() -> None:
    text = GOOD.replace(HTTP, f'{GRPC}\n    id: {{grpc: {{field: "1.2", from: request}}}}')
    source = rule("create-blob", load(text)).id.grpc
    assert source is not None
    assert (source.numbers, source.side) == ((1, 2), "request")
    assert rule("create-blob", load(text)).match.grpc.status == (0,)  # type: ignore[union-attr]
    named = text.replace('"1.2"', "blob.id").replace("    limits", "    descriptor_set: blobs.pb\n    limits", 1)
    assert rule("create-blob", load(named)).id.grpc.numbers is None  # type: ignore[union-attr]
    documents = [msgspec.json.decode(to_json(one)) for one in load(text).rules]
    owners = [msgspec.json.decode(to_json(owner)) for owner in load(text).owners]
    assert rules_from_documents(owners, documents, "etcd") == load(text)


@pytest.mark.parametrize(
    ("match", "identity", "expected"),
    [
        (GRPC.replace("}}", "}, method: POST}"), "{header: x}", "match.method: expected either grpc, or method"),
        (GRPC.replace("blobs.v1.Blobs", "/blobs"), "{header: x}", "match.grpc.service: expected a service"),
        (GRPC.replace("Create", "Cre/ate"), "{header: x}", "match.grpc.method: expected the name"),
        (GRPC.replace("Create", "[]"), "{header: x}", "match.grpc.method: expected at least one"),
        (GRPC.replace("}}", ", status: []}}"), "{header: x}", "match.grpc.status: expected at least one"),
        (GRPC.replace("}}", ", status: [200]}}"), "{header: x}", "match.grpc.status[0]: expected a gRPC status"),
        (
            GRPC.replace("}}", ", status: [5], streaming: true}}"),
            "{header: x}",
            "match.grpc.streaming: a stream whose first message decides",
        ),
        (GRPC, "{json: id}", "id.json: a gRPC message is not JSON"),
        (GRPC, "{path: id}", "id.path: expected a variable of match.path (none here)"),
        (GRPC, "{grpc: {field: blob.id}}", "id.grpc.field: names are read with a descriptor_set"),
        (GRPC, '{grpc: {field: "1..2"}}', "id.grpc.field: expected field numbers"),
        (GRPC, '{grpc: {field: "0"}}', "id.grpc.field: expected field numbers from 1 to"),
        (GRPC, '{grpc: {field: "1"}, header: x}', "id: expected exactly one of json, header, path, grpc"),
        ("match: {method: POST, path: /x, status: [200]}", '{grpc: {field: "1"}}', "id.grpc: expected only beside"),
        ("match: {}", "{json: id}", "match.method: expected at least one method"),
    ],
)
def test_grpc_nonsense_is_named_with_its_place(match: str, identity: str, expected: str) -> None:
    assert any(mistake.startswith(expected) for mistake in grpc_mistakes(match, identity))


# --- idempotency keys ---------------------------------------------------------------------------------------------

KEYED = "held_by: process\n    commit: before-request\n    idempotency_key: "


def test_a_rule_may_name_the_header_by_which_the_owner_learns_of_a_call() -> None:
    read = rule("create-blob", load(GOOD.replace("held_by: process", KEYED + "{header: X-Request-ID}", 1)))
    assert read.idempotency_key is not None
    assert (read.idempotency_key.header, read.idempotency_key.field) == ("X-Request-ID", b"x-request-id")
    assert rule("create-blob").idempotency_key is None
    assert b'"idempotency_key":{"header":"X-Request-ID"}' in to_json(read)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("''", "expected the name of a header"),
        ("'a b'", "expected the name of a header"),
        ("':path'", "expected the name of a header"),
        ('"x\\r\\ny"', "expected the name of a header"),
        ("'x:'", "expected the name of a header"),
        ("schl\u00fcssel", "expected the name of a header"),
        ("x" * 65, "at most 64 characters"),
        *(
            (name, "that nothing else has a use for")
            for name in (
                "Host", "content-length", "Transfer-Encoding", "CONNECTION", "TE", "Upgrade", "Expect", "Trailer",
                "Keep-Alive", "Proxy-Authorization", "proxy-connection", "If-Match", "Cookie", "HTTP2-Settings",
            )
        ),
        ("X-Amz-Key", "signatures cover all headers of that family"),
        ("x-ms-client-request-id", "signatures cover all headers of that family"),
    ],
)  # fmt: skip
def test_a_header_that_means_something_else_carries_no_key(header: str, expected: str) -> None:
    mistake = only_mistake("held_by: process", f"{KEYED}{{header: {header}}}")
    assert "rules[0].idempotency_key.header: " in mistake
    assert expected in mistake


@pytest.mark.parametrize("header", ["grpc-timeout", "key-bin"])
def test_what_grpc_gives_a_meaning_carries_no_key_in_it(header: str) -> None:
    keyed = GOOD.replace("held_by: process", f"{KEYED}{{header: {header}}}", 1)
    load(keyed)
    with pytest.raises(BadConfiguration, match="gRPC has its own use"):
        load(keyed.replace(HTTP, f"{GRPC}\n    id: {{header: x}}"))


@pytest.mark.parametrize("commit", ["before-response", "background"])
def test_without_an_intent_there_is_no_key(commit: str) -> None:
    wanted = KEYED.replace("before-request", commit) + "{header: Idempotency-Key}"
    assert "rules[0].idempotency_key: only an intent has one" in only_mistake("held_by: process", wanted)


def test_what_is_only_used_gets_no_key() -> None:
    wanted = "on: use\n    commit: before-request\n    idempotency_key: {header: Idempotency-Key}"
    assert "idempotency_key: only an intent has one" in only_mistake("on: use", wanted)


def test_a_key_says_its_header_and_nothing_else() -> None:
    assert "idempotency_key" in only_mistake("held_by: process", KEYED + "{}")
    assert "idempotency_key" in only_mistake("held_by: process", KEYED + "{header: X-Key, value: mine}")
    assert "idempotency_key" in only_mistake("held_by: process", KEYED + "X-Key")
