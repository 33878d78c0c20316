"""An owner whose types are deleted in different ways: each sweep goes to the client that speaks this type's."""

from __future__ import annotations

from typing import Protocol

from leasehold.control_plane.owners.outcome import Answer, Fetched
from leasehold.control_plane.owners.register import OwnerClient
from leasehold.protocol.names import Resource
from leasehold.protocol.rules import Owner


class Sweeping(Protocol):
    """What a client offers that is asked to delete only."""

    async def sweep(self, resource: Resource, incarnation: str, *, first: bool) -> Answer: ...

    async def close(self) -> None: ...


class Faces:
    """One owner. Either client connects only when it is used."""

    def __init__(self, owner: Owner, *, http: OwnerClient, grpc: Sweeping) -> None:
        self._owner, self._http, self._grpc = owner, http, grpc

    async def sweep(self, resource: Resource, incarnation: str, *, first: bool) -> Answer:
        """Delete one incarnation of a resource at its owner, safely repeatable."""
        delete = self._owner.delete_of(resource.type)
        client = self._http if delete is None or delete.grpc is None else self._grpc
        return await client.sweep(resource, incarnation, first=first)

    async def fetch(self, target: str, method: str = "GET") -> Fetched | Answer:
        """Lookups and listings are asked by HTTP, whatever deletes."""
        return await self._http.fetch(target, method)

    async def close(self) -> None:
        await self._http.close()
        await self._grpc.close()
