"""A secret of one line in a file, read again when the file changes."""

from __future__ import annotations

import re
from pathlib import Path

from leasehold.control_plane.owners.credentials.port import NoCredential
from leasehold.control_plane.owners.outcome import Verdict

LARGEST_BYTES = 65536
_VISIBLE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class SecretFile:
    """``field`` is what the owner's document calls it: error texts say that and the path, never what is in it."""

    def __init__(self, field: str, path: str) -> None:
        self._field, self._path = field, Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._secret = ""

    def read(self) -> str:
        """Raises ``NoCredential`` when the file cannot be read or holds no secret: an operator has to mend it."""
        try:
            now = self._path.stat()
            seen = (now.st_mtime_ns, now.st_size, now.st_ino)
            if seen != self._seen:
                self._secret = self._checked(self._path.read_bytes()[: LARGEST_BYTES + 1])
                self._seen = seen
        except OSError as error:
            raise self._unusable(error.strerror or "it cannot be read") from error
        return self._secret

    def _checked(self, content: bytes) -> str:
        # Not the decoding error: it would quote what is in the file.
        text = content.decode("ascii", "replace").strip()
        if len(content) > LARGEST_BYTES or not _VISIBLE.fullmatch(text):
            raise self._unusable("expected one line of visible ASCII text")
        return text

    def _unusable(self, why: str) -> NoCredential:
        self._seen = None
        return NoCredential(Verdict.MISCONFIGURED, f"{self._field} {self._path}: {why}")
