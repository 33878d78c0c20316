"""What is wrong with a source or a path template, as place and problem."""

from __future__ import annotations

import re
from collections.abc import Iterator

import jmespath
import jmespath.exceptions

from leasehold.protocol.rules.sources import Message, Source
from leasehold.protocol.templates import BadTemplate, PathTemplate

PROTO_NAME = "[A-Za-z_][A-Za-z0-9_]*"


def source_nonsense(where: str, source: Source, variables: tuple[str, ...] | None) -> Iterator[tuple[str, str]]:
    given = [name for name in ("json", "header", "path", "grpc") if getattr(source, name) is not None]
    if len(given) != 1:
        yield where, f"expected exactly one of json, header, path, grpc; got {' and '.join(given) or 'none'}"
    if source.json is not None:
        try:
            jmespath.compile(source.json)
        except (jmespath.exceptions.JMESPathError, RecursionError) as error:
            yield f"{where}.json", f"expected a JMESPath expression: {error}"
    if source.path is not None and source.path not in (variables or ()):
        known = ", ".join(variables or ()) or "none here"
        yield f"{where}.path", f"expected a variable of match.path ({known}), got {source.path!r}"
    if source.grpc is not None:
        yield from _message_nonsense(f"{where}.grpc.field", source.grpc)
    if source.pattern is not None:
        if source.header is None:
            yield f"{where}.pattern", "expected only beside header"
        yield from template_nonsense(f"{where}.pattern", source.pattern, "id")


def _message_nonsense(where: str, message: Message) -> Iterator[tuple[str, str]]:
    if message.numbers is None:
        if not re.fullmatch(rf"{PROTO_NAME}(\.{PROTO_NAME})*", message.field):
            yield where, f'expected field numbers ("1.2") or names ("blob.id"), got {message.field!r}'
    elif not all(0 < number < 1 << 29 for number in message.numbers):
        yield where, f"expected field numbers from 1 to {(1 << 29) - 1}, got {message.field!r}"


def template_nonsense(where: str, text: str, needs: str | None) -> Iterator[tuple[str, str]]:
    try:
        template = PathTemplate.compile(text)
    except BadTemplate as error:
        yield where, str(error)
        return
    if needs is not None and template.names != (needs,):
        yield where, f"expected {{{needs}}} (or {{+{needs}}}) and no other variable, got {text!r}"
