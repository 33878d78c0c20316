"""Whether a regular expression may be let loose on other people's ids. Pure.

Python's ``re`` tries one way after the other, and some patterns have exponentially many: ``(a+)+$`` on forty letters
never ends. Ids come from traffic, and the relay runs in the same event loop, so such a pattern is refused where it is
typed. The check looks at the pattern's shape and is strict: it refuses some that would be harmless, with the part to be
written otherwise. What it lets pass takes at most about the square of an id's length (1024 bytes).

What is refused:

- within a repetition, alternatives, or a part of variable length, whose end nothing marks: ``(\\w+\\s?)*``. Marked is a
  part that begins or ends with a character that nothing else in it can be: ``(?:[a-z]+-)*``;
- more than two repetitions without an end that can take the same character, or as many with one: ``.*.*.*x``;
- back references, which nobody can bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from leasehold.protocol.names import MAX_ID_BYTES

_OTHER = chr(0x10FFFF)
"""Stands for every character beyond U+00FF: all of them are taken for the same, which only refuses more."""
_CHARACTERS = (*map(chr, range(256)), _OTHER)
_ALL = frozenset(_CHARACTERS)
_MOST_WAYS = 4 * (MAX_ID_BYTES + 1) ** 2
"""Two repetitions without an end, and a little: some ten milliseconds at worst."""
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s", "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W",
}  # fmt: skip
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_CHARACTER = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY", "CATEGORY", "RANGE"})
Node = tuple[Any, Any]


def why_unbounded(pattern: str) -> str | None:
    """What is wrong with it, as a sentence's end; ``None``: nothing. Raises ``re.error`` for what is no pattern."""
    re.compile(pattern)
    tree = list(_parser.parse(pattern))
    return next(_troubles(tree), None) or _too_wide(tree)


def _troubles(sequence: Sequence[Node]) -> Iterator[str]:
    for node in sequence:
        kind = str(node[0])
        if kind in {"GROUPREF", "GROUPREF_EXISTS"}:
            yield "a back reference, which may take for ever: expected none"
        if kind in _REPEATS and node[1][1] > 1 and _is_ambiguous(list(node[1][2])):
            yield (
                "a repetition of something whose end nothing marks, which may take for ever: expected a character at "
                "its end that nothing else in it can be, as in (?:[a-z]+-)*"
            )
        for inner in _inside(node):
            yield from _troubles(inner)


def _is_ambiguous(body: list[Node]) -> bool:
    flat = _flat(body)
    if not any(_varies(node) for node in flat):
        return False
    if any(_overlaps(node) for node in flat):
        return True
    return not any(
        str(flat[at][0]) in _CHARACTER and _characters(flat[at]).isdisjoint(_of_all(flat[:at] if at else flat[1:]))
        for at in (len(flat) - 1, 0)
    )


def _overlaps(node: Node) -> bool:
    """Whether an alternative may be taken for another: one is empty, varies, or begins like another."""
    if str(node[0]) != "BRANCH":
        return any(_overlaps(one) for inner in _inside(node) for one in _flat(inner))
    alternatives = [_flat(one) for one in _inside(node)]
    if any(not one or _any_varies(one) for one in alternatives):
        return True
    firsts = [_characters(one[0]) for one in alternatives]
    return sum(map(len, firsts)) > len(frozenset().union(*firsts))


def _varies(node: Node) -> bool:
    """Whether it can take one stretch of text in several ways, or several stretches."""
    kind = str(node[0])
    return (kind in _REPEATS and node[1][0] != node[1][1]) or kind == "BRANCH" or any(map(_any_varies, _inside(node)))


def _any_varies(sequence: Sequence[Node]) -> bool:
    return any(map(_varies, sequence))


def _too_wide(tree: Sequence[Node]) -> str | None:
    flat = _flat(tree)
    varying = _of_all([node for node in flat if _varies(node)])
    stretch: list[Node] = []
    for node in [*flat, None]:
        if node is not None and not (str(node[0]) in _CHARACTER and _characters(node).isdisjoint(varying)):
            stretch.append(node)
            continue
        # A character that no repetition takes: what is before it and what is behind it do not multiply.
        if _ways(stretch) > _MOST_WAYS:
            return (
                "several repetitions that can take the same character, which may take very long: expected at most two "
                "such as .*, or a character between them that none of them takes"
            )
        stretch = []
    return None


def _ways(stretch: Sequence[Node]) -> int:
    repeats = [(_ways_of(node), _of_all(list(node[1][2]))) for node in _outermost(stretch)]
    return max(prod(ways for ways, taken in repeats if character in taken) for character in _CHARACTERS)


def _ways_of(repeat: Node) -> int:
    least, most = int(repeat[1][0]), int(repeat[1][1])
    return max(min(most, MAX_ID_BYTES) - least + 1, 1)


def _outermost(sequence: Sequence[Node]) -> Iterator[Node]:
    """Repetitions that are not within another: those within one have their ends marked."""
    for node in sequence:
        if str(node[0]) in _REPEATS:
            yield node
            continue
        for inner in _inside(node):
            yield from _outermost(inner)


def _flat(sequence: Sequence[Node]) -> list[Node]:
    """Without groups, and without what takes no character."""
    found: list[Node] = []
    for node in sequence:
        kind = str(node[0])
        if kind in {"SUBPATTERN", "ATOMIC_GROUP"}:
            found += _flat(_inside(node)[0])
        elif kind not in {"AT", "ASSERT", "ASSERT_NOT"}:
            found.append(node)
    return found


def _inside(node: Node) -> list[list[Node]]:
    kind, value = str(node[0]), node[1]
    if kind in _REPEATS:
        return [list(value[2])]
    if kind == "SUBPATTERN":
        return [list(value[3])]
    if kind == "ATOMIC_GROUP":
        return [list(value)]
    if kind in {"ASSERT", "ASSERT_NOT"}:
        return [list(value[1])]
    return [list(one) for one in value[1]] if kind == "BRANCH" else []


def _of_all(sequence: Sequence[Node]) -> frozenset[str]:
    return frozenset().union(*(_characters(node) for node in sequence))


def _characters(node: Node) -> frozenset[str]:
    """What a part can take, character by character."""
    kind, value = str(node[0]), node[1]
    if kind == "LITERAL":
        return _spelled((value,))
    if kind == "NOT_LITERAL":
        return _ALL - {chr(value)}
    if kind == "RANGE":
        return _spelled(range(value[0], min(value[1], 256) + 1)) | _spelled(value)
    if kind == "CATEGORY":
        return frozenset(one for one in _CHARACTERS if one == _OTHER or re.match(_CATEGORIES[str(value)], one))
    if kind == "IN":
        negated = str(value[0][0]) == "NEGATE"
        taken = _of_all(value[1:] if negated else value)
        return (_ALL - taken) | {_OTHER} if negated else taken
    if kind == "ANY":
        return _ALL
    return frozenset().union(*(_of_all(inner) for inner in _inside(node)))


def _spelled(codes: Iterable[int]) -> frozenset[str]:
    """In both cases, since the pattern may ignore them."""
    found = {chr(code) for code in codes}
    every = (spelling for one in found for spelling in (one, one.lower(), one.upper()))
    return frozenset(one if len(one) == 1 and ord(one) < 256 else _OTHER for one in every)
