"""Roles in etcd: read, and made to allow exactly what they should. Needs a user with etcd's ``root`` role.

Every call is safe to repeat: what is there already is no error. A role is widened before it is narrowed, so that parts
at work never miss a right that they had and shall keep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leasehold.protocol.errors import Rejected
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.channel import EtcdChannel
from leasehold.protocol.etcd.methods import ROLE_ADD, ROLE_GET, ROLE_GRANT, ROLE_REVOKE
from leasehold.protocol.roles import Access, Grant, Role
from leasehold.protocol.store import KeyRange

_TYPES = {
    Access.READ: rpc.Permission.READ,
    Access.WRITE: rpc.Permission.WRITE,
    Access.READWRITE: rpc.Permission.READWRITE,
}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a role."""

    name: str
    created: bool
    granted: tuple[Grant, ...]
    revoked: tuple[Grant, ...]


class EtcdRoles:
    """The roles of a cluster. ``deadline``: seconds for each call."""

    def __init__(self, channel: EtcdChannel) -> None:
        self._channel = channel

    async def grants(self, name: str, *, deadline: float) -> set[Grant] | None:
        """What a role allows; ``None`` if there is no such role."""
        try:
            reply = await self._channel.call(ROLE_GET, rpc.AuthRoleGetRequest(role=name), deadline=deadline)
        except Rejected as error:
            if "role name not found" in str(error):
                return None
            raise
        return {_grant(permission) for permission in reply.perm}

    async def ensure(self, role: Role, *, deadline: float) -> Change:
        """Make the role allow what it should, and nothing else."""
        there = await self.grants(role.name, deadline=deadline)
        if there is None:
            await self._add(role.name, deadline)
        wanted = set(role.grants)
        missing = _ordered(wanted - (there or set()))
        replaced = {(grant.start, grant.end) for grant in missing}
        # A grant on the same range replaces the one before.
        surplus = _ordered(one for one in (there or set()) - wanted if (one.start, one.end) not in replaced)
        for grant in missing:
            request = rpc.AuthRoleGrantPermissionRequest(name=role.name, perm=_permission(grant))
            await self._channel.call(ROLE_GRANT, request, deadline=deadline)
        for grant in surplus:
            gone = rpc.AuthRoleRevokePermissionRequest(role=role.name, key=grant.start, range_end=grant.end)
            await self._channel.call(ROLE_REVOKE, gone, deadline=deadline)
        return Change(role.name, there is None, missing, surplus)

    async def _add(self, name: str, deadline: float) -> None:
        try:
            await self._channel.call(ROLE_ADD, rpc.AuthRoleAddRequest(name=name), deadline=deadline)
        except Rejected as error:
            if "role name already exists" not in str(error):
                raise


def _ordered(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    return tuple(sorted(grants, key=lambda grant: (grant.start, grant.end)))


def _grant(permission: rpc.Permission) -> Grant:
    where = KeyRange(permission.key, permission.range_end) if permission.range_end else permission.key
    return Grant(Access(permission.permType), where)


def _permission(grant: Grant) -> rpc.Permission:
    return rpc.Permission(permType=_TYPES[grant.access], key=grant.start, range_end=grant.end)
