"""Texts from other people's traffic: what may be an id, and why not. Pure."""

from __future__ import annotations

import re
from typing import Final

import jmespath.exceptions
import jmespath.parser

from leasehold.protocol.names import MAX_ID_BYTES

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_UNSEARCHABLE: Final = (
    jmespath.exceptions.JMESPathError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What JMESPath functions let through when the data is not what they were written for."""


class NoId(Exception):
    """There is none to be had; ``reason`` as in ``events.Unusable``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def search(expression: jmespath.parser.ParsedResult, document: object) -> object:
    """What JMESPath finds. Raises ``NoId`` when the data is not what the expression was written for."""
    try:
        found: object = expression.search(document)
    except _UNSEARCHABLE as error:
        raise NoId("no-id") from error
    return found


def as_text(value: object) -> str:
    """An id as JSON has it: text, or a whole number. Raises ``NoId``."""
    if value is None:
        raise NoId("no-id")
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError as error:  # thousands of digits
            raise NoId("too-long") from error
    raise NoId("not-text")


def check(text: str) -> None:
    """Whether it may be an id at all. Raises ``NoId``."""
    if not text:
        raise NoId("empty")
    if _SURROGATE.search(text):
        raise NoId("not-utf8")
    if len(text.encode()) > MAX_ID_BYTES:
        raise NoId("too-long")
    if CONTROL.search(text):
        raise NoId("control-characters")
