"""The Kubernetes API server, as far as a webhook needs it: get, create, replace and patch one object.

Nothing is retried here. The token is read for each call, because the kubelet renews its file.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from leasehold.protocol.errors import LeaseholdError

MOST_BYTES = 8 * 1024 * 1024
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"


class ApiTrouble(LeaseholdError):
    """The call did not succeed; ``str()`` names it and what was said. Safe to retry, later."""


class NoSuchObject(ApiTrouble):
    """404."""


class ChangedMeanwhile(ApiTrouble):
    """409 or a patch whose test failed: read again first."""


class KubernetesApi(Protocol):
    """One object at a time, by its path."""

    async def get(self, path: str) -> dict[str, Any]:
        """Raises ``ApiTrouble``."""
        ...

    async def create(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]: ...

    async def replace(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]: ...

    async def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """Where it is, and what proves who asks. Files: a bearer token, a CA in PEM."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    deadline_seconds: float = 5.0


class ApiServerClient:
    """``KubernetesApi`` over HTTPS. Close it."""

    def __init__(self, access: ApiAccess) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, path: str) -> dict[str, Any]:
        return await self._call("GET", path)

    async def create(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, document)

    async def replace(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("PUT", path, document)

    async def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return await self._call("PATCH", path, list(operations), JSON_PATCH)

    async def _call(self, method: str, path: str, content: object = None, kind: str = JSON) -> dict[str, Any]:
        what = f"{method} {path}"
        body = None if content is None else json.dumps(content).encode()
        try:
            headers = {"Accept": JSON, "Content-Type": kind, **self._proof()}
            # Redirects would carry the token elsewhere.
            async with self._opened().request(
                method, self._access.url + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                raw = await response.content.read(MOST_BYTES)
                answer = _answer(raw)
                if response.status < 300:
                    return answer
                raise _refusal(what, response.status, answer)
        except TimeoutError as error:
            raise ApiTrouble(f"{what}: no answer within {self._access.deadline_seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                await self.close()  # perhaps the CA's file has changed
            raise ApiTrouble(f"{what}: {error}") from error

    def _proof(self) -> dict[str, str]:
        if self._access.token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._access.token_file.read_text(encoding='ascii').strip()}"}

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            file = self._access.ca_file
            tls: ssl.SSLContext | bool = True if file is None else ssl.create_default_context(cafile=str(file))
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=8),
                timeout=aiohttp.ClientTimeout(total=self._access.deadline_seconds),
            )
        return self._session


def _answer(raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except ValueError:
        return {}  # a proxy's error page
    return answer if isinstance(answer, dict) else {}


def _refusal(what: str, status: int, answer: Mapping[str, Any]) -> ApiTrouble:
    kind = {404: NoSuchObject, 409: ChangedMeanwhile, 422: ChangedMeanwhile}.get(status, ApiTrouble)
    return kind(f"{what}: {status} {answer.get('message') or answer.get('reason') or ''}".rstrip())
