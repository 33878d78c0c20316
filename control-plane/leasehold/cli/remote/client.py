"""One call of the operator API, and how its trouble is told: one line with what, where and why."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from leasehold import v1
from leasehold.cli.target import Failure, Target
from leasehold.protocol.names import Resource

T = TypeVar("T")


def ask(target: Target, work: Callable[[v1.OperatorStub], Awaitable[T]]) -> T:
    """Connect, do ``work``, disconnect. Every call in it has the target's deadline. Raises ``Failure``."""
    try:
        return asyncio.run(_connected(target, work))
    except GRPCError as error:
        raise Failure(f"{_told(error.status)}{error.message or error.status.name} [{target.where}]") from error
    except (OSError, TimeoutError, StreamTerminatedError, ssl.SSLError, ValueError) as error:
        raise Failure(
            f"the operator API cannot be reached [{target.where}]: {error or type(error).__name__}"
        ) from error


def name_of(resource: Resource) -> v1.ResourceName:
    return v1.ResourceName(owner=resource.owner, type=resource.type, id=resource.id)


async def _connected(target: Target, work: Callable[[v1.OperatorStub], Awaitable[T]]) -> T:
    url = urlsplit(target.server or "")
    channel = Channel(url.hostname, url.port, ssl=_tls(target) if url.scheme == "https" else None)
    metadata = {"leasehold-tenant": str(target.tenant), **_proof(target)}
    try:
        return await work(v1.OperatorStub(channel, timeout=target.deadline, metadata=metadata))
    finally:
        channel.close()


def _proof(target: Target) -> dict[str, str]:
    if target.token_file is None:
        return {}
    return {"authorization": f"Bearer {Path(target.token_file).read_text().strip()}"}


def _tls(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=target.ca)
    context.set_alpn_protocols(["h2"])
    if target.cert is not None:
        context.load_cert_chain(target.cert, target.key)
    return context


def _told(status: Status) -> str:
    return {
        Status.UNAUTHENTICATED: "not let in: ", Status.PERMISSION_DENIED: "not permitted: ",
        Status.DEADLINE_EXCEEDED: "no answer in time; a change may or may not have happened (look, then repeat): ",
    }.get(status, "")  # fmt: skip
