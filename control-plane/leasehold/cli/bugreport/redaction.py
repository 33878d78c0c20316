"""What may not leave: taken out of documents by the name of the field, and out of text by its look. Pure.

Two nets, because each has holes. A field whose name says secret loses its value, as does every value of ``headers``;
and whatever those values and the secret files of this machine were is looked for *everywhere*, literally, in logs, too.
When in doubt it goes: a report that says less can be asked about, one that said too much cannot be taken back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

GONE = "<redacted>"
_SECRET_FIELD = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|authori[sz]ation|cookie|private|signature|api[-_]?key|access[-_]?key",
    re.IGNORECASE,
)
_NOT_SECRET = re.compile(r"_files?$|^token_url$|^secret_in_body$", re.IGNORECASE)
_VALUES_SECRET = frozenset({"headers", "parameters", "metadata"})
_LEAST_LITERAL = 6
"""Shorter texts are in everything."""

_LOOKS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    (re.compile(r"(?i)\b(bearer|basic|digest|negotiate|aws4-hmac-sha256)\s+[^\s\"',}]+"), rf"\1 {GONE}"),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.?[\w-]*"), GONE),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), GONE),
    (re.compile(r"(?i)(://)[^\s/@\"']+@"), rf"\1{GONE}@"),
    (
        re.compile(
            r"(?i)([\w.-]*(?:pass(?:word|wd|phrase)|secret|token|credential|authorization|cookie|signature|api[-_]?key)"
            r"[\w.-]*[\"']?\s*[:=]\s*)(\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,;&}\]]+)"
        ),
        rf"\1{GONE}",
    ),
)
_FILE_FIELD = re.compile(r"(?i)_files?[\"']?\s*[:=]\s*\Z")
_USERINFO = re.compile(r"://([^\s/@\"']+)@")
_DEFAULT_VALUE = re.compile(r"\$\{[A-Za-z_]\w*:-([^}]+)\}")
_DEFAULT = re.compile(r"(\$\{[A-Za-z_]\w*:-)[^}]*\}")


def document(value: Any, field: str = "") -> Any:
    """The same with the values of secret fields gone, whatever their type; names and shapes stay."""
    if isinstance(value, Mapping):
        everything = field.lower() in _VALUES_SECRET
        return {key: GONE if everything else document(one, str(key)) for key, one in value.items()}
    if _is_secret(field) and value is not None and not isinstance(value, bool):
        return GONE
    if isinstance(value, (list, tuple)):
        return [document(one, field) for one in value]
    return text(value) if isinstance(value, str) else value


def secrets_in(value: Any, field: str = "", *, inside: bool = False) -> Iterator[str]:
    """What ``document`` takes out, as text, to be looked for elsewhere."""
    if isinstance(value, Mapping):
        inside = inside or field.lower() in _VALUES_SECRET
        for key, one in value.items():
            yield from secrets_in(one, str(key), inside=inside)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from secrets_in(one, field, inside=inside)
    elif isinstance(value, str) and (inside or _is_secret(field)):
        yield value
        yield from value.split()  # ``Bearer abc``: the token alone is a secret, too
    elif isinstance(value, str):
        for user in _USERINFO.findall(value):
            yield from user.split(":")[1:]
        yield from _DEFAULT_VALUE.findall(value)


def secret_files_in(value: Any, field: str = "") -> Iterator[str]:
    """The files that a document takes secrets from."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from secret_files_in(one, "header_file" if field == "header_files" else str(key))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from secret_files_in(one, field)
    elif isinstance(value, str) and (field == "header_file" or (field.endswith("_file") and _is_secret(field[:-5]))):
        yield value


def text(value: str, literals: Iterable[str] = ()) -> str:
    """A text without what looks like a secret, and without ``literals``: plainly, percent-encoded, as in JSON."""
    for literal in sorted({one for one in literals if len(one) >= _LEAST_LITERAL}, key=len, reverse=True):
        for spelling in (literal, quote(literal, safe=""), json.dumps(literal)[1:-1]):
            value = value.replace(spelling, GONE)
    value = _DEFAULT.sub(rf"\1{GONE}}}", value)
    for look, instead in _LOOKS:
        value = look.sub(lambda found, instead=instead: _kept(found, instead), value)  # type: ignore[misc]
    return value


def _kept(found: re.Match[str], instead: str) -> str:
    # ``password_file: /etc/pw`` names a place, and places are what one wants to see.
    if found.re.groups == 2 and _FILE_FIELD.search(found[1]):
        return found[0]
    return found.expand(instead)


def _is_secret(field: str) -> bool:
    return bool(_SECRET_FIELD.search(field)) and not _NOT_SECRET.search(field)
