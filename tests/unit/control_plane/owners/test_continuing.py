"""Owners are told the trace that a sweep continues, beside what proves who asks and never under its signature."""

from __future__ import annotations

from leasehold.control_plane.owners.continuing import continuing, traced
from leasehold.control_plane.owners.http import HttpOwner
from leasehold.protocol.names import OwnerName, Resource, ResourceId, TypeName
from tests.unit.control_plane.world import Owner, rules

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BLOB = Resource(OwnerName("store"), TypeName("blob"), ResourceId("x"))


def test_inside_it_is_added_and_outside_it_is_not() -> None:
    proven = {"Authorization": "signature"}
    assert traced(proven) is proven
    with continuing(TRACE):
        assert traced(proven) == {"Authorization": "signature", "traceparent": TRACE}
        with continuing(""):
            assert traced(proven) is proven
        assert "traceparent" in traced(proven)
    assert traced(proven) is proven
    assert proven == {"Authorization": "signature"}


def test_a_document_that_says_the_header_itself_is_left_alone() -> None:
    with continuing(TRACE):
        assert traced({"Traceparent": "mine"}) == {"Traceparent": "mine"}


async def test_every_call_of_a_visit_carries_it() -> None:
    async with Owner() as owner:
        owner.add("x")
        client = HttpOwner(rules(owner).owners[0])
        with continuing(TRACE):
            await client.sweep(BLOB, "call:1", first=False)
        await client.close()
        assert len(owner.seen_headers) >= 2
        assert {seen["traceparent"] for seen in owner.seen_headers} == {TRACE}
