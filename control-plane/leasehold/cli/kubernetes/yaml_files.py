"""Manifests as YAML: read as kubectl reads them, written so that kubectl reads the same again.

Kubernetes reads YAML 1.1: ``yes`` is true there, and ``0644`` is a number in base 8. What YAML 1.1 has beside that and
Kubernetes has not (dates, numbers to the base of 60) stays text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from leasehold.protocol.configuration import BadConfiguration, Mistake
from leasehold.shell.daemon import read_configuration


class _Manifest(yaml.SafeLoader):
    """YAML 1.1 without dates and sexagesimals."""


_Manifest.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _integer(loader: _Manifest, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node) if ":" in node.value else loader.construct_yaml_int(node)


def _float(loader: _Manifest, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node) if ":" in node.value else loader.construct_yaml_float(node)


_Manifest.add_constructor("tag:yaml.org,2002:int", _integer)
_Manifest.add_constructor("tag:yaml.org,2002:float", _float)


class _Writer(yaml.SafeDumper):
    """Long texts as blocks, lists indented as people do; no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and not any(line.endswith(" ") for line in text.splitlines()) else None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)


def read_manifests(paths: Sequence[str]) -> list[Any]:
    """Every document of these files; ``-`` is standard input. Raises ``BadConfiguration``."""
    documents: list[Any] = []
    for path in paths:
        source, text = ("<stdin>", sys.stdin.read()) if path == "-" else (path, read_configuration(Path(path)))
        try:
            documents += [one for one in yaml.load_all(text, Loader=_Manifest) if one is not None]
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error)
            raise BadConfiguration([Mistake(source, where, f"expected YAML: {problem}")]) from error
    return documents


def write_manifests(documents: Iterable[Any]) -> str:
    """All of them, one after the other."""
    return "".join(
        "---\n" + yaml.dump(one, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=10_000) for one in documents
    )
