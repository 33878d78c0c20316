"""Rules in etcd are applied as they change; a bad one costs only itself; an outage costs none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import OwnerName, RuleName, Tenant
from leasehold.protocol.store import Delete, Operation, Put, Txn
from leasehold.sidecar.app import LoopClock
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.metrics import SidecarMetrics
from leasehold.sidecar.rules_source import CurrentRules, EtcdRules
from tests.fakes.etcd import FakeEtcd
from tests.integration.sidecar_world import eventually

KEYS = Keyspace(Tenant("t"))
OWNER = {"name": "store", "hosts": ["store:80"], "endpoint": "http://store"}


def document(name: str, **more: Any) -> dict[str, Any]:
    rule = {
        "name": name, "owner": "store", "type": "blob", "on": "create", "held_by": "process", "id": {"json": "id"},
        "match": {"method": "POST", "path": "/v1/blobs", "status": [201]},
    }  # fmt: skip
    return rule | more


class Followed:
    def __init__(self, client: EtcdClient, folder: Path) -> None:
        etcd = Etcd(client, client, client, KEYS, LoopClock(), "s", "1", 1.0)
        self.client = client
        self.metrics = SidecarMetrics()
        self.current = CurrentRules(self.metrics)
        self.source = EtcdRules(etcd, self.current, folder / "rules.json", self.metrics)

    @property
    def names(self) -> list[str]:
        return [rule.name for rule in self.current.rules.rules]

    async def put(self, *operations: Operation) -> None:
        await self.client.commit(Txn((), operations), deadline=5)

    def skipped(self, kind: str) -> float:
        return self.metrics.registry.get_sample_value("leasehold_sidecar_rules_skipped_total", {"kind": kind}) or 0.0

    async def shows(self, *names: str) -> None:
        await eventually(f"the rules are {names}", lambda: self.names == list(names))


def owner(value: object = OWNER, name: str = "store") -> Put:
    return Put(KEYS.owner(OwnerName(name)), msgspec.json.encode(value))


def rule(name: str, value: object = None, **more: Any) -> Put:
    return Put(KEYS.rule(RuleName(name)), msgspec.json.encode(value if value is not None else document(name, **more)))


@pytest.fixture
async def fake() -> AsyncIterator[FakeEtcd]:
    async with FakeEtcd() as it:
        yield it


@contextlib.asynccontextmanager
async def following(fake: FakeEtcd, folder: Path) -> AsyncIterator[Followed]:
    async with EtcdClient(fake.config) as client:
        it = Followed(client, folder)
        it.source.recall()
        task = asyncio.create_task(it.source.run())
        try:
            yield it
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_rules_are_applied_as_they_come_and_go(fake: FakeEtcd, tmp_path: Path) -> None:
    async with following(fake, tmp_path) as it:
        await it.put(owner(), rule("a"))
        await it.shows("a")
        assert not it.current.matcher.empty
        await it.put(rule("b", grace="1m"))
        await it.shows("a", "b")
        await it.put(Delete(KEYS.rule(RuleName("a"))))
        await it.shows("b")


async def test_a_bad_document_is_passed_over_and_its_last_good_version_stays(fake: FakeEtcd, tmp_path: Path) -> None:
    async with following(fake, tmp_path) as it:
        await it.put(owner(), rule("a"), rule("bad", held_by="nobody"), rule("alien", owner="unknown"))
        await it.shows("a")
        assert it.skipped("rule") == 2
        await it.put(rule("a", id={}))
        await eventually("seen", lambda: it.skipped("rule") >= 5)
        assert it.names == ["a"]
        assert it.current.rules.rules[0].id.json == "id"
        await it.put(Put(KEYS.owner(OwnerName("store")), b"{not json"), rule("b"))
        await it.shows("a", "b")


async def test_a_document_under_a_name_not_its_own_is_passed_over(fake: FakeEtcd, tmp_path: Path) -> None:
    async with following(fake, tmp_path) as it:
        await it.put(owner(), rule("a"), rule("b", document("a")), rule("c", [1]))
        await it.shows("a")
        assert it.skipped("rule") == 2


@pytest.mark.parametrize(
    "strange",
    [
        {"owner": ["store"]},
        {"owner": {"a": 1}},
        {"id_pattern": "a{99999999999}"},
        {"id_pattern": "(" * 5000 + ")" * 5000},
        {"id": {"json": "[" * 5000}},
        {"name": "strange", "more": [[]]},
    ],
)
async def test_no_document_however_strange_ends_the_following(
    fake: FakeEtcd, tmp_path: Path, strange: dict[str, Any]
) -> None:
    async with following(fake, tmp_path) as it:
        await it.put(
            owner(), rule("a"), Put(KEYS.rule(RuleName("strange")), msgspec.json.encode(document("strange") | strange))
        )
        await it.shows("a")
        assert it.skipped("rule") == 1
        nested = b'{"name": "strange", "owner": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        await it.put(Put(KEYS.rule(RuleName("strange")), nested), rule("b"))
        await it.shows("a", "b")


async def test_a_compaction_costs_no_rule(fake: FakeEtcd, tmp_path: Path) -> None:
    async with following(fake, tmp_path) as it:
        await it.put(owner(), rule("a"))
        await it.shows("a")
        await it.put(rule("b"))
        fake.compact(fake.store.revision)
        fake.disconnect()
        await it.shows("a", "b")


async def test_a_restart_during_an_outage_observes_what_it_observed_before(fake: FakeEtcd, tmp_path: Path) -> None:
    async with following(fake, tmp_path) as it:
        await it.put(owner(), rule("a"))
        await it.shows("a")
    fake.stall()
    async with following(fake, tmp_path) as it:
        assert it.names == ["a"]
        await eventually("it says so", lambda: "deadline" in it.source.trouble)
        fake.resume()
        await it.put(rule("b"))
        await it.shows("a", "b")
        await eventually("fine again", lambda: not it.source.trouble)


async def test_kept_rules_that_are_damaged_are_no_crash(fake: FakeEtcd, tmp_path: Path) -> None:
    for damage in (b"", b"{", b"[]", b'{"owners": 1, "rules": []}', b'{"owners": [{}], "rules": []}'):
        (tmp_path / "rules.json").write_bytes(damage)
        async with following(fake, tmp_path) as it:
            assert it.names == []
