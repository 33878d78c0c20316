"""The tree of templates and asking one template after the other come to the same candidates, in the same order."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from leasehold.protocol.rules import HolderKind, Match, On, Owner, Rule, RuleSet, Source
from leasehold.protocol.templates import BadTemplate, PathTemplate, UnsafeId
from leasehold.sidecar.observe.matching import Matcher, path_of
from leasehold.sidecar.observe.path_tree import PathTree

# Few words, so that templates share beginnings, and paths come near them.
LITERALS = ["v1", "v2", "blobs", "a", "", ".", "..", "%61", "a%2Fb", "v1.json", "ü", "*"]
VARIABLES = ["{a}", "{b}", "{c}", "x{a}", "{a}.json", "{a}:copy", "{a}-{b}", "{a}{b}"]
RESTS = ["{+k}", "x{+k}", "{c}{+k}", "{c}-{+k}"]
VALUES = ["4711", "x1", "x", "1.json", "1:copy", "1-2", "%ff", "%zz", "%2e%2e", "%00", "a b", "a\nb", "\x80"]

literal = st.sampled_from(LITERALS)
segment = st.one_of(literal, st.sampled_from(VARIABLES))
ending = st.one_of(segment, st.sampled_from(RESTS))


def template(segments: list[str], last: str) -> str | None:
    text = "/" + "/".join([*segments, last])
    try:
        PathTemplate.compile(text)
    except BadTemplate:  # a variable twice
        return None
    return text


templates = st.builds(template, st.lists(segment, max_size=4), ending).filter(lambda text: text is not None)
paths = st.one_of(
    st.lists(st.one_of(literal, st.sampled_from(VALUES)), min_size=1, max_size=7).map(
        lambda some: "/" + "/".join(some)
    ),
    st.text(st.sampled_from("/av12x%.-:"), max_size=12),
    st.just("/" * 70),
)


def linear(compiled: list[PathTemplate], path: str) -> list[int]:
    return [n for n, one in enumerate(compiled) if _fits(one, path)]


def _fits(one: PathTemplate, path: str) -> bool:
    try:
        return one.match(path) is not None
    except UnsafeId:
        return True


@settings(max_examples=1500)
@given(st.lists(templates, max_size=12), st.lists(paths, min_size=1, max_size=6))
@example(["/a/{+k}", "/a/{a}", "/{a}/b", "/a/b"], ["/a/b", "/a/", "/a", "/a//b", "/a/b/"])
@example(["/v1/{a}", "/v1"], ["/v1", "/v1/", "/v1//"])
@example(["/", "//", "/{+k}"], ["", "/", "//", "///", "*"])
def test_whose_template_matches_is_nominated_in_its_order(texts: list[str], some: list[str]) -> None:
    compiled = [PathTemplate.compile(text) for text in texts]
    tree = PathTree((one, n) for n, one in enumerate(compiled))
    for path in some:
        nominees = list(tree.nominees(path))
        assert nominees == sorted(set(nominees))
        assert [n for n in nominees if _fits(compiled[n], path)] == linear(compiled, path)


def rule(n: int, method: str | tuple[str, ...], path: str) -> Rule:
    return Rule(f"r{n}", "o", "t", On.USE, Match(method, path, (200,)), Source(json="id"), HolderKind.PROCESS)


methods = st.sampled_from(["GET", "PUT", ("GET", "PUT"), ("PUT", "GET")])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(methods, templates), min_size=1, max_size=10),
    st.sampled_from(["GET", "PUT", "POST"]),
    paths,
    st.sampled_from(["", "?x=/v1/a", "#f", "?#"]),
    st.sampled_from(["", "http://o.test"]),
)
def test_candidates_are_those_of_a_linear_scan(
    told: list[tuple[str | tuple[str, ...], str]], method: str, path: str, query: str, origin: str
) -> None:
    rules = [rule(n, *one) for n, one in enumerate(told)]
    found = Matcher.compile(RuleSet((Owner("o", ("o.test",), "http://o"),), tuple(rules))).owner_rules("o.test", "")
    assert found is not None
    target = origin + path + query
    expected = []
    for one in rules:
        if method in one.match.methods:
            try:
                variables = PathTemplate.compile(one.match.path).match(path_of(target))
            except UnsafeId:
                expected.append((one.name, None))
            else:
                if variables is not None:
                    expected.append((one.name, variables))
    assert [(each.rule.name, each.variables) for each in found.candidates(method, target)] == expected
    assert bool(expected) <= (method.encode() in found.methods)


def test_what_a_path_costs_does_not_grow_with_the_templates() -> None:
    """Counted, not timed: who is nominated of a thousand with one beginning."""
    compiled = [PathTemplate.compile(f"/v1/kind{n}/{{id}}/{{part}}") for n in range(1000)]
    tree = PathTree((one, n) for n, one in enumerate(compiled))
    assert list(tree.nominees("/v1/kind7/a/b")) == [7]
    assert not tree.nominees("/v1/kind/a/b")
    assert not tree.nominees("/v1/kind7/a/b/c")


def test_a_path_of_nothing_but_slashes_is_cheap_and_nobodys() -> None:
    tree = PathTree([(PathTemplate.compile(f"/{{a}}/x{n}"), n) for n in range(2)])
    assert not tree.nominees("/" * 65_536)
