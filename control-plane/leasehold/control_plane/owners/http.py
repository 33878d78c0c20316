"""Calling an owner over HTTP: look, compare, delete conditionally, confirm.

Laws:

- With ``if-match`` nothing is deleted that was not just read and recognised: the delete carries the ETag of that very
  read. Another ``uid`` is a namesake: left alone. Another ``etag`` may be the same thing changed by somebody: refused.
- The id becomes path segments of a compiled template, on the configured origin. Redirects are not followed.
- "Deleted" counts once a read says so, where there is a read.
- One sweep call sends at most one delete: nothing below us repeats it.
- Secrets are read again when their file changes. They go to this owner only.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import jmespath
from yarl import URL

from leasehold.control_plane.owners.outcome import Answer, Verdict, of_delete, of_read, retry_after
from leasehold.protocol.names import Resource
from leasehold.protocol.rules import DeleteCall, Owner, Precondition, ReadCall, Source, Tls
from leasehold.protocol.templates import PathTemplate, UnsafeId

LARGEST_ANSWER_BYTES = 1024 * 1024
POLLS_SECONDS = (0.05, 0.2, 0.5)
"""After a 202: how long to wait before each look. Still there afterwards is "pending", and tried again later."""
USER_AGENT = "leasehold-control-plane"


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def answer(self, verdict: Verdict, detail: str) -> Answer:
        return Answer(verdict, detail, retry_after(self.headers.get("Retry-After"), self.headers.get("Date")))


class HttpOwner:
    """One owner, as one revision of its document describes it. Close it when the document changes."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._origin = owner.endpoint.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._tls_seen: tuple[float, ...] = ()
        self._token = ""
        self._token_seen = -1.0

    async def close(self) -> None:
        session, self._session = self._session, None  # first, or who comes meanwhile closes a newer one
        if session is not None:
            await session.close()

    async def sweep(self, resource: Resource, incarnation: str, *, first: bool) -> Answer:
        """Delete one incarnation of a resource. The caller bounds the time (``TimeoutError`` comes out as it is).

        ``first``: no earlier attempt was sent. Safe to repeat, as far as the owner's precondition goes.
        """
        delete, read = self.owner.delete_of(resource.type), self.owner.read_of(resource.type)
        if delete is None or (delete.precondition is Precondition.NONE and not delete.unsafe):
            return Answer(Verdict.MISCONFIGURED, "the owner declares no safe delete")
        try:
            return await self._sweep(resource, incarnation, delete, read, first)
        except UnsafeId as error:
            return Answer(Verdict.UNVERIFIABLE, f"nothing was sent: {error}")
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            return Answer(Verdict.MISCONFIGURED, f"TLS: {error}")
        except (aiohttp.ClientError, ConnectionError) as error:
            return Answer(Verdict.UNKNOWN, f"{type(error).__name__}: {error}")
        except TimeoutError:
            raise  # an OSError, but about time: the caller's business
        except (OSError, ValueError) as error:
            # A secret or certificate that cannot be read, or a header that cannot be sent.
            return Answer(Verdict.MISCONFIGURED, str(error))

    async def _sweep(
        self, resource: Resource, incarnation: str, delete: DeleteCall, read: ReadCall | None, first: bool
    ) -> Answer:
        conditional = delete.precondition is Precondition.IF_MATCH
        etag = None
        if read is not None and (conditional or not first):
            looked = await self._look(resource, incarnation, read, conditional)
            if isinstance(looked, Answer):
                return looked
            etag = looked
        elif conditional:
            return Answer(Verdict.MISCONFIGURED, "if-match needs a read, and the owner declares none")
        headers = {"If-Match": etag} if conditional and etag is not None else {}
        reply = await self._call(delete.method, delete.path, resource, headers)
        said = f"{delete.method} {reply.status}"
        verdict = of_delete(reply.status)
        if verdict in {Verdict.GONE, Verdict.PENDING} and read is not None:
            return await self._confirm(resource, read, said, polls=POLLS_SECONDS)
        return reply.answer(verdict, said)

    async def _look(self, resource: Resource, incarnation: str, read: ReadCall, conditional: bool) -> Answer | str:
        """The ETag of what was read, if it is what was recorded; else the answer that ends this attempt."""
        reply = await self._call(read.method, read.path, resource, {})
        said = f"{read.method} {reply.status}"
        verdict = of_read(reply.status)
        if verdict is not None:
            return reply.answer(verdict, said)
        if not conditional:
            return ""
        etag = reply.headers.get("ETag", "")
        if not etag:
            return Answer(Verdict.UNVERIFIABLE, f"{said}: no ETag to delete by")
        return _compare(incarnation, etag, read, reply) or etag

    async def _confirm(self, resource: Resource, read: ReadCall, said: str, polls: tuple[float, ...]) -> Answer:
        reply = await self._call(read.method, read.path, resource, {})
        verdict = of_read(reply.status)
        if verdict is Verdict.ABSENT:
            return Answer(Verdict.GONE, f"{said}, {read.method} {reply.status}")
        if polls and (verdict is None):
            await asyncio.sleep(polls[0])
            return await self._confirm(resource, read, said, polls[1:])
        return Answer(Verdict.PENDING, f"{said}, but {read.method} {reply.status}")

    # --- HTTP ---------------------------------------------------------------------------------------------------

    async def _call(self, method: str, path: str, resource: Resource, headers: Mapping[str, str]) -> _Reply:
        template = PathTemplate.compile(path)
        url = URL(self._origin + template.expand(dict.fromkeys(template.names, resource.id)), encoded=True)
        session = await self._ready()
        everything = {"User-Agent": USER_AGENT, **self.owner.headers, **self._authorization(), **headers}
        name = self.owner.tls.server_name if self.owner.tls else None
        async with session.request(
            method, url, headers=everything, allow_redirects=False, server_hostname=name
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    break  # not to be parsed any more; the status is what counts
            return _Reply(response.status, response.headers, bytes(body))

    async def _ready(self) -> aiohttp.ClientSession:
        seen = _times(self.owner.tls)
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

    def _authorization(self) -> dict[str, str]:
        if self.owner.bearer_token_file is None:
            return {}
        path = Path(self.owner.bearer_token_file)
        changed = path.stat().st_mtime
        if changed != self._token_seen:
            self._token, self._token_seen = path.read_text(encoding="utf-8").strip(), changed
        return {"Authorization": f"Bearer {self._token}"}


def _times(tls: Tls | None) -> tuple[float, ...]:
    files = (tls.ca, tls.cert, tls.key) if tls else ()
    return tuple(Path(file).stat().st_mtime for file in files if file is not None)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context


def _compare(incarnation: str, etag: str, read: ReadCall, reply: _Reply) -> Answer | None:
    """``None`` when what was read is what was recorded."""
    kind, _, recorded = incarnation.partition(":")
    if kind == "uid" and read.incarnation is not None:
        found = extract(read.incarnation, reply.headers, reply.body)
        if found is None:
            return Answer(Verdict.UNVERIFIABLE, f"{read.method} {reply.status}: it does not tell its incarnation")
        if found != recorded:
            return Answer(Verdict.REPLACED, f"{read.method} {reply.status}: now uid:{found}")
        return None
    if kind == "etag":
        if etag == recorded:
            return None
        return Answer(Verdict.REFUSED, f"{read.method} {reply.status}: changed since, now etag:{etag}")
    return Answer(Verdict.UNVERIFIABLE, f"nothing that the owner shows can be compared with {incarnation!r}")


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
