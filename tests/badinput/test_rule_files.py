"""Rule files that are wrong, hostile or too large: each is refused at once, with the place and what was expected."""

from __future__ import annotations

import pytest

from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.rules import load_rules
from leasehold.protocol.yaml_text import DEEPEST, LARGEST_CHARACTERS

GOOD = """
owners:
  - name: o
    hosts: [h]
    endpoint: http://h
    delete: {path: "/b/{id}", precondition: never-reused}
rules:
  - {name: r, owner: o, type: t, on: create, match: {method: POST, path: /b, status: [201]}, id: {json: id},
     held_by: process}
"""
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


def told(text: str) -> str:
    with pytest.raises(BadConfiguration) as caught:
        load_rules(text, "rules.yaml", {})
    assert all(mistake.source == "rules.yaml" for mistake in caught.value.mistakes)
    return str(caught.value)


def changed(what: str, instead: str) -> str:
    assert what in GOOD
    return GOOD.replace(what, instead)


def test_the_file_that_the_cases_are_made_of_is_good() -> None:
    assert len(load_rules(GOOD, "rules.yaml", {}).rules) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "aliases written out"),
        ("a: &a [*a]", "does not contain itself"),
        ("a: &a {b: *a}", "does not contain itself"),
        ("[" * 300, f"at most {DEEPEST} levels"),
        ("{a: " * 300, f"at most {DEEPEST} levels"),
        ("- " * 300 + "x", f"at most {DEEPEST} levels"),
        ("x" * (LARGEST_CHARACTERS + 1), f"at most {LARGEST_CHARACTERS} characters"),
        ("a: &a {x: 1}\nb: {<<: *a}", "merge"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("a: !ruby/object:X {}", "could not determine a constructor"),
        ("a: !!bool maybe", "a value that fits bool"),
        ("a: !!int abc", "a value that fits int"),
        ("a: !!float x", "a value that fits float"),
        ("a: !!timestamp 2024-99-99", "a value that fits timestamp"),
        ("a: !!timestamp x", "a value that fits timestamp"),
        ("a: " + "9" * 5000, "a value that fits int"),
        ("[a]: 3", "a word as a key"),
        ("{a: 1}: 3", "a word as a key"),
        ("a: \0", "special characters are not allowed"),
        ("a: \x1b[31m", "special characters are not allowed"),
        ("a: 1\n---\nb: 2", "found another document"),
        ("owners: []\nowners: []", "the key 'owners' stands twice"),
        ("a: *nowhere", "undefined alias"),
        ("\ta: 1", "cannot start any token"),
        ("a: 'x", "unexpected end of stream"),
        ("%YAML 9.9\n--- {}", "incompatible YAML"),
        ("- a", "expected a mapping with owners, rules"),
        ("5", "expected a mapping with owners, rules"),
        ("", "expected a mapping with owners, rules"),
        ("owners: 5", "rules.yaml: owners: expected"),
        ("rules: {a: b}", "rules.yaml: rules: expected"),
        ("rules: [3]", "rules.yaml: rules[0]: expected"),
        ("1: 2", "rules.yaml: 1: not a field here"),
        ("~: 2", "rules.yaml: None: not a field here"),
    ],
    ids=lambda value: value[:30].encode("unicode_escape").decode() if isinstance(value, str) else None,
)
def test_a_file_that_is_no_rule_file_says_where_and_what_was_expected(text: str, expected: str) -> None:
    assert expected in told(text)


@pytest.mark.parametrize(
    ("what", "instead", "expected"),
    [
        ("name: o", "name: ../o", "owners[0].name: expected 1 to 128 letters"),
        ("name: o", "name: 'a/b'", "owners[0].name: expected"),
        ("name: o", 'name: "o\\r\\nx"', "owners[0].name: expected"),
        ("name: o", "name: \u00f6", "owners[0].name: expected"),
        ("name: o", f"name: {'o' * 129}", "owners[0].name: expected"),
        ("name: o", "name: 7", "owners[0].name: expected text"),
        ("name: o", "name: [o]", "owners[0].name: expected text"),
        ("name: o", "nom: o", "owners[0].nom: not a field here"),
        ("hosts: [h]", "hosts: []", "owners[0].hosts: expected at least one"),
        ("hosts: [h]", 'hosts: ["a/b"]', "owners[0].hosts[0]: expected host"),
        ("hosts: [h]", 'hosts: ["u@h"]', "owners[0].hosts[0]: expected host"),
        ("hosts: [h]", 'hosts: ["h\\n"]', "owners[0].hosts[0]: expected host"),
        ("endpoint: http://h", "endpoint: ftp://h", "owners[0].endpoint: expected http(s)"),
        ("endpoint: http://h", "endpoint: file:///etc/passwd", "owners[0].endpoint: expected http(s)"),
        ("endpoint: http://h", "endpoint: http://u:p@h", "owners[0].endpoint: expected http(s)"),
        ("endpoint: http://h", "endpoint: 'http://h?x=1'", "owners[0].endpoint: expected http(s)"),
        ("endpoint: http://h", "endpoint: 'http://h:99999'", "owners[0].endpoint: expected http(s)"),
        ("endpoint: http://h", "endpoint: 'http://[::1'", "owners[0].endpoint: expected http(s)"),
        ("endpoint: http://h", 'endpoint: "http://h\\r\\nX: y"', "owners[0].endpoint: expected http(s)"),
        ('path: "/b/{id}"', 'path: "b/{id}"', "owners[0].delete.path"),
        ('path: "/b/{id}"', 'path: "/b"', "owners[0].delete.path"),
        ('path: "/b/{id}"', 'path: "/b/{id}{id}"', "owners[0].delete.path"),
        ('path: "/b/{id}"', 'path: "/b/{}"', "owners[0].delete.path"),
        ('path: "/b/{id}"', 'path: "/b/{{id}}"', "owners[0].delete.path"),
        ('path: "/b/{id}"', 'path: "/b/{id.__class__}"', "owners[0].delete.path"),
        ('path: "/b/{id}"', 'path: "/b/{id!r}"', "owners[0].delete.path"),
        ('path: "/b/{id}"', 'path: "/b/{id} HTTP/1.1\\r\\nX: y"', "owners[0].delete.path"),
        ("precondition: never-reused", "precondition: always", "owners[0].delete.precondition"),
        ("precondition: never-reused", "precondition: never-reused, method: 'DELETE /x'", "owners[0].delete.method"),
        ("precondition: never-reused", 'precondition: never-reused, method: "DELETE\\r\\n"', "owners[0].delete.method"),
        ("    delete:", '    headers: {X: "a\\r\\nEvil: 1"}\n    delete:', "owners[0].headers.X"),
        ("    delete:", '    headers: {"X\\r\\nY": a}\n    delete:', "owners[0].headers."),
        (
            "    delete:",
            "    headers: {Transfer-Encoding: chunked}\n    delete:",
            "owners[0].headers.Transfer-Encoding",
        ),
        ("    delete:", "    headers: {Content-Length: '5'}\n    delete:", "owners[0].headers.Content-Length"),
        ("    delete:", "    header_files: {Host: f}\n    delete:", "owners[0].header_files.Host"),
        ("    delete:", "    limits: {timeout: -1s}\n    delete:", "owners[0].limits.timeout"),
        ("    delete:", "    limits: {concurrency: 0}\n    delete:", "owners[0].limits.concurrency"),
        ("name: r", "name: 'r/..'", "rules[0].name: expected"),
        ("type: t", "type: 't t'", "rules[0].type: expected"),
        ("owner: o", "owner: nobody", "rules[0].owner"),
        ("on: create", "on: destroy", "rules[0].on: expected one of"),
        ("on: create", "on: true", "rules[0].on: expected one of"),
        ("held_by: process", "held_by: nobody", "rules[0].held_by: expected"),
        ("held_by: process", "held_by: process, mode: delete-all", "rules[0].mode: expected one of"),
        ("held_by: process", "held_by: process, grace: 5", "rules[0].grace: expected a duration"),
        ("held_by: process", "held_by: process, grace: -5s", "rules[0].grace: expected a duration"),
        ("held_by: process", "held_by: process, grace: 1e9s", "rules[0].grace: expected a duration"),
        ("held_by: process", "held_by: process, grace: .inf", "rules[0].grace: expected a duration"),
        ("held_by: process", "held_by: process, id_pattern: '(a+)+'", "rules[0].id_pattern: a repetition"),
        ("held_by: process", "held_by: process, id_pattern: '('", "rules[0].id_pattern: expected a regular"),
        ("held_by: process", "held_by: process, id_pattern: 5", "rules[0].id_pattern: expected text"),
        ("id: {json: id}", "id: {json: '['}", "rules[0].id"),
        ("id: {json: id}", "id: {}", "rules[0].id"),
        ("id: {json: id}", "id: {json: id, header: X}", "rules[0].id"),
        ("id: {json: id}", "id: {path: other}", "rules[0].id"),
        ("status: [201]", "status: [99]", "rules[0].match.status"),
        ("status: [201]", "status: [1000]", "rules[0].match.status"),
        ("status: [201]", "status: ['201']", "rules[0].match.status[0]: expected"),
        ("status: [201]", "status: []", "rules[0].match.status"),
        ("method: POST", "method: 'PO ST'", "rules[0].match.method"),
    ],
    ids=lambda value: value[:40].encode("unicode_escape").decode(),
)
def test_a_field_that_is_wrong_is_named_with_what_was_expected(what: str, instead: str, expected: str) -> None:
    assert f"rules.yaml: {expected}" in told(changed(what, instead))
