"""One owner, two ways of deleting: each type by its own."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from leasehold.control_plane.app import connect
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.rules import Calls, load_rules
from tests.fakes.grpc_owner import GrpcBlobs, descriptor_set, grpc_rules
from tests.unit.control_plane.world import Owner, blob, rules


async def test_a_type_is_deleted_by_the_call_its_owner_describes_for_it(tmp_path: Path) -> None:
    schema = tmp_path / "blobs.pb"
    schema.write_bytes(descriptor_set())
    with GrpcBlobs() as modern:
        async with Owner() as classic:
            modern.add("a")
            classic.add("b")
            text = grpc_rules(f"http://{modern.address}", schema)
            described = load_rules(text, "rules.yaml", {}).owners[0]
            by_http = rules(classic).owners[0]
            both = replace(described, types={"file": Calls(by_http.delete, by_http.read)})
            client = connect(both)
            assert (await client.sweep(blob("a"), "call:1", first=True)).verdict is Verdict.GONE
            answer = await client.sweep(blob("b", kind="file"), "call:1", first=True)
            assert answer.verdict is not Verdict.GONE, "the endpoint is the same, and it speaks gRPC only"
            await client.close()
            client = connect(replace(both, endpoint=classic.address))
            assert (await client.sweep(blob("b", kind="file"), "call:1", first=True)).verdict is Verdict.GONE
            await client.close()
    assert modern.deletes() == ["a"]
    assert classic.deletes() == ["b"]
