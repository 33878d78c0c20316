"""What proves who we are to one owner; each kind in a file of its own, behind one small port.

Laws:

- Secrets come from files (or from botocore's own places) and are read again when they change. They go to this owner,
  or to its token server, and nowhere else: not into logs, records, error texts or what ``repr`` shows.
- Nothing is sent without the secret that its document asks for.
- Nothing here blocks the event loop for longer than it takes to read a small file.
"""

from __future__ import annotations

from pathlib import Path

from leasehold.control_plane.owners.credentials.aws import AwsSignature
from leasehold.control_plane.owners.credentials.oauth2 import ClientCredentials
from leasehold.control_plane.owners.credentials.plain import BasicPassword, BearerFile, Nobody
from leasehold.control_plane.owners.credentials.port import Credential, NoCredential, Outgoing
from leasehold.control_plane.owners.credentials.secret_file import SecretFile
from leasehold.protocol.rules import Owner

__all__ = ["Credentials", "NoCredential", "Outgoing"]


class Credentials:
    """One owner's: its TLS files, header files, and one credential."""

    def __init__(self, owner: Owner) -> None:
        self._tls = owner.tls
        self._headers = {name: SecretFile(f"header_files.{name}", file) for name, file in owner.header_files.items()}
        self._credential = _credential(owner)

    def tls_times(self) -> tuple[int, ...]:
        """When the TLS files last changed: another answer means another connection. Raises ``OSError``."""
        files = (self._tls.ca, self._tls.cert, self._tls.key) if self._tls else ()
        return tuple(Path(file).stat().st_mtime_ns for file in files if file is not None)

    async def prove(self, request: Outgoing) -> Outgoing:
        """The request as it has to be sent. Raises ``NoCredential``: then it must not be sent."""
        request = request.with_headers({name: file.read() for name, file in self._headers.items()})
        return await self._credential.prove(request)

    def turned_away(self, request: Outgoing) -> bool:
        """The owner did not believe this request. Whether it is worth proving it anew and sending it once more."""
        return self._credential.turned_away(request)

    async def close(self) -> None:
        await self._credential.close()


def _credential(owner: Owner) -> Credential:
    if owner.bearer_token_file is not None:
        return BearerFile(owner.bearer_token_file)
    auth = owner.auth
    if auth is not None and auth.basic is not None:
        return BasicPassword(auth.basic)
    if auth is not None and auth.oauth2 is not None:
        return ClientCredentials(auth.oauth2)
    if auth is not None and auth.aws is not None:
        return AwsSignature(auth.aws)
    return Nobody()
