"""Speaking to an owner by gRPC; what happens in which order is told by ``visit``.

Laws:

- The id becomes the value of one field, or one segment of it. What does not fit the field is not sent.
- Requests are made, and answers read, by the owner's descriptor set. It and the secrets are read again when their
  files change. Before anything is sent, everything that a visit may need is bound.
- Secrets go to this owner only.
"""

from __future__ import annotations

import asyncio
import ssl

from grpclib.const import Status

from leasehold.control_plane.owners.binding import Binding, Bound
from leasehold.control_plane.owners.continuing import traced
from leasehold.control_plane.owners.credentials import Credentials, NoCredential, Outgoing
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.control_plane.owners.outcome_grpc import of_delete, of_read
from leasehold.control_plane.owners.visit import Reply, safe_delete, visit
from leasehold.control_plane.owners.wire import Said, Wire
from leasehold.protocol.errors import LeaseholdError, Uncertain
from leasehold.protocol.etcd.config import TlsConfig
from leasehold.protocol.etcd.translation import TROUBLE
from leasehold.protocol.grpc_calls import UnaryCall
from leasehold.protocol.names import Resource
from leasehold.protocol.protobuf import BadSchema
from leasehold.protocol.rules import DeleteCall, Owner, ReadCall
from leasehold.protocol.templates import UnsafeId


class _Unready(LeaseholdError):
    """A file of ours cannot be used: this call was not sent."""


class GrpcOwner:
    """One owner, as one revision of its document describes it. Close it when the document changes."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._binding = Binding(owner)
        self._credentials = Credentials(owner)
        self._wire: Wire | None = None
        self._tls_seen: tuple[int, ...] = ()

    async def close(self) -> None:
        await self._hang_up()
        await self._credentials.close()

    async def _hang_up(self) -> None:
        wire, self._wire = self._wire, None  # first, or who comes meanwhile closes a newer one
        if wire is not None:
            await wire.close()

    async def sweep(self, resource: Resource, incarnation: str, *, first: bool) -> Answer:
        """Delete one incarnation of a resource. The caller bounds the time (``TimeoutError`` comes out as it is); the
        owner is told the time that its document gives it.

        ``first``: no earlier attempt was sent. Safe to repeat, as far as the owner's precondition goes.
        """
        if safe_delete(self.owner, resource.type) is None:
            return Answer(Verdict.MISCONFIGURED, "the owner declares no safe delete")
        until = asyncio.get_running_loop().time() + float(self.owner.limits.timeout)
        try:
            face = _Face(self, self._bound(resource.type), until)
            return await visit(face, self.owner, resource, incarnation, first=first)
        except UnsafeId as error:
            return Answer(Verdict.UNVERIFIABLE, f"nothing was sent: {error}")
        except _Unready as error:
            return Answer(Verdict.MISCONFIGURED, str(error))
        except NoCredential as error:
            return Answer(error.verdict, str(error), error.retry_after)
        except ssl.SSLError as error:
            return Answer(Verdict.MISCONFIGURED, f"TLS: {error}")
        except TimeoutError:
            raise  # an OSError, but about time: the caller's business
        except (*TROUBLE, ValueError, Uncertain) as error:
            return Answer(Verdict.UNKNOWN, f"{type(error).__name__}: {error}")

    async def call(self, call: UnaryCall, request: bytes, until: float) -> Said:
        """One call, sent once; once more if it was turned away as unproven and a fresh proof can be had.

        Raises what ``Wire.call`` raises, ``NoCredential`` and ``_Unready``.
        """
        named = (*self.owner.headers.items(), *call.metadata.items())
        plain = Outgoing("POST", self.owner.endpoint + call.path, {name.lower(): value for name, value in named})
        proven = await self._credentials.prove(plain)
        said = await self._send(call, request, proven, until)
        if said.status is Status.UNAUTHENTICATED and self._credentials.turned_away(proven):
            said = await self._send(call, request, await self._credentials.prove(plain), until)
        return said

    async def _send(self, call: UnaryCall, request: bytes, proven: Outgoing, until: float) -> Said:
        try:
            wire = await self._ready()
        except (OSError, ValueError) as error:
            raise _Unready(f"TLS: {error}") from error
        metadata = {name.lower(): value for name, value in traced(proven.headers).items()}
        return await wire.call(call.path, request, metadata, until=until)

    def _bound(self, kind: str) -> Bound:
        try:
            return self._binding.of(kind)
        except (OSError, BadSchema) as error:
            raise _Unready(f"descriptor_set {self.owner.descriptor_set}: {error}") from error

    async def _ready(self) -> Wire:
        seen = self._credentials.tls_times()
        if self._wire is not None and seen != self._tls_seen:
            await self._hang_up()
        if self._wire is None:
            tls = self.owner.tls
            files = TlsConfig(tls.ca, tls.cert, tls.key, tls.server_name) if tls else None
            self._wire, self._tls_seen = Wire(self.owner.endpoint, files), seen
        return self._wire


class _Face:
    """One visit's way of speaking. ``until``: when it must be over, by the event loop's clock."""

    def __init__(self, owner: GrpcOwner, bound: Bound, until: float) -> None:
        self._owner, self._bound, self._until = owner, bound, until

    async def read(self, resource: Resource, read: ReadCall) -> Reply:  # noqa: ARG002 - it is bound already
        call = self._bound.read
        if call is None:
            raise _Unready("the owner declares no read")
        said = await self._owner.call(call, call.request({"id": resource.id}), self._until)
        etag, signs = self._bound.shown(said.message)
        return Reply(of_read(said.status), f"{call.method.name} {said.status.name}", said.retry_after, etag, signs)

    async def delete(self, resource: Resource, delete: DeleteCall, etag: str | None) -> Reply:  # noqa: ARG002
        call = self._bound.delete
        said = await self._owner.call(call, call.request({"id": resource.id, "etag": etag or ""}), self._until)
        verdict = of_delete(said.status, promises=call.promises)
        return Reply(verdict, f"{call.method.name} {said.status.name}", said.retry_after)
