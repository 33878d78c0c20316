"""Speaking to an owner over HTTP; what happens in which order is told by ``visit``.

Laws:

- The id becomes path segments of a compiled template, on the configured origin. Redirects are not followed.
- Nothing below us repeats a request (``lines``).
- What proves who we are is told in ``credentials``. A request that is turned away as unproven (401) is sent once more
  where a fresh proof can be had: the owner said that it did nothing.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from typing import TypeVar

import jmespath

from leasehold.control_plane.owners.continuing import traced
from leasehold.control_plane.owners.credentials import Credentials, NoCredential, Outgoing
from leasehold.control_plane.owners.lines import Lines
from leasehold.control_plane.owners.outcome import Answer, Fetched, Verdict, of_delete, of_notice, of_read
from leasehold.control_plane.owners.outcome_verify import of_verify
from leasehold.control_plane.owners.visit import Reply, Sign, recognised, visit
from leasehold.protocol.names import Resource
from leasehold.protocol.rules import DeleteCall, NoticeCall, Owner, ReadCall, Source, Tls, VerifyCall
from leasehold.protocol.templates import PathTemplate, UnsafeId

USER_AGENT = "leasehold-control-plane"
T = TypeVar("T")
_compiled = lru_cache(256)(PathTemplate.compile)
"""An owner's document has a handful."""


class HttpOwner:
    """One owner, as one revision of its document describes it. Close it when the document changes."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._origin = owner.endpoint.rstrip("/")
        self._credentials = Credentials(owner)
        self._lines: Lines | None = None
        self._tls_seen: tuple[int, ...] = ()

    def _hang_up(self) -> None:
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()

    async def close(self) -> None:
        self._hang_up()
        await self._credentials.close()

    async def sweep(self, resource: Resource, incarnation: str, *, first: bool) -> Answer:
        """Delete one incarnation of a resource. The caller bounds the time (``TimeoutError`` comes out as it is).

        ``first``: no earlier attempt was sent. Safe to repeat, as far as the owner's precondition goes.
        """
        return await _answered(visit(self, self.owner, resource, incarnation, first=first))

    async def verify(self, resource: Resource, call: VerifyCall) -> Answer:
        """Whether a resource is in use after all. Bounded by the caller; safe to repeat."""
        return await _answered(self._verify(resource, call))

    async def _verify(self, resource: Resource, call: VerifyCall) -> Answer:
        response = await self._call(call.method, call.path, resource, {})
        reply = _reply(response, None, call.method)
        return Answer(of_verify(call, response.status, response.body), f"verify: {reply.said}", reply.retry_after)

    async def tell(self, resource: Resource, call: NoticeCall, incarnation: str | None) -> Answer:
        """That a resource is condemned (then ``incarnation`` is compared, where deletes are conditional), or is not any
        more (``None``). Bounded by the caller; safe to repeat, by the owner's contract."""
        return await _answered(self._tell(resource, call, incarnation))

    async def _tell(self, resource: Resource, call: NoticeCall, incarnation: str | None) -> Answer:
        headers = {}
        if incarnation is not None:
            found = await recognised(self, self.owner, resource, incarnation)
            if isinstance(found, Answer):
                return found
            headers = {"If-Match": found} if found is not None else {}
        response = await self._call(call.method, call.path, resource, headers)
        reply = _reply(response, of_notice(response.status), call.method)
        return Answer(reply.verdict or Verdict.UNKNOWN, reply.said, reply.retry_after)

    async def fetch(self, target: str, method: str = "GET") -> Fetched | Answer:
        """Ask for something that is no single resource, at an absolute path on the configured origin. Safe to repeat.

        The caller bounds the time (``TimeoutError`` comes out as it is). An ``Answer`` says why there was none.
        """
        return await _answered(self._request(method, target, {}))

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
        template = _compiled(path)
        return await self._request(method, template.expand(dict.fromkeys(template.names, resource.id)), headers)

    async def _request(self, method: str, target: str, headers: Mapping[str, str]) -> Fetched:
        """Send it with the proof of who asks; once more, with a fresh one, where that was turned away."""
        plain = Outgoing(method, self._origin + target, {"User-Agent": USER_AGENT, **self.owner.headers, **headers})
        proven = await self._credentials.prove(plain)
        response = await self._send(proven)
        if response.status == 401 and self._credentials.turned_away(proven):
            response = await self._send(await self._credentials.prove(plain))
        return response

    async def _send(self, request: Outgoing) -> Fetched:
        return await self._ready().exchange(request.method, request.url, traced(request.headers))

    def _ready(self) -> Lines:
        seen = self._credentials.tls_times()
        if self._lines is not None and seen != self._tls_seen:
            self._hang_up()
        if self._lines is None:
            tls, name = self.owner.tls, self.owner.tls.server_name if self.owner.tls else None
            context = _context(tls) if self._origin.lower().startswith("https:") else None
            self._lines = Lines(self._origin, context, name, self.owner.limits.concurrency)
            self._tls_seen = seen
        return self._lines


def _reply(response: Fetched, verdict: Verdict | None, method: str) -> Reply:
    return Reply(verdict, f"{method} {response.status}", response.wait)


async def _answered(call: Awaitable[T]) -> T | Answer:
    """What follows from a call that failed: the one place where failures become verdicts."""
    try:
        return await call
    except UnsafeId as error:
        return Answer(Verdict.UNVERIFIABLE, f"nothing was sent: {error}")
    except NoCredential as error:
        return Answer(error.verdict, str(error), error.retry_after)
    except ssl.SSLError as error:
        return Answer(Verdict.MISCONFIGURED, f"TLS: {error}")
    except ConnectionError as error:
        return Answer(Verdict.UNKNOWN, f"{type(error).__name__}: {error}")
    except TimeoutError:
        raise  # an OSError, but about time: the caller's business
    except (OSError, ValueError) as error:
        # A secret or certificate that cannot be read, or a header that cannot be sent.
        return Answer(Verdict.MISCONFIGURED, str(error))


def _context(tls: Tls | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca if tls else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls is not None and tls.cert is not None:
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
