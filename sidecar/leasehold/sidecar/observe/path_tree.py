"""Which path templates are worth asking about a path, found without asking each. Pure.

The tree *nominates*, ``PathTemplate.match`` judges. So it may nominate too many, never too few: a segment of a template
that holds a variable, alone or with text around it, is nominated for whatever stands there, and ``{+name}`` for any
rest. Literal segments are compared as they are written, percent-encodings and all, for so does the template.

Nominees come in the order in which they were given. What a path costs depends on its own segments and on how many
nominees it has, not on how many templates there are; segments beyond the deepest template are not even looked at.

Hot path: most paths are nobody's, and fall out at the beginning that all templates share, or at the segment behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

from leasehold.protocol.templates import PathTemplate

T = TypeVar("T")


class _Node(Generic[T]):
    """What may follow one beginning of a path. Entries carry their place in the order."""

    __slots__ = ("ends", "literals", "rests", "variable")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.variable: _Node[T] | None = None
        self.ends: list[tuple[int, T]] = []
        """Whose path is complete here."""
        self.rests: list[tuple[int, T]] = []
        """Whose path may end with anything from here on."""


class PathTree(Generic[T]):
    """Immutable once built."""

    __slots__ = ("_beginnings", "_cuts", "_only", "_prefix", "_root", "_skip")

    def __init__(self, entries: Iterable[tuple[PathTemplate, T]]) -> None:
        planted = list(entries)
        self._prefix = _common_beginning([template.literal_prefix for template, _ in planted])
        self._skip = len(self._prefix)
        self._root: Final = _Node[T]()
        self._cuts = 0
        for n, (template, value) in enumerate(planted):
            segments = template.text[self._skip :].split("/")
            # One cut more than any template has leaves a last piece that no literal equals.
            self._cuts = max(self._cuts, len(segments))
            _plant(self._root, segments, (n, value))
        root = self._root
        self._beginnings = None if root.variable or root.rests else root.literals
        # Most owners have one rule for a method; to ask its template is cheaper than to walk.
        self._only = (planted[0][1],) if len(planted) == 1 else None

    def nominees(self, path: str) -> Sequence[T]:
        """Whose template may match this raw path; all whose does are among them."""
        if not path.startswith(self._prefix):
            return ()
        if self._only is not None:
            return self._only
        beginnings = self._beginnings
        if beginnings is not None and path[self._skip :].partition("/")[0] not in beginnings:
            return ()
        segments = path[self._skip :].split("/", self._cuts)
        found: list[tuple[int, T]] = []
        branches: list[tuple[_Node[T], int]] = []
        _descend(self._root, segments, found, branches)
        for node, depth in branches:  # grows while it is walked; every node of the tree is there once at most
            _descend(node, segments[depth:], found, branches, depth)
        if len(found) > 1:
            found.sort(key=_place)
        return [value for _, value in found]


def _plant(node: _Node[T], segments: Sequence[str], entry: tuple[int, T]) -> None:
    for segment in segments:
        if "{+" in segment:
            node.rests.append(entry)
            return
        if "{" in segment:
            node.variable = node.variable or _Node()
            node = node.variable
        else:
            node = node.literals.setdefault(segment, _Node())
    node.ends.append(entry)


def _descend(
    node: _Node[T],
    segments: Sequence[str],
    found: list[tuple[int, T]],
    branches: list[tuple[_Node[T], int]],
    depth: int = 0,
) -> None:
    """Follow literals as far as they lead, or else the variable; where both fit, the variable is for later."""
    for behind, segment in enumerate(segments, depth + 1):
        if node.rests:
            found += node.rests
        child = node.literals.get(segment)
        variable = node.variable
        if variable is not None:
            if child is None:
                child = variable
            else:
                branches.append((variable, behind))
        if child is None:
            return
        node = child
    found += node.ends


def _common_beginning(texts: Sequence[str]) -> str:
    """Between the first and the last in order lie all others; so what these two share, all share."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]


def _place(entry: tuple[int, object]) -> int:
    return entry[0]
