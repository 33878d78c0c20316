"""etcd's store in memory, with etcd's semantics, as the contract tests find them in the real one. No I/O, no clock.

Values are etcd's own messages. Kept simple rather than fast: every version of every key is in a list.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from operator import eq, gt, lt, ne
from typing import Any

from grpclib import GRPCError, Status

from leasehold.protocol.etcd import rpc_pb2 as rpc

MAX_TXN_OPS = 128
MIN_TTL_SECONDS = 2

_HOLDS: dict[int, Callable[[Any, Any], bool]] = {0: eq, 1: gt, 2: lt, 3: ne}
_FIELDS = ("version", "create_revision", "mod_revision", "value", "lease")


def refused(status: Status, message: str) -> GRPCError:
    return GRPCError(status, f"etcdserver: {message}")


def lease_not_found() -> GRPCError:
    return refused(Status.NOT_FOUND, "requested lease not found")


def compacted() -> GRPCError:
    return refused(Status.OUT_OF_RANGE, "mvcc: required revision has been compacted")


def future() -> GRPCError:
    return refused(Status.OUT_OF_RANGE, "mvcc: required revision is a future revision")


def within(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether ``key`` is meant: without an end one key, with the end NUL all from the start on."""
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


class FakeLease:
    def __init__(self, ttl: int, expires_at: float) -> None:
        self.ttl = ttl
        self.expires_at = expires_at
        self.keys: set[bytes] = set()


class FakeStore:
    """Keys with all their versions, the log of what happened, and leases."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.log: list[rpc.Event] = []
        self.leases: dict[int, FakeLease] = {}
        self._versions: dict[bytes, list[rpc.KeyValue]] = {}
        self._keys: list[bytes] = []
        self._next_lease = 0x7000

    # --- reading ---

    def range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        if request.revision > self.revision:
            raise future()
        if 0 < request.revision < self.compacted:
            raise compacted()
        found = self._find(request.key, request.range_end, request.revision or self.revision)
        shown = found[: request.limit] if request.limit else found
        reply = rpc.RangeResponse(count=len(found), more=len(shown) < len(found))
        for kv in () if request.count_only else shown:
            copy = reply.kvs.add()
            copy.CopyFrom(kv)
            if request.keys_only:
                copy.value = b""
        return reply

    def _find(self, start: bytes, end: bytes, revision: int | None = None) -> list[rpc.KeyValue]:
        if not end:
            keys: Iterable[bytes] = (start,)
        else:
            last = len(self._keys) if end == b"\0" else bisect_left(self._keys, end)
            keys = self._keys[bisect_left(self._keys, start) : last]
        found = (self._at(key, self.revision + 1 if revision is None else revision) for key in keys)
        return [kv for kv in found if kv is not None]

    def _at(self, key: bytes, revision: int) -> rpc.KeyValue | None:
        for kv in reversed(self._versions.get(key, ())):
            if kv.mod_revision <= revision:
                return kv if kv.version else None  # version 0 is a tombstone
        return None

    def events_since(self, revision: int, start: bytes, end: bytes) -> list[rpc.Event]:
        first = bisect_left(self.log, revision, key=lambda event: event.kv.mod_revision)
        return [event for event in self.log[first:] if within(event.kv.key, start, end)]

    # --- writing ---

    def txn(self, request: rpc.TxnRequest) -> rpc.TxnResponse:
        check_size(request, MAX_TXN_OPS)
        check_overlap(request.success)
        check_overlap(request.failure)
        path: dict[int, bool] = {}
        self._decide(request, path, counter := [0])
        self._check_leases(request, path, [0])
        before = len(self.log)
        reply = rpc.TxnResponse()
        counter[0] = 0
        self._run(request, path, counter, reply)
        if len(self.log) > before:
            self.revision += 1
        return reply

    def delete(self, keys: Iterable[bytes]) -> None:
        """As one transaction of etcd's own: the end of a lease."""
        before = len(self.log)
        for key in sorted(keys):
            self._delete(key)
        if len(self.log) > before:
            self.revision += 1

    def compact(self, revision: int) -> None:
        if revision <= self.compacted:
            raise compacted()
        if revision > self.revision:
            raise future()
        self.compacted = revision
        self.log = [event for event in self.log if event.kv.mod_revision >= revision]

    def _decide(self, request: rpc.TxnRequest, path: dict[int, bool], counter: list[int]) -> None:
        """Every compare, nested ones included, sees the state before the transaction."""
        number = counter[0]
        counter[0] += 1
        path[number] = all(self._compare(compare) for compare in request.compare)
        for operation in request.success if path[number] else request.failure:
            if operation.HasField("request_txn"):
                self._decide(operation.request_txn, path, counter)

    def _compare(self, compare: rpc.Compare) -> bool:
        found = self._find(compare.key, compare.range_end)
        if not found:
            if compare.target == rpc.Compare.VALUE:
                return False
            found = [rpc.KeyValue()]
        field = _FIELDS[compare.target]
        holds = _HOLDS[compare.result]
        return all(holds(getattr(kv, field), getattr(compare, field)) for kv in found)

    def _check_leases(self, request: rpc.TxnRequest, path: dict[int, bool], counter: list[int]) -> None:
        number = counter[0]
        counter[0] += 1
        for operation in request.success if path[number] else request.failure:
            if operation.HasField("request_txn"):
                self._check_leases(operation.request_txn, path, counter)
            elif operation.HasField("request_put"):
                lease = operation.request_put.lease
                if lease and lease not in self.leases:
                    raise lease_not_found()

    def _run(self, request: rpc.TxnRequest, path: dict[int, bool], counter: list[int], reply: rpc.TxnResponse) -> None:
        number = counter[0]
        counter[0] += 1
        reply.succeeded = path[number]
        for operation in request.success if path[number] else request.failure:
            response = reply.responses.add()
            kind = operation.WhichOneof("request")
            if kind == "request_txn":
                self._run(operation.request_txn, path, counter, response.response_txn)
                response.response_txn.SetInParent()
            elif kind == "request_range":
                wanted = operation.request_range
                found = self._find(wanted.key, wanted.range_end)
                response.response_range.count = len(found)
                response.response_range.kvs.extend(found[: wanted.limit] if wanted.limit else found)
                if wanted.keys_only:
                    for kv in response.response_range.kvs:
                        kv.value = b""
            elif kind == "request_put":
                self._put(operation.request_put)
                response.response_put.SetInParent()
            elif kind == "request_delete_range":
                unwanted = [
                    kv.key
                    for kv in self._find(operation.request_delete_range.key, operation.request_delete_range.range_end)
                ]
                for key in unwanted:
                    self._delete(key)
                response.response_delete_range.deleted = len(unwanted)

    def _put(self, request: rpc.PutRequest) -> None:
        revision = self.revision + 1
        old = self._at(request.key, revision)
        if old is not None and old.lease in self.leases:
            self.leases[old.lease].keys.discard(request.key)
        if request.lease:
            self.leases[request.lease].keys.add(request.key)
        kv = rpc.KeyValue(
            key=request.key,
            value=request.value,
            lease=request.lease,
            create_revision=old.create_revision if old else revision,
            mod_revision=revision,
            version=old.version + 1 if old else 1,
        )
        if request.key not in self._versions:
            insort(self._keys, request.key)
        self._versions.setdefault(request.key, []).append(kv)
        self.log.append(rpc.Event(type=rpc.Event.PUT, kv=kv))

    def _delete(self, key: bytes) -> None:
        old = self._at(key, self.revision + 1)
        if old is None:
            return
        if old.lease in self.leases:
            self.leases[old.lease].keys.discard(key)
        tombstone = rpc.KeyValue(key=key, mod_revision=self.revision + 1)
        self._versions[key].append(tombstone)
        self.log.append(rpc.Event(type=rpc.Event.DELETE, kv=tombstone))

    # --- leases ---

    def grant(self, lease: int, ttl: int, now: float) -> rpc.LeaseGrantResponse:
        if lease in self.leases:
            raise refused(Status.FAILED_PRECONDITION, "lease already exists")
        while not lease or lease in self.leases:
            self._next_lease += 1
            lease = self._next_lease
        ttl = max(ttl, MIN_TTL_SECONDS)
        self.leases[lease] = FakeLease(ttl, now + ttl)
        return rpc.LeaseGrantResponse(ID=lease, TTL=ttl)

    def end_lease(self, lease: int) -> None:
        if lease not in self.leases:
            raise lease_not_found()
        self.delete(self.leases.pop(lease).keys)


def check_size(request: rpc.TxnRequest, allowed: int) -> None:
    """etcd's rule: a level may hold what the levels above have left of 128."""
    widest = max(len(request.compare), len(request.success), len(request.failure))
    if widest > allowed:
        raise refused(Status.INVALID_ARGUMENT, "too many operations in txn request")
    for operation in (*request.success, *request.failure):
        kind = operation.WhichOneof("request")
        if kind == "request_txn":
            check_size(operation.request_txn, allowed - widest)
        elif not kind or not getattr(operation, kind).key:
            raise refused(Status.INVALID_ARGUMENT, "key is not provided")


def check_overlap(operations: Sequence[rpc.RequestOp]) -> tuple[set[bytes], list[tuple[bytes, bytes]]]:
    """etcd's rule: what one branch may put, it may put once, and not delete as well. Deletes may overlap."""
    deletes = [
        (operation.request_delete_range.key, operation.request_delete_range.range_end)
        for operation in operations
        if operation.HasField("request_delete_range")
    ]
    puts: set[bytes] = set()

    def claim(key: bytes, allowed: set[bytes]) -> None:
        if (key in puts and key not in allowed) or any(within(key, start, end) for start, end in deletes):
            raise refused(Status.INVALID_ARGUMENT, "duplicate key given in txn request")
        puts.add(key)

    for operation in operations:
        if operation.HasField("request_txn"):
            then_puts, then_deletes = check_overlap(operation.request_txn.success)
            else_puts, else_deletes = check_overlap(operation.request_txn.failure)
            for key in then_puts:
                claim(key, set())
            for key in else_puts:
                claim(key, then_puts)  # only one of the two branches runs
            deletes += then_deletes + else_deletes
    for operation in operations:
        if operation.HasField("request_put"):
            claim(operation.request_put.key, set())
    return puts, deletes
