"""Regular expressions of rule authors: none may take long on an id of 1024 bytes, since the relay waits for it."""

from __future__ import annotations

import re

import pytest

from leasehold.protocol.rules.patterns import why_unbounded

ENDLESS = [
    r"(a+)+$", r"(a*)*", r"(.*)*x", r"^(\w+\s?)*$", r"(x+x+)+y", r"([a-z]+)*@", r"(a?){64}a{64}", r"(a|aa)+$",
    r"((a+)+-)*", r"(?:a+b?)*c", r"(?i)(?:[a-z]+A)*$", r"(?:\w+\u03b1)*$", r"(?:\d+\u0663)*$", r"(?:\w+[^-])*!",
    r"(?P<x>a+)+b", r"(?:(?:a+))+b", r"(a+?)+b", r"(?:ab?|a)*c", r"(?:.{1,3})*x", r"(?:a*){2,9}b",
]  # fmt: skip
WIDE = [r".*.*.*x", r"a+a+a+b", r"\w+[a-z]*.+!", r"[a-z]{1,300}[a-z]{1,300}[a-z]{1,300}1", "a?" * 40 + "a" * 40]
BACKWARDS = [r"(a+)\1", r"(?P<x>a)(?P=x)", r"(a)?(?(1)b|c)"]
HARMLESS = [
    r"[0-9a-f]{32}", r"[a-z]+", r"b-[0-9]+$", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    r"(?:[a-z]+-)*[a-z]+", r"(?:/[^/]+)+", r"[a-z]{1,63}(\.[a-z]{1,63}){0,5}", r"(foo|bar)-[0-9]+", r".*", r".+\.png",
    r"[A-Z]{2}[0-9]+", r"(?:ab){3}", r"(?!x)[a-z]+", r"v[0-9]+\.[0-9]+\.[0-9]+", r"urn:uuid:[0-9a-f-]{36}",
    r"(?:(?:foo|bar)-)+", r"(?:0x)?[0-9a-f]+",
]  # fmt: skip


@pytest.mark.parametrize("pattern", ENDLESS)
def test_a_repetition_whose_parts_have_no_marked_end_is_refused(pattern: str) -> None:
    assert "whose end nothing marks" in (why_unbounded(pattern) or "")


@pytest.mark.parametrize("pattern", WIDE)
def test_too_many_repetitions_of_the_same_character_are_refused(pattern: str) -> None:
    assert "several repetitions" in (why_unbounded(pattern) or "")


@pytest.mark.parametrize("pattern", BACKWARDS)
def test_back_references_are_refused(pattern: str) -> None:
    assert "back reference" in (why_unbounded(pattern) or "")


@pytest.mark.parametrize("pattern", HARMLESS)
def test_what_ids_look_like_may_be_said_and_is_decided_on_the_longest_id(pattern: str) -> None:
    assert why_unbounded(pattern) is None
    for text in ("a" * 1024 + "!", "0" * 1024 + "!", "a-" * 512 + "!", "/a" * 512 + "/", "ab" * 512 + "!"):
        re.fullmatch(pattern, text)  # the suite's time limit is what fails


@pytest.mark.parametrize("pattern", ["(a", "[", "*", "a{2}{3}", "(?P<1>a)", "\\", "(?i-z:a)"])
def test_what_is_no_pattern_is_an_error_of_re(pattern: str) -> None:
    with pytest.raises(re.error):
        why_unbounded(pattern)
