"""The cluster about itself: members, versions, alarms. For ``leasehold doctor`` and for warm-up decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from leasehold.protocol.errors import StoreError
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.channel import EtcdChannel
from leasehold.protocol.etcd.isolation import end
from leasehold.protocol.etcd.methods import ALARM_LIST, MEMBER_LIST, STATUS
from leasehold.protocol.names import Revision
from leasehold.protocol.store import MemberStatus


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An endpoint that did not say how it is, and why."""

    endpoint: str
    error: StoreError


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the cluster knows it. ``name`` is empty for one that never started."""

    member_id: int
    name: str
    client_urls: Sequence[str]
    is_learner: bool


class EtcdCluster:
    """Questions about the cluster; all are safe to retry."""

    def __init__(self, channel: EtcdChannel) -> None:
        self._channel = channel

    async def status(self, *, deadline: float) -> Sequence[MemberStatus | Unreachable]:
        """How each configured endpoint describes itself, in the order of the configuration."""
        alarms = asyncio.create_task(self._alarms(deadline))
        try:
            indexes = range(len(self._channel.endpoints))
            return await asyncio.gather(*(self._status(index, alarms, deadline) for index in indexes))
        finally:
            await end(alarms)

    async def members(self, *, deadline: float) -> Sequence[Member]:
        """Whom the cluster consists of."""
        reply = await self._channel.call(MEMBER_LIST, rpc.MemberListRequest(linearizable=True), deadline=deadline)
        return [Member(m.ID, m.name, tuple(m.clientURLs), m.isLearner) for m in reply.members]

    async def _status(
        self, index: int, alarms: asyncio.Task[dict[int, list[str]]], deadline: float
    ) -> MemberStatus | Unreachable:
        endpoint = self._channel.endpoints[index]
        try:
            reply = await self._channel.call(STATUS, rpc.StatusRequest(), deadline=deadline, member=index)
        except StoreError as error:
            return Unreachable(endpoint, error)
        return MemberStatus(
            endpoint=endpoint,
            version=reply.version,
            cluster_id=reply.header.cluster_id,
            member_id=reply.header.member_id,
            leader_id=reply.leader,
            raft_term=reply.raftTerm,
            revision=Revision(reply.header.revision),
            db_size_bytes=reply.dbSize,
            alarms=(await alarms).get(reply.header.member_id, ()),
            errors=tuple(reply.errors),
        )

    async def _alarms(self, deadline: float) -> dict[int, list[str]]:
        alarms: dict[int, list[str]] = {}
        try:
            reply = await self._channel.call(ALARM_LIST, rpc.AlarmRequest(), deadline=deadline)
        except StoreError:
            return alarms  # without a quorum nobody knows; each member's own ``errors`` still say what it sees
        for alarm in reply.alarms:
            alarms.setdefault(alarm.memberID, []).append(rpc.AlarmType.Name(alarm.alarm))
        return alarms
