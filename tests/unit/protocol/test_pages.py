"""Long reads, page by page."""

from __future__ import annotations

from typing import Any

from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.key_value import KeyValues
from leasehold.protocol.store import KeyRange

KEYS = [b"/t/%03d" % number for number in range(40)]


class Channel:
    """What ``EtcdChannel`` is to ``KeyValues``, over a few keys; it notes what has left."""

    def __init__(self) -> None:
        self.asked: list[rpc.RangeRequest] = []

    async def call(self, _: Any, request: rpc.RangeRequest, *, deadline: float) -> rpc.RangeResponse:
        self.asked.append(request)
        found = [key for key in KEYS if request.key <= key < request.range_end]
        reply = rpc.RangeResponse(count=len(found), more=len(found) > request.limit)
        reply.header.revision = 7
        reply.kvs.extend(rpc.KeyValue(key=key, mod_revision=1) for key in found[: request.limit])
        return reply


async def test_the_next_page_is_on_its_way_before_a_page_is_handed_out() -> None:
    channel = Channel()
    pages = KeyValues(channel).pages(KeyRange(b"/t/", b"/t0"), deadline=1, page_size=5)  # type: ignore[arg-type]
    seen: list[bytes] = []
    handed_out = 0
    async for page in pages:
        handed_out += 1
        seen += [item.key for item in page.items]
        if len(seen) < len(KEYS):
            assert len(channel.asked) > handed_out, "whoever works on this page for long need not yield"
    assert seen == KEYS
    assert {request.revision for request in channel.asked[1:]} == {7}, "all of one snapshot"
