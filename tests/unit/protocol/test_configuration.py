"""Every mistake is listed, with file, path and what was expected; good documents become models."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.protocol.configuration import BadConfiguration, Seconds, load, parse_yaml


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    wait: Seconds
    count: int = 1


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: Inner
    many: list[Inner] = []
    maybe: Inner | None = None
    flag: bool = False


def mistakes(text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(BadConfiguration) as caught:
        load(Outer, text, "x.yaml", environment or {})
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_good_document_becomes_a_model() -> None:
    outer = load(Outer, "{name: a, inner: {wait: 500ms}, many: [{wait: 2m, count: 3}]}", "x.yaml", {})
    assert outer.inner.wait == 0.5
    assert outer.many[0].wait == 120.0


def test_all_mistakes_are_listed_with_their_paths() -> None:
    found = mistakes("{inner: {wait: 5, count: many}, many: [{wait: 1s}, {wate: 1s}], maybe: {wait: soon}, flag: on}")
    assert {line.split(": ")[1] for line in found} == {
        "name", "inner.wait", "inner.count", "many[1].wate", "many[1].wait", "maybe.wait", "flag",
    }  # fmt: skip
    assert all(line.startswith("x.yaml: ") and "expected" in line for line in found)


def test_words_of_yaml_1_1_are_text_not_booleans() -> None:
    assert parse_yaml("{on: off, at: 12:30, day: 2026-01-02, country: no}", "x") == {
        "on": "off", "at": "12:30", "day": "2026-01-02", "country": "no",
    }  # fmt: skip


def test_a_key_given_twice_is_a_mistake() -> None:
    [found] = mistakes("name: a\nname: b\ninner: {wait: 1s}\n")
    assert "line 2" in found
    assert "stands twice" in found


def test_text_that_is_no_yaml_says_where() -> None:
    [found] = mistakes("name: [a\n")
    assert "line 2" in found


@pytest.mark.parametrize("document", ["", "[]", "hello", "3"])
def test_a_document_of_another_shape_is_refused(document: str) -> None:
    assert "expected a mapping" in mistakes(document)[0]


def test_variables_are_expanded_and_missing_ones_named() -> None:
    text = "{name: 'n-${WHO:-nobody}', inner: {wait: '${WAIT}', count: '${COUNT:-4}'}}"
    outer = load(Outer, text, "x.yaml", {"WAIT": "3s"})
    assert (outer.name, outer.inner.wait, outer.inner.count) == ("n-nobody", 3.0, 4)
    assert mistakes(text) == ["x.yaml: inner.wait: expected the environment variable WAIT to be set"]


@pytest.mark.parametrize("text", ["5", "s", "-1s", "1 s", "1w", "5 minutes", ""])
def test_a_duration_without_a_known_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Seconds.parse(text)


def test_a_document_that_contains_itself_is_a_mistake() -> None:
    assert "contain itself" in mistakes("a: &a [*a]\nname: x\ninner: {wait: 1s}\n")[0]


def test_an_unquoted_variable_in_a_flow_mapping_is_explained() -> None:
    assert "with quotes" in mistakes("inner: {wait: ${WAIT}}\nname: x\n", {"WAIT": "3s"})[0]
