"""Path templates: ``/v1/blobs/{id}`` and ``/bucket/{+key}``. They match request paths and build owner paths.

``{name}`` is exactly one path segment, ``{+name}`` one or more. Values are percent-decoded strictly as UTF-8 when
matched and percent-encoded again when expanded, each segment by itself, so that no id can leave its place: a segment
that is empty, ``.`` or ``..`` is refused. Matching and expanding are inverse to each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from leasehold.protocol.errors import LeaseholdError

_VARIABLE = re.compile(r"\{(\+?)([A-Za-z_][A-Za-z0-9_]*)\}")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")  # what most ids look like: nothing to decode, nothing to refuse
_SEGMENT_SAFE = "!$&'()*+,;=:@"  # RFC 3986 pchar besides the unreserved: legal in a segment as they are


class BadTemplate(LeaseholdError):
    """A template that cannot be compiled; ``str()`` says what was expected."""


class UnsafeId(LeaseholdError):
    """An id that cannot be one path segment (or several): nothing was sent."""


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A compiled template. ``names`` are its variables in order."""

    text: str
    names: tuple[str, ...]
    _pattern: re.Pattern[str] = field(repr=False, compare=False)
    _parts: tuple[tuple[str, bool], ...] = field(repr=False, compare=False)

    @classmethod
    def compile(cls, text: str) -> PathTemplate:
        """Raises ``BadTemplate``: expected an absolute path whose variables stand between slashes."""
        if not text.startswith("/") or any(mark in text for mark in "?# \t\r\n"):
            raise BadTemplate(f"{text!r}: expected an absolute path like /v1/blobs/{{id}}, without query or fragment")
        names: list[str] = []
        parts: list[tuple[str, bool]] = []
        pattern = ""
        position = 0
        for variable in _VARIABLE.finditer(text):
            literal = text[position : variable.start()]
            several, name = variable[1] == "+", variable[2]
            if name in names:
                raise BadTemplate(f"{text!r}: expected each variable once, found {{{name}}} twice")
            if several and variable.end() != len(text):
                raise BadTemplate(f"{text!r}: expected {{+{name}}} at the very end")
            names.append(name)
            parts += ((literal, False), (name, True))
            pattern += re.escape(literal) + (f"(?P<{name}>.+)" if several else f"(?P<{name}>[^/]+)")
            position = variable.end()
        rest = text[position:]
        if "{" in rest or "}" in rest or any("{" in part or "}" in part for part, variable in parts if not variable):
            raise BadTemplate(f"{text!r}: expected variables as {{name}} or {{+name}}")
        parts.append((rest, False))
        return cls(text, tuple(names), re.compile(pattern + re.escape(rest), re.ASCII | re.DOTALL), tuple(parts))

    @property
    def spans_segments(self) -> bool:
        """Whether the last variable may hold slashes."""
        return "{+" in self.text

    @property
    def literal_prefix(self) -> str:
        """What every matching path begins with."""
        return self._parts[0][0]

    def match(self, path: str) -> Mapping[str, str] | None:
        """The decoded variables, or ``None``. ``path`` is a raw request path without its query.

        Raises ``UnsafeId`` when the path has the shape but a value cannot be an id (not UTF-8, ``..``, empty).
        """
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        several = self.names[-1] if self.spans_segments else None
        return {name: _decode(value, several=name == several) for name, value in found.groupdict().items()}

    def expand(self, values: Mapping[str, str]) -> str:
        """The path with its variables filled in. Raises ``UnsafeId``, or ``KeyError`` for a missing variable."""
        several = self.names[-1] if self.spans_segments else None
        return "".join(
            _encode(values[part], several=part == several) if variable else part for part, variable in self._parts
        )


def _decode(raw: str, *, several: bool) -> str:
    if _PLAIN.fullmatch(raw):
        return raw
    segments = raw.split("/") if several else [raw]
    decoded = []
    for segment in segments:
        try:
            text = unquote_to_bytes(segment).decode("utf-8") if "%" in segment else segment
        except UnicodeDecodeError as error:
            raise UnsafeId(f"{segment!r}: expected percent-encoded UTF-8") from error
        if not segment.isascii() or _STRAY_PERCENT.search(segment):
            # What the owner makes of it is anybody's guess; ours might name another resource.
            raise UnsafeId(f"{segment!r}: expected ASCII with two hexadecimal digits after each '%'")
        _check(text)
        if several and "/" in text:
            # Encoded and plain slashes would become the same id: two resources under one key.
            raise UnsafeId(f"{segment!r}: expected no encoded slash where plain slashes separate segments")
        decoded.append(text)
    return "/".join(decoded)


def _encode(value: str, *, several: bool) -> str:
    segments = value.split("/") if several else [value]
    for segment in segments:
        _check(segment)
    try:
        return "/".join(quote(segment, safe=_SEGMENT_SAFE) for segment in segments)
    except UnicodeEncodeError as error:
        raise UnsafeId(f"{value!r}: expected text that can be encoded as UTF-8") from error


def _check(segment: str) -> None:
    if segment in {"", ".", ".."}:
        raise UnsafeId(f"{segment!r} cannot be a path segment")
    if "\0" in segment:
        raise UnsafeId(f"{segment!r}: expected no NUL")
