"""The file of tokens: one a line, ``<name> <role> <tenant> sha256:<hex>``, ``#`` begins a comment.

Tokens are 32 random bytes, so a plain digest cannot be turned back. The file is read again when it changed; one that
cannot be read, or has a mistake, lets nobody in by a token until it is mended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import structlog

from leasehold.control_plane.operator.access import ROLES, Token
from leasehold.protocol.names import is_name

EXPECTED = "expected `<name> viewer|operator|admin <tenant>|* sha256:<64 hex digits>`"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
log = structlog.get_logger()


class BadTokens(ValueError):
    """``str()`` has every mistake with its line."""


def parse_tokens(text: str) -> list[Token]:
    """Raises ``BadTokens``."""
    found, wrong = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        token = _token(words)
        if token is None:
            wrong.append(f"line {number}: {EXPECTED}")
        else:
            found.append(token)
    if wrong:
        raise BadTokens("; ".join(wrong))
    return found


def _token(words: Sequence[str]) -> Token | None:
    if len(words) != 4:
        return None
    name, role, tenant, digest = words
    matched = _DIGEST.fullmatch(digest)
    if role not in ROLES or matched is None or not is_name(name) or not (tenant == "*" or is_name(tenant)):
        return None
    return Token(name, ROLES[role], tenant, bytes.fromhex(matched[1]))


class TokenFile:
    """Called, it has what the file says now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._tokens: list[Token] = []

    def __call__(self) -> Sequence[Token]:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._seen, self._tokens = seen, []
                self._tokens = parse_tokens(self._path.read_text())
                log.info("operator_tokens_read", file=str(self._path), tokens=len(self._tokens))
        except (OSError, ValueError) as error:
            if self._tokens or self._seen is not None:
                log.error("operator_tokens_unreadable", file=str(self._path), error=str(error))
            self._tokens = []
        return self._tokens
