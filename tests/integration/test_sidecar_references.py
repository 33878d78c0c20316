"""References on their way into etcd, against the fake one and the real one."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Resource
from leasehold.protocol.records import ResourceRecord, TombstoneRecord, decode, encode
from leasehold.protocol.rules import Rule
from leasehold.protocol.store import Put, Txn
from leasehold.protocol.transactions import MAX_REFERENCES, every
from leasehold.sidecar.holds import committer
from leasehold.sidecar.ports import Outcome
from tests.integration.sidecar_world import BY_PROCESS, BY_SERVICE, OneHost, World, blob, creation, eventually


def numbered(count: int, start: int = 0) -> tuple[Resource, ...]:
    return tuple(blob(f"part-{n}") for n in range(start, start + count))


def referring(name: str, targets: tuple[Resource, ...], incarnation: str = "") -> object:
    return msgspec.structs.replace(creation(name, incarnation=incarnation), references=targets)


async def refs(tenant: World) -> set[tuple[str, str]]:
    """(target, source), by id."""
    return {(parts[2], parts[5]) for parts in await tenant.family(Family.REFS)}


async def references_of(tenant: World, name: str) -> set[str]:
    (value,) = [v for parts, v in (await tenant.family(Family.RESOURCES)).items() if parts[2] == name]
    return {target[2] for target in decode(ResourceRecord, value).references}


async def test_many_that_refer_to_much_are_all_registered(tenant: World) -> None:
    async with tenant.sidecar() as one:
        futures = [
            one.registrar.observed(referring(f"whole-{n}", numbered(MAX_REFERENCES if n % 3 else 0)))  # type: ignore[arg-type]
            for n in range(30)
        ]
        assert set(await asyncio.gather(*futures)) == {Outcome.REGISTERED}
        assert len(await refs(tenant)) == 20 * MAX_REFERENCES
        assert one.metric("operations_rejected_total") == 0


async def test_all_that_was_referred_to_may_change_at_once(tenant: World) -> None:
    async with tenant.sidecar() as one:
        await one.registrar.observed(referring("whole", numbered(MAX_REFERENCES), "uid:1"))  # type: ignore[arg-type]
        others = numbered(MAX_REFERENCES, 100)
        assert await one.registrar.observed(referring("whole", others, "uid:2")) is Outcome.REGISTERED  # type: ignore[arg-type]
        assert {target for target, _ in await refs(tenant)} == {target.id for target in others}


async def test_the_very_same_thing_seen_again_needs_what_either_says(tenant: World) -> None:
    """An update that keeps its uid: taken for a twin's sight of it, its new parts would be left unprotected."""
    async with tenant.sidecar() as one:
        await one.registrar.observed(referring("whole", (blob("a"),)))  # type: ignore[arg-type]
        assert await one.registrar.observed(referring("whole", (blob("b"),))) is Outcome.REGISTERED  # type: ignore[arg-type]
        assert await refs(tenant) == {("a", "whole"), ("b", "whole")}
        assert await references_of(tenant, "whole") == {"a", "b"}
        await one.registrar.observed(referring("whole", ()))  # type: ignore[arg-type]
        assert await references_of(tenant, "whole") == {"a", "b"}
        await one.registrar.observed(referring("whole", numbered(MAX_REFERENCES)))  # type: ignore[arg-type]
        assert await references_of(tenant, "whole") == {"*"}, "both together are too many"
        assert await refs(tenant) == {("*", "whole")}


async def test_a_late_registration_leaves_a_newer_incarnation_its_record_and_what_that_needs(
    tenant: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell any more which of the two is there: both are held, and all that either needs is kept."""
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await two.registrar.observed(referring("whole", (blob("b"),), "uid:2"))  # type: ignore[arg-type]
        monkeypatch.setattr(committer, "LATE_SECONDS", -1.0)
        late = referring("whole", (blob("c"),), "uid:1")
        assert await one.registrar.observed(late) is Outcome.REGISTERED  # type: ignore[arg-type]
        [record] = (await tenant.family(Family.RESOURCES)).values()
        assert decode(ResourceRecord, record).incarnation == "uid:2"
        assert await references_of(tenant, "whole") == {"b", "c"}
        assert await refs(tenant) == {("b", "whole"), ("c", "whole")}
        for each in (one, two):
            assert await tenant.held_by(each.holder) == {"whole"}


async def test_an_incarnation_that_somebody_else_recorded_frees_nothing_when_it_is_recorded_over(tenant: World) -> None:
    async with tenant.sidecar() as one, tenant.sidecar(OneHost("2.2.abc"), instance="two") as two:
        await two.registrar.observed(referring("whole", (blob("b"),), "uid:1"))  # type: ignore[arg-type]
        await one.registrar.observed(referring("whole", (blob("c"),), "uid:2"))  # type: ignore[arg-type]
        [record] = (await tenant.family(Family.RESOURCES)).values()
        assert decode(ResourceRecord, record).incarnation == "uid:2"
        assert await refs(tenant) == {("b", "whole"), ("c", "whole")}


@pytest.mark.parametrize("by", [BY_PROCESS, BY_SERVICE])
async def test_our_own_earlier_incarnation_is_recorded_over_however_late(
    tenant: World, monkeypatch: pytest.MonkeyPatch, by: Rule
) -> None:
    monkeypatch.setattr(committer, "LATE_SECONDS", -1.0)
    async with tenant.sidecar(rules=(BY_SERVICE,)) as one:
        for number, target in enumerate(("b", "c")):
            made = creation("whole", by, incarnation=f"uid:{number}")
            assert await one.registrar.observed(msgspec.structs.replace(made, references=(blob(target),)))
        [record] = (await tenant.family(Family.RESOURCES)).values()
        assert decode(ResourceRecord, record).incarnation == "uid:1"
        assert await refs(tenant) == {("c", "whole")}


async def test_what_needs_everything_of_a_type_waits_for_its_sweeps_but_not_for_ever(tenant: World) -> None:
    """Until its reference is there, nothing of the type is protected by it."""
    sweep = tenant.keys.sweep(blob("other"))
    await tenant.client.commit(Txn((), (Put(sweep, b"{}"),)), deadline=5)
    async with tenant.sidecar() as one:
        future = asyncio.ensure_future(one.registrar.observed(referring("whole", (every(blob("whole")),))))  # type: ignore[arg-type]
        [item] = await eventually("it was tried", lambda: [i for i in one.holds.committer._items.values() if i.tries])
        assert not future.done()
        item.late = True
        assert await future is Outcome.REGISTERED
        assert await refs(tenant) == {("*", "whole")}


async def test_a_reference_to_everything_takes_every_tombstone_of_its_type(tenant: World) -> None:
    stone = encode(TombstoneRecord("i", "unheld", 1))
    stones = [tenant.keys.tombstone(one) for one in (*numbered(3), Resource(*blob("x")[:1], "other", "y"))]  # type: ignore[arg-type]
    await tenant.client.commit(Txn((), [Put(key, stone) for key in stones]), deadline=5)
    async with tenant.sidecar() as one:
        whole = referring("whole", (every(blob("whole")),))
        assert await one.registrar.observed(whole) is Outcome.REGISTERED  # type: ignore[arg-type]
        assert {parts[1] for parts in await tenant.family(Family.TOMBSTONES)} == {"other"}
