"""Objects into etcd and verdicts back, with a fake API server, and etcd both fake and real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from leasehold.control_plane.kubernetes import documents
from leasehold.control_plane.kubernetes.api_server import Access, ApiServer, NotThere
from leasehold.control_plane.kubernetes.controller import Controller
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.telemetry.gauges import show_objects
from leasehold.control_plane.ticking import MonotonicClock
from leasehold.protocol.configuration import convert
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import LeaseId, OwnerName, Revision, RuleName, Tenant
from leasehold.protocol.records import ObjectsRecord, decode, encode
from leasehold.protocol.rules import Rule
from leasehold.protocol.store import Delete, Put, Txn
from leasehold.protocol.transactions import Authority
from tests.fakes.api_server import TOKEN, FakeApiServer
from tests.fakes.etcd import FakeEtcd
from tests.unit.control_plane.kubernetes.objects import OWNER_SPEC, RULE_SPEC, changed

DEADLINE = 5.0
OWNERS, RULES = "owners", "interceptionrules"


@dataclass
class World:
    """A cluster's API server, a tenant in etcd, and whoever has its first shard."""

    cluster: FakeApiServer
    client: EtcdClient
    keys: Keyspace
    folder: Path
    authority: Authority | None = None

    async def become_leader(self) -> None:
        key = self.keys.shard(0)
        await self.client.commit(Txn((), (Delete(key),)), deadline=DEADLINE)
        result = await self.client.commit(Txn((), (Put(key, b"{}"),)), deadline=DEADLINE)
        self.authority = Authority(0, Revision(result.revision), Revision(0))

    @asynccontextmanager
    async def controller(self, *, selector: str = "", resync: float = 3600.0) -> AsyncIterator[Controller]:
        token = self.folder / "token"
        token.write_text(TOKEN + "\n")
        self.cluster.token = TOKEN
        api = ApiServer(Access(self.cluster.url, token, deadline_seconds=DEADLINE))
        controller = Controller(
            api, self.client, self.keys, MonotonicClock(), lambda: self.authority, selector=selector,
            resync_seconds=resync, deadline=DEADLINE, jitter=lambda: 0.0,
        )  # fmt: skip
        running = asyncio.create_task(controller.run())
        try:
            yield controller
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await controller.close()

    async def documents(self) -> dict[str, dict[str, Any]]:
        """All owners and rules in etcd, by name."""
        found = {}
        for family in (Family.OWNERS, Family.RULES):
            for item in (await self.client.read(self.keys.family(family), deadline=DEADLINE)).items:
                key = self.keys.parse(item.key)
                assert key is not None
                found[key.parts[0]] = msgspec.json.decode(item.value)
        return found

    async def managed(self) -> set[str]:
        item = await self.client.get(self.keys.objects, deadline=DEADLINE)
        record = decode(ObjectsRecord, item.value) if item is not None else ObjectsRecord()
        return {*record.owners, *record.rules}

    async def put(self, key: bytes, value: bytes) -> None:
        await self.client.commit(Txn((), (Put(key, value, LeaseId(0)),)), deadline=DEADLINE)

    def accepted(self, plural: str, name: str) -> str:
        """What the status says: ``True``, ``False``, or nothing (yet) of this generation."""
        condition = self.cluster.condition(plural, name)
        generation = self.cluster.objects[plural][name]["metadata"]["generation"]
        return str(condition.get("status", "")) if condition.get("observedGeneration") == generation else ""


async def until(what: Callable[[], Awaitable[bool]] | Callable[[], bool], within: float = 20.0) -> None:
    """Wait for it; how long does not matter, only that it comes."""
    async with asyncio.timeout(within):
        while True:
            answer = what()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.etcd)])
async def world(request: pytest.FixtureRequest, real_etcd: EtcdProcess | None, tmp_path: Path) -> AsyncIterator[World]:
    async with FakeApiServer() as cluster:
        if request.param == "fake":
            async with FakeEtcd() as fake, EtcdClient(EtcdConfig([fake.endpoint])) as client:
                yield World(cluster, client, Keyspace(Tenant("t")), tmp_path)
        elif real_etcd is None:
            pytest.skip("no etcd here")
        else:
            async with EtcdClient(EtcdConfig([real_etcd.endpoint])) as client:
                yield World(cluster, client, Keyspace(Tenant(f"objects-{uuid4().hex}")), tmp_path)


async def test_objects_come_into_etcd_as_a_file_would_and_are_told_so(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(RULES, "create-blob", RULE_SPEC)
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller():
        await until(lambda: world.accepted(RULES, "create-blob") == "True" == world.accepted(OWNERS, "blobs"))
    found = await world.documents()
    assert found["blobs"] == {"name": "blobs", **OWNER_SPEC}
    assert convert(Rule, found["create-blob"], "etcd") == convert(Rule, {"name": "create-blob", **RULE_SPEC}, "here")
    assert await world.managed() == {"blobs", "create-blob"}


async def test_changes_follow_by_the_watch_and_a_mistake_keeps_the_last_good_version(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    await world.cluster.apply(RULES, "create-blob", RULE_SPEC)
    async with world.controller():
        await until(lambda: world.accepted(RULES, "create-blob") == "True")
        await world.cluster.apply(RULES, "create-blob", changed(RULE_SPEC, {"grace": "0s"}))
        await until(lambda: world.accepted(RULES, "create-blob") == "False")
        assert "spec.grace: expected at least 1s" in world.cluster.condition(RULES, "create-blob")["message"]
        assert (await world.documents())["create-blob"].get("grace", "300s") == "300s"
        await world.cluster.apply(RULES, "create-blob", changed(RULE_SPEC, {"grace": "1h"}))
        await until(lambda: world.accepted(RULES, "create-blob") == "True")
        assert (await world.documents())["create-blob"]["grace"] == "3600s"


async def test_a_deleted_object_takes_its_document_along_and_nothing_else(world: World) -> None:
    await world.become_leader()
    record = world.keys.family(Family.RESOURCES).start + b"blobs/blob/1"
    await world.put(record, b"{}")
    await world.put(world.keys.rule(RuleName("by-hand")), msgspec.json.encode({"name": "by-hand", **RULE_SPEC}))
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    await world.cluster.apply(RULES, "create-blob", RULE_SPEC)
    async with world.controller():
        await until(lambda: world.accepted(RULES, "create-blob") == "True")
        await world.cluster.delete(RULES, "create-blob")
        await world.cluster.delete(OWNERS, "blobs")

        async def gone() -> bool:
            return "create-blob" not in await world.documents()

        await until(gone)
        # by-hand still names the owner, so that stays; and what the rule saw created is not touched.
        assert (await world.documents()).keys() == {"by-hand", "blobs"}
        assert await world.client.get(record, deadline=DEADLINE) is not None


async def test_what_was_deleted_while_nobody_looked_is_removed_by_the_next_list(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller():
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
    await world.cluster.delete(OWNERS, "blobs")
    async with world.controller():

        async def gone() -> bool:
            return await world.documents() == {}

        await until(gone)
    assert await world.managed() == set()


async def test_a_kind_that_is_not_served_any_more_takes_nothing_along(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller():
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
    world.cluster.served.clear()
    world.cluster.objects[OWNERS].clear()
    world.cluster.calls.clear()
    async with world.controller(resync=0.1) as controller:
        await until(lambda: len(world.cluster.calls) >= 4)
        assert "could not find the requested resource" in controller.why_not
        metrics = Metrics()
        show_objects(metrics, controller)
        assert metrics.registry.get_sample_value("leasehold_objects_behind") == 1
    assert (await world.documents()).keys() == {"blobs"}


async def test_an_expired_version_is_listed_anew_and_nothing_is_missed(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller():
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
        world.cluster.calls.clear()
        await world.cluster.compact()
        await world.cluster.apply(OWNERS, "more", OWNER_SPEC)
        await until(lambda: world.accepted(OWNERS, "more") == "True")
        assert any(call.endswith(OWNERS) for call in world.cluster.calls)


async def test_a_watch_that_ends_goes_on_where_it_was_without_a_list(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller():
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
        world.cluster.calls.clear()
        await world.cluster.cut()
        await world.cluster.apply(OWNERS, "more", OWNER_SPEC)
        await until(lambda: world.accepted(OWNERS, "more") == "True")
        looks = [call for call in world.cluster.calls if call.endswith(OWNERS)]
        assert len(looks) == 1, "the look before writing, and no list of the mirror's"


async def test_trouble_with_the_api_server_is_waited_out(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    world.cluster.refuse = [500, 429, 503]
    async with world.controller() as controller:
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
        await until(lambda: not controller.why_not)


async def test_a_status_that_cannot_be_written_is_written_by_a_later_round(world: World) -> None:
    await world.become_leader()
    async with world.controller(resync=0.5):
        await until(lambda: sum("watch" in call for call in world.cluster.calls) == 2)
        world.cluster.refuse_patches = [500]
        await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
        assert sum(call.startswith("PATCH") for call in world.cluster.calls) == 2


async def test_only_whoever_has_the_fence_writes(world: World) -> None:
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller(resync=0.1) as controller:
        await until(lambda: all(mirror.things is not None for mirror in controller.mirrors))
        await controller.round()
        assert await world.documents() == {}
        await world.become_leader()
        stale = world.authority
        await world.become_leader()  # somebody else has it now, and we do not know yet
        world.authority = stale
        await controller.round()
        assert await world.documents() == {}
        assert not world.cluster.condition(OWNERS, "blobs")
        await world.become_leader()
        controller.nudge()
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")


async def test_a_leader_whose_watch_is_behind_reverts_and_removes_nothing(world: World) -> None:
    """Another leader brought new objects into force; whoever takes over from it has not heard of them yet."""
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    await world.cluster.apply(RULES, "create-blob", RULE_SPEC)
    async with world.controller() as behind:
        await until(lambda: all(mirror.things is not None for mirror in behind.mirrors))
        world.cluster.mute = True
        observing = changed(RULE_SPEC, {"mode": "observe"})
        await world.cluster.apply(RULES, "create-blob", observing)
        await world.cluster.apply(OWNERS, "newer", OWNER_SPEC)
        await world.become_leader()
        async with world.controller():
            await until(lambda: world.accepted(OWNERS, "newer") == "True" == world.accepted(RULES, "create-blob"))
        seen = await world.documents()
        assert behind.mirrors[0].things is not None
        assert "newer" not in behind.mirrors[0].things
        await behind.round()
        assert await world.documents() == seen
        assert seen["create-blob"].get("mode", "observe") == "observe"
        assert await world.managed() == {"blobs", "newer", "create-blob"}


async def test_what_is_changed_in_etcd_is_put_right_by_the_next_round(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller(resync=0.2):
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
        await world.put(
            world.keys.owner(OwnerName("blobs")), b'{"name": "blobs", "hosts": ["x"], "endpoint": "http://x"}'
        )

        async def mended() -> bool:
            return (await world.documents())["blobs"]["hosts"] == ["blobs.internal:8080"]

        await until(mended)


async def test_an_unreadable_record_of_what_is_ours_stops_everything(world: World) -> None:
    await world.become_leader()
    await world.put(world.keys.objects, b"nonsense")
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller() as controller:
        await until(lambda: "ObjectsRecord" in controller.why_not)
        assert await world.documents() == {}
        await world.put(world.keys.objects, encode(ObjectsRecord()))
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")


async def test_only_selected_objects_count(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "ours", OWNER_SPEC, {"leasehold.dev/tenant": "t"})
    await world.cluster.apply(OWNERS, "theirs", OWNER_SPEC, {"leasehold.dev/tenant": "u"})
    async with world.controller(selector="leasehold.dev/tenant=t"):
        await until(lambda: world.accepted(OWNERS, "ours") == "True")
    assert (await world.documents()).keys() == {"ours"}


async def test_many_objects_are_listed_in_pages_and_written_in_several_transactions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "CHANGES_AT_A_TIME", 7)
    await world.become_leader()
    world.cluster.page_size = 10
    names = {f"owner-{n}" for n in range(45)}
    for name in sorted(names):
        await world.cluster.apply(OWNERS, name, OWNER_SPEC)
    async with world.controller():
        await until(lambda: all(world.accepted(OWNERS, name) == "True" for name in names))
    assert (await world.documents()).keys() == names == await world.managed()


async def test_statuses_are_not_written_again_and_again(world: World) -> None:
    await world.become_leader()
    await world.cluster.apply(OWNERS, "blobs", OWNER_SPEC)
    async with world.controller() as controller:
        await until(lambda: world.accepted(OWNERS, "blobs") == "True")
        seen = controller.mirrors[0]
        await until(lambda: bool(seen.things and seen.things["blobs"].told))
        for _ in range(3):
            await controller.round()
        assert sum(call.startswith("PATCH") for call in world.cluster.calls) == 1
        assert controller.counts() == [(("Owner", "true"), 1)]
        metrics, told = Metrics(), {"kind": "Owner", "accepted": "true"}
        show_objects(metrics, controller)
        assert metrics.registry.get_sample_value("leasehold_objects", told) == 1


async def test_a_patch_of_what_is_gone_says_so(world: World) -> None:
    async with ApiServer(Access(world.cluster.url, deadline_seconds=DEADLINE)) as api:
        with pytest.raises(NotThere, match="nobody not found"):
            await api.patch("/apis/leasehold.dev/v1alpha1/owners/nobody/status", {"metadata": {"uid": "x"}})
