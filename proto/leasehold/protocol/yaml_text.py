"""YAML as people write it here: 1.2's words, no key twice, and bounds on what one text can become. Pure."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

LARGEST_CHARACTERS = 4 * 1024 * 1024
"""Of a document. What etcd or Kubernetes can store is less; the reader takes seconds for as much."""
DEEPEST = 64
MOST_ITEMS = 1_000_000
"""Of a document with its aliases written out: nine short lines can stand for a thousand million."""


class _Yaml(yaml.SafeLoader):
    """YAML 1.2's core schema: ``on`` and ``no`` are words, ``1:30`` is text, a key given twice is a mistake."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"at most {DEEPEST} levels, one within the other", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            # PyYAML leaves these as they come: ``!!bool maybe``, a number of 5000 digits, a list as a key.
            what = f"a value that fits {node.tag.removeprefix('tag:yaml.org,2002:')}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's protocol

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a word as a key, and no list or mapping", key.start_mark
                )
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read_yaml(text: str) -> object:
    """Raises ``yaml.YAMLError``, with the place where there is one."""
    return yaml.load(text, Loader=_Yaml)  # noqa: S506 - a SafeLoader


def weight(value: object, known: dict[int, int] | None = None) -> int:
    """How many items it is with every alias written out. What contains itself has more than there may be."""
    known = {} if known is None else known
    if not isinstance(value, (dict, list)):
        return 1
    found = known.get(id(value))
    if found is None:
        known[id(value)] = MOST_ITEMS + 1  # until it is known: only met again within itself
        inner = value.values() if isinstance(value, dict) else value
        found = known[id(value)] = 1 + sum(weight(one, known) for one in inner)
    return found
