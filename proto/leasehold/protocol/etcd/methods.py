"""The methods of etcd we call, each with its messages, whether it changes anything and whether it needs a leader.

A table of our own beside the generated stubs, because the channel must know which calls may be repeated elsewhere:
what changes nothing can be asked again of another endpoint, whatever became of the first attempt. What needs a leader
is refused at once by a member that has none; a member's own state can be asked for all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from grpclib.const import Cardinality

from leasehold.protocol.etcd import rpc_pb2 as rpc

Request = TypeVar("Request")
Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Reply]):
    """One remote procedure."""

    path: str
    request: type[Request]
    reply: type[Reply]
    changes: bool = True
    needs_leader: bool = True
    cardinality: Cardinality = Cardinality.UNARY_UNARY

    @property
    def name(self) -> str:
        """What people call it: ``Txn``, ``LeaseGrant``."""
        return self.path.rpartition("/")[2]


RANGE = Method("/etcdserverpb.KV/Range", rpc.RangeRequest, rpc.RangeResponse, changes=False)
TXN = Method("/etcdserverpb.KV/Txn", rpc.TxnRequest, rpc.TxnResponse)
COMPACT = Method("/etcdserverpb.KV/Compact", rpc.CompactionRequest, rpc.CompactionResponse)

WATCH = Method(
    "/etcdserverpb.Watch/Watch",
    rpc.WatchRequest,
    rpc.WatchResponse,
    changes=False,
    cardinality=Cardinality.STREAM_STREAM,
)

LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest, rpc.LeaseGrantResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse)
LEASE_KEEP_ALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive",
    rpc.LeaseKeepAliveRequest,
    rpc.LeaseKeepAliveResponse,
    cardinality=Cardinality.STREAM_STREAM,
)
LEASE_TIME_TO_LIVE = Method(
    "/etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest, rpc.LeaseTimeToLiveResponse, changes=False
)

MEMBER_LIST = Method("/etcdserverpb.Cluster/MemberList", rpc.MemberListRequest, rpc.MemberListResponse, changes=False)
STATUS = Method(
    "/etcdserverpb.Maintenance/Status", rpc.StatusRequest, rpc.StatusResponse, changes=False, needs_leader=False
)
ALARM = Method("/etcdserverpb.Maintenance/Alarm", rpc.AlarmRequest, rpc.AlarmResponse)
ALARM_LIST = Method("/etcdserverpb.Maintenance/Alarm", rpc.AlarmRequest, rpc.AlarmResponse, changes=False)

AUTHENTICATE = Method(
    "/etcdserverpb.Auth/Authenticate", rpc.AuthenticateRequest, rpc.AuthenticateResponse, changes=False
)
ROLE_ADD = Method("/etcdserverpb.Auth/RoleAdd", rpc.AuthRoleAddRequest, rpc.AuthRoleAddResponse)
ROLE_GET = Method("/etcdserverpb.Auth/RoleGet", rpc.AuthRoleGetRequest, rpc.AuthRoleGetResponse, changes=False)
ROLE_GRANT = Method(
    "/etcdserverpb.Auth/RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest, rpc.AuthRoleGrantPermissionResponse
)
ROLE_REVOKE = Method(
    "/etcdserverpb.Auth/RoleRevokePermission",
    rpc.AuthRoleRevokePermissionRequest,
    rpc.AuthRoleRevokePermissionResponse,
)
