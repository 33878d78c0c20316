"""The Kubernetes API server, as far as we need it: list, watch, and patches of a status.

One place retries, and it is not here. Every call has a deadline; a watch ends by itself, at the latest when the server
was told to end it and has not. The token is read for each call, because the kubelet renews the file; a new ``ca``
counts from the next call after a certificate that the old one did not fit.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from leasehold.protocol.errors import LeaseholdError

WATCH_SECONDS: Final = 240
"""How long one watch lasts: a connection that is dead without anybody having said so is noticed after this."""
PAGE_SIZE: Final = 500
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of one answer, or one event: more is no API server's."""
MERGE_PATCH: Final = "application/merge-patch+json"


class ApiError(LeaseholdError):
    """The call did not succeed. ``str()`` names the call and what was said. Safe to retry, later."""


class Expired(ApiError):
    """The resource version is gone: list again."""


class NotThere(ApiError):
    """404: the object, or its whole kind."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is, and what proves who asks. Files: a bearer token, and a CA in PEM."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    deadline_seconds: float = 10.0


class ApiServer:
    """A client of one API server. Enter it, or close it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def list(self, path: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        """Everything of a kind, and the resource version it was read at. Raises ``ApiError``."""
        items: list[dict[str, Any]] = []
        following = ""
        while True:
            page = await self._call("GET", path, {**_selected(selector), "limit": str(PAGE_SIZE), **_next(following)})
            metadata = page.get("metadata") or {}
            items += (item for item in page.get("items") or () if isinstance(item, dict))
            following = metadata.get("continue") or ""
            if not following:
                return items, str(metadata.get("resourceVersion", ""))

    async def watch(self, path: str, selector: str, version: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Changes since ``version``, as type and object, until the server ends it. Raises ``ApiError``.

        Close the generator to end the watch.
        """
        parameters = {
            **_selected(selector), "watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }  # fmt: skip
        limit = aiohttp.ClientTimeout(
            total=WATCH_SECONDS + self._access.deadline_seconds, sock_connect=self._access.deadline_seconds
        )
        what = f"watch {path}"
        try:
            async with self._request("GET", path, parameters, timeout=limit) as response:
                if response.status != 200:
                    raise _refusal(what, response.status, await _body(response))
                async for line in _lines(response.content):
                    event = json.loads(line)
                    kind, thing = str(event.get("type")), event.get("object") or {}
                    if kind == "ERROR":
                        raise _refusal(what, int(thing.get("code") or 0), thing)
                    yield kind, thing
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise await self._trouble(what, error) from error

    async def patch(self, path: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """A merge patch. Raises ``NotThere`` for what is gone, ``ApiError`` for all else. Safe to repeat."""
        return await self._call("PATCH", path, {}, json.dumps(patch).encode())

    async def create(self, path: str, thing: Mapping[str, Any]) -> dict[str, Any]:
        """A new object; what the server makes of it. Raises ``ApiError``. Repeat it only where that does no harm."""
        return await self._call("POST", path, {}, json.dumps(thing).encode(), "application/json")

    async def _call(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: bytes | None = None,
        content_type: str = MERGE_PATCH,
    ) -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(total=self._access.deadline_seconds)
        what = f"{method} {path}"
        try:
            async with self._request(method, path, parameters, content_type, data=body, timeout=limit) as response:
                answer = await _body(response)
                if response.status >= 300:
                    raise _refusal(what, response.status, answer)
                return answer
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise await self._trouble(what, error) from error

    def _request(
        self, method: str, path: str, parameters: Mapping[str, str], content_type: str = MERGE_PATCH, **more: Any
    ) -> Any:
        headers = {"Accept": "application/json"}
        if more.get("data") is not None:
            headers["Content-Type"] = content_type
        try:
            if self._access.token_file is not None:
                headers["Authorization"] = f"Bearer {self._access.token_file.read_text(encoding='ascii').strip()}"
            if self._session is None:
                self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls(), limit=8))
        except OSError as error:
            raise ApiError(f"{method} {path}: {error.filename or 'ca'}: {error.strerror}") from error
        # Redirects would carry the token elsewhere.
        return self._session.request(
            method, self._access.url + path, params=dict(parameters), headers=headers, allow_redirects=False, **more
        )

    def _tls(self) -> ssl.SSLContext | bool:
        if self._access.ca_file is None:
            return True
        return ssl.create_default_context(cafile=str(self._access.ca_file))

    async def _trouble(self, what: str, error: Exception) -> ApiError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            await self.close()
        if isinstance(error, TimeoutError):
            return ApiError(f"{what}: no answer in time")
        return ApiError(f"{what}: {type(error).__name__}: {error}")


def _selected(selector: str) -> dict[str, str]:
    return {"labelSelector": selector} if selector else {}


def _next(following: str) -> dict[str, str]:
    return {"continue": following} if following else {}


def _refusal(what: str, status: int, answer: Mapping[str, Any]) -> ApiError:
    kind = {410: Expired, 404: NotThere}.get(status, ApiError)
    return kind(f"{what}: {status} {answer.get('message') or answer.get('reason') or ''}".rstrip())


async def _body(response: aiohttp.ClientResponse) -> dict[str, Any]:
    raw = bytearray()
    async for piece in response.content.iter_any():
        raw += piece
        if len(raw) > MOST_BYTES:
            raise ValueError(f"an answer of more than {MOST_BYTES} bytes")
    try:
        answer = json.loads(raw)
    except ValueError:
        if response.status < 300:
            raise
        return {}  # a proxy's error page
    return answer if isinstance(answer, dict) else {}


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Events stand on a line each, and may be longer than what aiohttp takes for one."""
    rest = bytearray()
    async for piece in content.iter_any():
        rest += piece
        *lines, last = rest.split(b"\n")
        rest = last
        if len(rest) > MOST_BYTES:
            raise ValueError(f"an event of more than {MOST_BYTES} bytes")
        for line in lines:
            if line.strip():
                yield bytes(line)
