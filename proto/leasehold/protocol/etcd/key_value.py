"""Reads and transactions: our values into etcd's messages and back.

The hot path of the product: transactions of a hundred nested transactions, lists of a million keys. So: messages are
filled in place, kinds are told apart by one lookup of the type, and no object is made that nobody keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from leasehold.protocol.errors import Compacted
from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.channel import EtcdChannel
from leasehold.protocol.etcd.methods import COMPACT, RANGE, TXN
from leasehold.protocol.etcd.strides import Strides
from leasehold.protocol.names import Revision
from leasehold.protocol.store import (
    Compare,
    Delete,
    DeleteResult,
    Get,
    GetResult,
    KeyRange,
    KeyValue,
    Operation,
    OperationResult,
    Put,
    PutResult,
    Snapshot,
    Txn,
    TxnResult,
    Where,
)

PAGE_SIZE = 5000
"""Keys per page of ``read``: about a megabyte of our records, a few milliseconds of etcd's time."""

_OPERAND_FIELDS = ("version", "create_revision", "mod_revision", "value", "lease")  # indexed by Target
_PUT_RESULT = PutResult()


class KeyValues:
    """``ports.Store`` over a channel."""

    def __init__(self, channel: EtcdChannel) -> None:
        self._channel = channel

    async def get(self, key: bytes, *, deadline: float) -> KeyValue | None:
        """One key, or ``None``. Safe to retry."""
        reply = await self._channel.call(RANGE, rpc.RangeRequest(key=key), deadline=deadline)
        return key_value(reply.kvs[0]) if reply.kvs else None

    async def read(
        self, where: Where, *, deadline: float, revision: Revision = Revision(0), keys_only: bool = False
    ) -> Snapshot:
        """Everything there at one revision (0: now). ``deadline`` is per page. Safe to retry; ``Compacted``."""
        items: list[KeyValue] = []
        async for page in self._pages(where, deadline, revision, PAGE_SIZE, keys_only):
            revision = page.revision
            items.extend(page.items)
        return Snapshot(revision, items)

    def pages(
        self, where: KeyRange, *, deadline: float, revision: Revision = Revision(0), page_size: int = PAGE_SIZE
    ) -> AsyncGenerator[Snapshot, None]:
        """The same, page by page; at least one page, which may be empty. Safe to retry; may raise ``Compacted``."""
        return self._pages(where, deadline, revision, page_size, False)

    async def _pages(
        self, where: Where, deadline: float, revision: Revision, page_size: int, keys_only: bool
    ) -> AsyncGenerator[Snapshot, None]:
        if not isinstance(where, KeyRange):
            reply = await self._range(where, deadline, revision, page_size, keys_only)
            yield Snapshot(revision or Revision(reply.header.revision), [key_value(kv) for kv in reply.kvs])
            return
        strides, said = Strides(where, page_size), False
        ahead: asyncio.Task[rpc.RangeResponse] | None = None
        reply = await self._range(where, deadline, revision, page_size, keys_only)
        try:
            while True:
                # All further pages are read at the revision of the first, so that together they are one snapshot.
                revision = revision or Revision(reply.header.revision)
                items = [key_value(kv) for kv in reply.kvs]
                first, last = (items[0].key, items[-1].key) if items else (b"", b"")
                strides.took(first, last, len(items), reply.count - len(items) if reply.more else 0)
                # The next one is on its way while this one is worked on.
                part = strides.part
                ahead = self._ask(part, deadline, revision, page_size, keys_only) if part is not None else None
                if items or not (said or ahead):
                    said = True
                    if ahead is not None:
                        await _sent()
                    yield Snapshot(revision, items)
                if ahead is None:
                    return
                reply = await ahead
        finally:
            if ahead is not None:
                ahead.cancel()

    def _ask(self, *asked: Any) -> asyncio.Task[rpc.RangeResponse]:
        return asyncio.create_task(self._range(*asked), name="etcd Range")

    async def _range(
        self, where: Where, deadline: float, revision: Revision, page_size: int, keys_only: bool
    ) -> rpc.RangeResponse:
        request = rpc.RangeRequest(limit=page_size, revision=revision, keys_only=keys_only)
        _fill_where(request, where)
        reply: rpc.RangeResponse = await self._channel.call(RANGE, request, deadline=deadline)
        return reply

    async def commit(self, txn: Txn, *, deadline: float) -> TxnResult:
        """Run one transaction. Never sent twice: ``Unavailable`` means it did not happen, ``Uncertain`` it may have."""
        request = rpc.TxnRequest()
        fill_txn(request, txn)
        reply = await self._channel.call(TXN, request, deadline=deadline)
        return _txn_result(reply, txn, Revision(reply.header.revision))

    async def compact(self, revision: Revision, *, deadline: float) -> None:
        """Forget everything older than ``revision``. A revision that is compacted already is no error.

        Raises ``Rejected`` for a revision that is still to come.
        """
        try:
            await self._channel.call(COMPACT, rpc.CompactionRequest(revision=revision), deadline=deadline)
        except Compacted:
            return


async def _sent() -> None:
    """Let a call that was just begun leave: in one turn of the loop it is written, in the next one it is handed over.
    Else it would wait until this page is worked on, for that may take long and never yield."""
    for _ in range(2):
        await asyncio.sleep(0)


# --- into messages -----------------------------------------------------------------------------------------------


def fill_txn(message: rpc.TxnRequest, txn: Txn) -> None:
    """Write ``txn`` into an empty message."""
    for compare in txn.compares:
        _fill_compare(message.compare.add(), compare)
    for operation in txn.success:
        _FILL[type(operation)](message.success.add(), operation)
    for operation in txn.failure:
        _FILL[type(operation)](message.failure.add(), operation)


def _fill_compare(message: rpc.Compare, compare: Compare) -> None:
    target = compare.target.value
    message.target = target  # type: ignore[assignment]  # the numbers are etcd's
    message.result = compare.relation.value  # type: ignore[assignment]
    _fill_where(message, compare.where)
    setattr(message, _OPERAND_FIELDS[target], compare.operand)


def _fill_where(message: rpc.RangeRequest | rpc.DeleteRangeRequest | rpc.Compare, where: Where) -> None:
    if type(where) is KeyRange:
        message.key = where.start
        message.range_end = where.end
    else:
        message.key = where  # type: ignore[assignment]  # bytes is all that is left


def _fill_get(message: rpc.RequestOp, operation: Get) -> None:
    request = message.request_range
    _fill_where(request, operation.where)
    request.limit = operation.limit
    request.keys_only = operation.keys_only


def _fill_put(message: rpc.RequestOp, operation: Put) -> None:
    request = message.request_put
    request.key = operation.key
    request.value = operation.value
    if operation.lease:
        request.lease = operation.lease


def _fill_delete(message: rpc.RequestOp, operation: Delete) -> None:
    _fill_where(message.request_delete_range, operation.where)


def _fill_nested(message: rpc.RequestOp, operation: Txn) -> None:
    nested = message.request_txn
    nested.SetInParent()  # an empty transaction is one, too
    fill_txn(nested, operation)


_FILL: dict[type[Operation], Callable[[rpc.RequestOp, Any], None]] = {
    Get: _fill_get,
    Put: _fill_put,
    Delete: _fill_delete,
    Txn: _fill_nested,
}


# --- out of messages ---------------------------------------------------------------------------------------------


def key_value(message: rpc.KeyValue) -> KeyValue:
    """etcd's message as our value."""
    # Without the names of types, which are calls: millions of these are made at a start.
    return KeyValue(
        message.key, message.value, message.create_revision, message.mod_revision,  # type: ignore[arg-type]
        message.version, message.lease,  # type: ignore[arg-type]
    )  # fmt: skip


def _txn_result(reply: rpc.TxnResponse, txn: Txn, revision: Revision) -> TxnResult:
    # What was asked tells what each answer is: asking protobuf costs more than reading it. Nested replies carry no
    # revision of their own: the whole transaction has one.
    asked = txn.success if reply.succeeded else txn.failure
    results: Sequence[OperationResult] = [
        _RESULT[type(operation)](response, operation, revision)
        for operation, response in zip(asked, reply.responses, strict=True)
    ]
    return TxnResult(reply.succeeded, revision, results)


def _get_result(response: rpc.ResponseOp, _: Get, __: Revision) -> GetResult:
    found = response.response_range
    return GetResult([key_value(kv) for kv in found.kvs], found.count)


def _put_result(_: rpc.ResponseOp, __: Put, ___: Revision) -> PutResult:
    return _PUT_RESULT


def _delete_result(response: rpc.ResponseOp, _: Delete, __: Revision) -> DeleteResult:
    return DeleteResult(response.response_delete_range.deleted)


def _nested_result(response: rpc.ResponseOp, asked: Txn, revision: Revision) -> TxnResult:
    return _txn_result(response.response_txn, asked, revision)


_RESULT: dict[type[Operation], Callable[[rpc.ResponseOp, Any, Revision], OperationResult]] = {
    Get: _get_result,
    Put: _put_result,
    Delete: _delete_result,
    Txn: _nested_result,
}
