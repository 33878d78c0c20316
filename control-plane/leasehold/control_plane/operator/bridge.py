"""The same methods as JSON over HTTP, by one bridge for all of them: a request is carried to the guarded handler that
gRPC calls, in the clothes of a stream.

``POST /v1/operator/<Method>`` with a JSON body; ``GET`` with a query for what only reads; a stream of answers as
server-sent events. What a foreign page could make a browser send is refused: a body that is not ``application/json``,
an ``Origin`` that is not ours, and, where no proof is needed, a ``Host`` that is not this machine's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

import betterproto2
import structlog
from aiohttp import web
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError

from leasehold.control_plane.core.json_requests import BadRequest, nested, read_message
from leasehold.control_plane.operator.guard import READS, SERVICE, Served

MOST_BYTES = 1024 * 1024
DEADLINE_SECONDS = 30.0
"""Of one answer; a stream goes on until the client ends it."""
_HTTP: Mapping[Status, int] = {
    Status.INVALID_ARGUMENT: 400, Status.UNAUTHENTICATED: 401, Status.PERMISSION_DENIED: 403, Status.NOT_FOUND: 404,
    Status.ABORTED: 409, Status.FAILED_PRECONDITION: 400, Status.RESOURCE_EXHAUSTED: 429, Status.CANCELLED: 499,
    Status.UNIMPLEMENTED: 501, Status.UNAVAILABLE: 503, Status.DEADLINE_EXCEEDED: 504,
}  # fmt: skip
"""As google.rpc.Code says."""
_LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))
log = structlog.get_logger()


class Bridge:
    """``origins``: other places whose pages may call. ``local_only``: nobody has to prove who they are."""

    def __init__(self, served: Served, *, origins: frozenset[str] = frozenset(), local_only: bool = False) -> None:
        self._handlers = {path.removeprefix(SERVICE): one for path, one in served.__mapping__().items()}
        self._origins, self._local_only = origins, local_only

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/v1/operator/{method}", self._serve)]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        stream: _Stream | None = None
        headers = self._headers(request)
        if request.method == "OPTIONS" and "Access-Control-Allow-Origin" in headers:
            return web.Response(status=204, headers={**headers, **_PREFLIGHT})
        try:
            method = request.match_info["method"]
            handler = self._handlers.get(method)
            if handler is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"no such method; expected one of {', '.join(self._handlers)}")
            self._refuse_foreign(request, method)
            kind = _Events if handler.cardinality.server_streaming else _Stream
            stream = kind(request, handler, headers)
            async with asyncio.timeout(None if handler.cardinality.server_streaming else DEADLINE_SECONDS):
                await handler.func(stream)
            return await stream.finished()
        except GRPCError as error:
            if isinstance(stream, _Events) and stream.begun:
                return await stream.failed(error)
            return _told(error, headers)
        except TimeoutError:
            late = GRPCError(Status.DEADLINE_EXCEEDED, "it took too long; look before repeating a write")
            return _told(late, headers)

    def _headers(self, request: web.Request) -> dict[str, str]:
        """Of every answer; a page of one of ``origins`` may read it."""
        origin = request.headers.get("Origin")
        if origin not in self._origins:
            return _QUIET
        return {**_QUIET, "Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    def _refuse_foreign(self, request: web.Request, method: str) -> None:
        if request.method not in {"GET", "POST"} or (request.method == "GET" and method not in READS):
            raise _Http(405, Status.INVALID_ARGUMENT, f"{method}: expected POST, got {request.method}")
        if request.method == "POST" and request.content_type != "application/json":
            raise _Http(415, Status.INVALID_ARGUMENT, f"expected application/json, got {request.content_type}")
        host = urlsplit(f"//{request.host}")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins and urlsplit(origin).netloc != request.host:
            raise GRPCError(Status.PERMISSION_DENIED, f"a page of {origin} may not call this")
        if self._local_only and host.hostname not in _LOCAL:
            raise GRPCError(Status.PERMISSION_DENIED, f"expected to be called as localhost, not {request.host}")


class _Http(GRPCError):
    """One that HTTP knows a better status for."""

    def __init__(self, http: int, status: Status, message: str) -> None:
        super().__init__(status, message)
        self.http = http


class _Peer:
    def __init__(self, request: web.Request) -> None:
        self._request = request

    def addr(self) -> tuple[str, int] | None:
        address: tuple[str, int] | None = self._request.get_extra_info("peername")
        return address

    def cert(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._request.get_extra_info("peercert")
        return found


class _Stream:
    """What a handler needs of one: who asks, one request in, and one answer out."""

    def __init__(self, request: web.Request, handler: Handler, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._request, self._kind = request, cast("type[betterproto2.Message]", handler.request_type)
        self.metadata = {key.lower(): value for key, value in request.headers.items()}
        self.peer = _Peer(request)
        self._answer: betterproto2.Message | None = None

    async def recv_message(self) -> betterproto2.Message:
        """Called when it is known who asks, and not before: a body of a stranger is not even read."""
        try:
            if self._request.method == "GET":
                return read_message(self._kind, nested(self._request.query.items(), self._kind))
            body = await self._request.read()
            return read_message(self._kind, json.loads(body or b"{}"))
        except BadRequest as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        except (ValueError, RecursionError) as error:
            raise GRPCError(Status.INVALID_ARGUMENT, f"the body is no JSON: {error}") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise _Http(413, Status.INVALID_ARGUMENT, f"the body has more than {MOST_BYTES} bytes") from error

    async def send_message(self, message: betterproto2.Message) -> None:
        self._answer = message

    async def finished(self) -> web.StreamResponse:
        return web.json_response(_plain(self._answer), headers=self._headers)


class _Events(_Stream):
    """Many answers out, as they come."""

    def __init__(self, request: web.Request, handler: Handler, headers: Mapping[str, str]) -> None:
        super().__init__(request, handler, headers)
        self.begun = False
        self._response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})

    async def send_message(self, message: betterproto2.Message) -> None:
        try:
            if not self.begun:
                await self._response.prepare(self._request)
                self.begun = True
            await self._write("message", _plain(message))
        except ConnectionResetError as error:
            raise GRPCError(Status.CANCELLED, "the client is gone") from error

    async def failed(self, error: GRPCError) -> web.StreamResponse:
        """It is too late for a status: an event of its own says so."""
        if error.status is not Status.CANCELLED:
            with suppress(ConnectionResetError):
                await self._write("error", _body(error))
        return self._response

    async def finished(self) -> web.StreamResponse:
        return self._response

    async def _write(self, event: str, value: object) -> None:
        await self._response.write(f"event: {event}\ndata: {json.dumps(value)}\n\n".encode())


_QUIET = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600",
    "Access-Control-Allow-Headers": "authorization, content-type, leasehold-tenant",
}  # fmt: skip


def _plain(message: betterproto2.Message | None) -> dict[str, Any]:
    return message.to_dict(include_default_values=True) if message is not None else {}


def _body(error: GRPCError) -> dict[str, Any]:
    return {"code": error.status.name, "message": error.message or "", "details": list(error.details or ())}


def _told(error: GRPCError, headers: Mapping[str, str]) -> web.Response:
    status = error.http if isinstance(error, _Http) else _HTTP.get(error.status, 500)
    more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response(_body(error), status=status, headers={**headers, **more})
