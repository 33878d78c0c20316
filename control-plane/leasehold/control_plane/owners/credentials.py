"""What proves who we are to one owner: TLS files and a bearer token, each read again when its file changes."""

from __future__ import annotations

from pathlib import Path

from leasehold.protocol.rules import Owner


class Credentials:
    """One owner's. Every method raises ``OSError`` or ``ValueError`` when a file cannot be used."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._token = ""
        self._token_seen = -1.0

    def tls_times(self) -> tuple[float, ...]:
        """When the TLS files last changed: another answer means another connection."""
        tls = self._owner.tls
        files = (tls.ca, tls.cert, tls.key) if tls else ()
        return tuple(Path(file).stat().st_mtime for file in files if file is not None)

    def authorization(self) -> str | None:
        """The value of the Authorization header, if there is a token."""
        if self._owner.bearer_token_file is None:
            return None
        path = Path(self._owner.bearer_token_file)
        changed = path.stat().st_mtime
        if changed != self._token_seen:
            self._token, self._token_seen = path.read_text(encoding="utf-8").strip(), changed
        return f"Bearer {self._token}"
