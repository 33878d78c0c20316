"""Speaking to an owner over HTTP; what happens in which order is told by ``visit``.

Laws:

- The id becomes path segments of a compiled template, on the configured origin. Redirects are not followed.
- Nothing below us repeats a request.
- Secrets are read again when their file changes. They go to this owner only.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping

import aiohttp
import jmespath
from yarl import URL

from leasehold.control_plane.owners.credentials import Credentials
from leasehold.control_plane.owners.outcome import Answer, Fetched, Verdict, of_delete, of_read
from leasehold.control_plane.owners.visit import Reply, Sign, visit
from leasehold.protocol.names import Resource
from leasehold.protocol.rules import DeleteCall, Owner, ReadCall, Source, Tls
from leasehold.protocol.templates import PathTemplate, UnsafeId

LARGEST_ANSWER_BYTES = 1024 * 1024
USER_AGENT = "leasehold-control-plane"


class HttpOwner:
    """One owner, as one revision of its document describes it. Close it when the document changes."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._origin = owner.endpoint.rstrip("/")
        self._credentials = Credentials(owner)
        self._session: aiohttp.ClientSession | None = None
        self._tls_seen: tuple[float, ...] = ()

    async def close(self) -> None:
        session, self._session = self._session, None  # first, or who comes meanwhile closes a newer one
        if session is not None:
            await session.close()

    async def sweep(self, resource: Resource, incarnation: str, *, first: bool) -> Answer:
        """Delete one incarnation of a resource. The caller bounds the time (``TimeoutError`` comes out as it is).

        ``first``: no earlier attempt was sent. Safe to repeat, as far as the owner's precondition goes.
        """
        try:
            return await visit(self, self.owner, resource, incarnation, first=first)
        except UnsafeId as error:
            return Answer(Verdict.UNVERIFIABLE, f"nothing was sent: {error}")
        except aiohttp.ClientError as error:
            return _trouble(error)
        except TimeoutError:
            raise  # an OSError, but about time: the caller's business
        except (OSError, ValueError) as error:
            return _trouble(error)

    async def fetch(self, target: str, method: str = "GET") -> Fetched | Answer:
        """Ask for something that is no single resource, at an absolute path on the configured origin. Safe to repeat.

        The caller bounds the time (``TimeoutError`` comes out as it is). An ``Answer`` says why there was none.
        """
        try:
            return await self._request(method, target, {})
        except aiohttp.ClientError as error:
            return _trouble(error)
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:
            return _trouble(error)

    async def read(self, resource: Resource, read: ReadCall) -> Reply:
        response = await self._call(read.method, read.path, resource, {})
        etag = response.headers.get("ETag")
        signs = {"etag": Sign(etag, Verdict.REFUSED)}
        if read.incarnation is not None:
            found = extract(read.incarnation, response.headers, response.body)
            signs["uid"] = Sign(found, Verdict.REPLACED)
        reply = _reply(response, of_read(response.status), read.method)
        return Reply(reply.verdict, reply.said, reply.retry_after, etag, signs)

    async def delete(self, resource: Resource, delete: DeleteCall, etag: str | None) -> Reply:
        headers = {"If-Match": etag} if etag is not None else {}
        response = await self._call(delete.method, delete.path, resource, headers)
        return _reply(response, of_delete(response.status), delete.method)

    async def _call(self, method: str, path: str, resource: Resource, headers: Mapping[str, str]) -> Fetched:
        template = PathTemplate.compile(path)
        return await self._request(method, template.expand(dict.fromkeys(template.names, resource.id)), headers)

    async def _request(self, method: str, target: str, headers: Mapping[str, str]) -> Fetched:
        url = URL(self._origin + target, encoded=True)
        session = await self._ready()
        token = self._credentials.authorization()
        authorization = {} if token is None else {"Authorization": token}
        everything = {"User-Agent": USER_AGENT, **self.owner.headers, **authorization, **headers}
        name = self.owner.tls.server_name if self.owner.tls else None
        async with session.request(
            method, url, headers=everything, allow_redirects=False, server_hostname=name
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    break  # not to be parsed any more; the status is what counts
            whole = len(body) <= LARGEST_ANSWER_BYTES
            return Fetched(response.status, response.headers, bytes(body), whole)

    async def _ready(self) -> aiohttp.ClientSession:
        seen = self._credentials.tls_times()
        if self._session is not None and seen != self._tls_seen:
            await self.close()
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self.owner.limits.concurrency, ssl=_context(self.owner.tls) if self.owner.tls else True
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # bounded by the caller, who knows more
            )
            # aiohttp repeats a DELETE by itself when a kept connection breaks under it, and offers no switch. The first
            # copy may still arrive; an attempt that nobody numbered must not be taken for the only one.
            self._session._retry_connection = False
            self._tls_seen = seen
        return self._session


def _reply(response: Fetched, verdict: Verdict | None, method: str) -> Reply:
    return Reply(verdict, f"{method} {response.status}", response.wait)


def _trouble(error: aiohttp.ClientError | OSError | ValueError) -> Answer:
    """What follows when there was no answer."""
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return Answer(Verdict.MISCONFIGURED, f"TLS: {error}")
    if isinstance(error, aiohttp.ClientError | ConnectionError):
        return Answer(Verdict.UNKNOWN, f"{type(error).__name__}: {error}")
    # A secret or certificate that cannot be read, or a header that cannot be sent.
    return Answer(Verdict.MISCONFIGURED, str(error))


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context


def extract(source: Source, headers: Mapping[str, str], body: bytes) -> str | None:
    """The text a source names in an answer; ``None`` when it is not there."""
    if source.header is not None:
        value = headers.get(source.header)
        if value is None or source.pattern is None:
            return value
        try:
            found = PathTemplate.compile(source.pattern).match(value)
        except UnsafeId:
            return None
        return found["id"] if found else None
    if source.json is None:
        return None
    try:
        value = jmespath.search(source.json, json.loads(body))
    except (ValueError, jmespath.exceptions.JMESPathError):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None
