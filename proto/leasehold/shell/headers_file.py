"""Headers that prove who we are, in a file: a ``Name: value`` on each line, read again when the file changes."""

from __future__ import annotations

import re
from pathlib import Path

LARGEST_BYTES = 65536
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ -~\t]*[!-~])?)")


class HeadersFile:
    """Error texts name the file, never what is in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._headers: dict[str, str] = {}

    def read(self) -> dict[str, str]:
        """Raises ``ValueError`` and ``OSError``."""
        now = self._path.stat()
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if seen != self._seen:
            self._headers = self._parsed(self._path.read_bytes()[:LARGEST_BYTES].decode("ascii", "replace"))
            self._seen = seen
        return self._headers

    def _parsed(self, text: str) -> dict[str, str]:
        headers = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            found = _HEADER.fullmatch(line.strip())
            if found is None:
                raise ValueError(f"{self._path}:{number}: expected 'Name: value' in visible ASCII")
            headers[found[1]] = found[2]
        return headers
