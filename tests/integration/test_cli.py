"""The commands end to end, against the fake etcd and a real one: what is printed, what is written, the exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from leasehold.cli.__main__ import main
from leasehold.protocol import transactions
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Boot, Holder, LeaseId, Resource, Tenant
from leasehold.protocol.records import (
    ArmedRecord,
    ClusterRecord,
    Ending,
    HolderKind,
    HoldRecord,
    PinRecord,
    ResourceRecord,
    RosterRecord,
    SweepRecord,
    SweepState,
    TombstoneRecord,
    decode,
    encode,
)
from leasehold.protocol.store import Put, Txn, TxnResult
from tests.fakes.etcd import FakeEtcd

DEADLINE = 5.0
BLOB = Resource.parse("blobs/blob/photos/cat 1.jpg")
MAKER = Holder("maker@one~1")
RULES = """\
owners:
  - name: blobs
    hosts: ["blobs:80"]
    endpoint: http://blobs:80
    delete: {path: "/v1/blobs/{+id}", precondition: never-reused}
    headers: {Authorization: "Bearer ${BLOBS_TOKEN:-secret}"}
rules:
  - name: create-blob
    owner: blobs
    type: blob
    on: create
    match: {method: POST, path: /v1/blobs, status: [201]}
    id: {json: id}
    held_by: process
    mode: sweep
    grace: 5s
"""


class Cli:
    """The CLI beside a store, as an operator has it."""

    def __init__(self, client: EtcdClient, tenant: str) -> None:
        self.client = client
        self.keys = Keyspace(Tenant(tenant))
        self._globals = ["--etcd", client.config.endpoints[0], "--tenant", tenant]

    async def run(self, *arguments: str, text: str | None = None) -> Result:
        """In a thread: the command has an event loop of its own, and the fake needs ours."""
        command = [*self._globals, *arguments]
        return await asyncio.to_thread(lambda: CliRunner().invoke(main, command, input=text))

    async def json(self, *arguments: str) -> Any:
        result = await self.run(*arguments, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async def commit(self, txn: Txn) -> TxnResult:
        result = await self.client.commit(txn, deadline=DEADLINE)
        assert transactions.committed(result)
        return result

    async def attach(self, holder: Holder = MAKER) -> LeaseId:
        grant = await self.client.grant(60, deadline=DEADLINE)
        roster = RosterRecord("maker", "one", HolderKind.PROCESS, "boot", 60)
        await self.commit(transactions.attach(self.keys, holder, Boot("boot"), grant.lease, roster))
        return grant.lease

    async def register(self, resource: Resource = BLOB, holder: Holder = MAKER) -> None:
        record = ResourceRecord("uid-1", "create-blob", "5s", holder)
        member = transactions.register(self.keys, resource, record, holder, HoldRecord("boot", 1))
        await self.commit(transactions.batch(self.keys, {holder: Boot("boot")}, [member]))

    async def crash(self, holder: Holder = MAKER) -> None:
        roster = RosterRecord("maker", "one", HolderKind.PROCESS, "boot", 60, ended=Ending.CRASHED)
        await self.commit(transactions.retire(self.keys, holder, Boot("boot"), roster))

    async def put(self, key: bytes, record: Any) -> None:
        await self.commit(Txn((), (Put(key, encode(record)),)))

    async def has(self, key: bytes) -> bool:
        return await self.client.get(key, deadline=DEADLINE) is not None


@pytest.fixture(params=["fake", pytest.param("etcd", marks=pytest.mark.etcd)])
async def cli(request: pytest.FixtureRequest, real_etcd: EtcdProcess | None) -> AsyncIterator[Cli]:
    tenant = f"cli-{uuid4().hex[:8]}"
    if request.param == "fake":
        async with FakeEtcd() as fake, EtcdClient(fake.config) as client:
            yield Cli(client, tenant)
        return
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with EtcdClient(EtcdConfig(endpoints=[real_etcd.endpoint])) as client:
        yield Cli(client, tenant)


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


# --- reading ------------------------------------------------------------------------------------------------------


async def test_get_tells_every_resource_with_its_state(cli: Cli, rules: str) -> None:
    await cli.run("apply", "-f", rules)
    await cli.attach()
    await cli.register()
    [blob] = await cli.json("get", "resources")
    assert (blob["id"], blob["state"], blob["mode"]) == ("photos/cat 1.jpg", "held", "sweep")
    assert [(hold["holder"], hold["status"]) for hold in blob["holds"]] == [(MAKER, "alive")]
    await cli.crash()
    assert [found["state"] for found in await cli.json("get", "resources")] == ["unheld"]


async def test_get_filters_and_an_empty_answer_is_no_error(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    assert await cli.json("get", "resources", "--owner", "nobody") == []
    assert len(await cli.json("get", "resources", "--owner", "blobs", "--type", "blob", "--state", "held")) == 1
    assert (await cli.run("get", "resources", "--state", "hold")).exit_code == 2


async def test_get_prints_tables_whole_ids_and_markup_left_alone(cli: Cli) -> None:
    long = Resource.parse("blobs/blob/" + "[red]x" * 40)
    await cli.attach()
    await cli.register(long)
    assert str(long) in (await cli.run("get", "resources")).stdout


async def test_get_holders_tells_the_living_from_the_dead(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    [holder] = await cli.json("get", "holders")
    assert (holder["status"], holder["holds"]) == ("alive", 1)
    await cli.crash()
    [holder] = await cli.json("get", "holders", "--state", "ended")
    assert holder["ended"] == "crashed"


async def test_get_rules_and_owners_show_what_is_stored_but_no_credentials(cli: Cli, rules: str) -> None:
    await cli.run("apply", "-f", rules)
    assert [rule["name"] for rule in await cli.json("get", "rules")] == ["create-blob"]
    printed = (await cli.run("get", "owners", "-o", "yaml")).stdout
    assert "secret" not in printed
    assert "never-reused" in printed


@pytest.mark.parametrize(
    "what", ["tombstones", "sweeps", "intents", "suspects", "orphans", "owners", "rules", "holders", "resources"]
)
async def test_everything_can_be_listed_of_an_empty_tenant(cli: Cli, what: str) -> None:
    assert await cli.json("get", what) == []
    assert (await cli.run("get", what)).exit_code == 0


async def test_an_empty_table_says_where_nothing_was_found(cli: Cli) -> None:
    result = await cli.run("get", "resources")
    assert result.exit_code == 0
    assert "no such resources in tenant" in result.stderr
    assert "no such" not in result.stdout


@pytest.mark.parametrize(
    ("what", "state"), [("resources", "alive"), ("holders", "held"), ("sweeps", "ended"), ("owners", "held")]
)
async def test_a_state_that_cannot_be_is_bad_usage_and_no_empty_answer(cli: Cli, what: str, state: str) -> None:
    result = await cli.run("get", what, "--state", state)
    assert result.exit_code == 2
    assert f"got '{state}'" in result.stderr


async def test_why_tells_holders_and_what_happens_next(cli: Cli, rules: str) -> None:
    await cli.run("apply", "-f", rules)
    await cli.attach()
    await cli.register()
    told = (await cli.run("why", str(BLOB))).stdout
    assert "is held" in told
    assert "Next: Nothing happens while anyone holds it. When the last holder has gone, " in told
    facts = await cli.json("why", str(BLOB))
    assert facts["facts"]["holds"][0]["holder"] == MAKER


async def test_why_of_nothing_is_an_error_that_says_so(cli: Cli) -> None:
    result = await cli.run("why", "blobs/blob/none")
    assert result.exit_code == 1
    assert "nothing is recorded" in result.stderr


async def test_why_of_what_is_no_resource_is_bad_usage(cli: Cli) -> None:
    assert (await cli.run("why", "blobs")).exit_code == 2


# --- writing ------------------------------------------------------------------------------------------------------


async def test_apply_creates_then_finds_unchanged_then_changes(cli: Cli, rules: str) -> None:
    assert "rule create-blob: created" in (await cli.run("apply", "-f", rules)).stdout
    assert "rule create-blob: unchanged" in (await cli.run("apply", "-f", rules)).stdout
    changed = await cli.run("apply", "-f", "-", text=RULES.replace("5s", "6s"))
    assert "rule create-blob: changed" in changed.stdout
    assert (await cli.json("get", "rules"))[0]["document"]["grace"] == "6s"


async def test_a_dry_run_writes_nothing(cli: Cli, rules: str) -> None:
    assert "created (dry run)" in (await cli.run("apply", "-f", rules, "--dry-run")).stdout
    assert await cli.json("get", "rules") == []


async def test_bad_rules_are_listed_mistake_by_mistake_and_nothing_is_written(cli: Cli) -> None:
    bad = RULES.replace("held_by: process", "held_by: prozess").replace("http://blobs:80", "ftp://blobs")
    for command in (("apply", "-f", "-"), ("rules", "check", "-")):
        result = await cli.run(*command, text=bad)
        assert result.exit_code == 78
        assert "rules[0].held_by" in result.stderr
    assert await cli.json("get", "owners") == []


async def test_rules_that_see_nothing_created_are_warned_of(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("owners: []\nrules: []\n")
    result = await cli.run("rules", "check", str(tmp_path / "empty.yaml"))
    assert result.exit_code == 0
    assert "no rule sees anything created" in result.stderr


async def test_rules_check_warns_of_what_has_no_effect(cli: Cli) -> None:
    result = await cli.run("rules", "check", "-", text=RULES.replace(", precondition: never-reused", ""))
    assert result.exit_code == 0
    assert "has no effect" in result.stderr


async def test_a_rule_file_that_cannot_be_read_is_bad_configuration(cli: Cli, tmp_path: Path) -> None:
    result = await cli.run("rules", "check", str(tmp_path / "none.yaml"))
    assert result.exit_code == 78
    assert "none.yaml" in result.stderr


async def test_pin_keeps_and_unpin_starts_grace_anew(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    assert (await cli.run("pin", str(BLOB), "--why", "evidence")).exit_code == 0
    found = await cli.client.get(cli.keys.pin(BLOB), deadline=DEADLINE)
    assert found is not None
    assert decode(PinRecord, found.value).why == "evidence"
    await cli.put(cli.keys.tombstone(BLOB), TombstoneRecord("uid-1", "unheld", 1))
    assert (await cli.run("unpin", str(BLOB))).exit_code == 0
    assert not await cli.has(cli.keys.pin(BLOB))
    assert not await cli.has(cli.keys.tombstone(BLOB))
    assert (await cli.run("unpin", str(BLOB))).exit_code == 1


async def test_restore_takes_the_tombstone_away(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    assert (await cli.run("restore", str(BLOB))).exit_code == 1
    await cli.put(cli.keys.tombstone(BLOB), TombstoneRecord("uid-1", "unheld", 1))
    assert (await cli.run("restore", str(BLOB))).exit_code == 0
    assert not await cli.has(cli.keys.tombstone(BLOB))


async def test_a_sweep_under_way_cannot_be_overridden(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    await cli.put(cli.keys.sweep(BLOB), SweepRecord(SweepState.SENT, "uid-1", 1, 1, 1, "5s/1"))
    for command in (("pin", str(BLOB), "--why", "x"), ("restore", str(BLOB))):
        result = await cli.run(*command)
        assert result.exit_code == 1
        assert "too late" in result.stderr


async def test_release_refuses_a_living_holder_unless_forced(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    refused = await cli.run("release", str(BLOB), "--holder", MAKER)
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert (await cli.run("release", str(BLOB), "--holder", MAKER, "--force")).exit_code == 0
    [blob] = await cli.json("get", "resources")
    assert blob["holds"][0]["status"] == "released"
    assert (await cli.run("release", str(BLOB), "--holder", MAKER)).exit_code == 1


async def test_release_of_a_dead_holder_needs_no_force(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    await cli.crash()
    assert (await cli.run("release", str(BLOB), "--holder", MAKER)).exit_code == 0


async def test_release_names_those_who_do_hold(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    result = await cli.run("release", str(BLOB), "--holder", "nobody")
    assert result.exit_code == 1
    assert MAKER in result.stderr


@pytest.mark.parametrize("command", [("pin", "--why", "x"), ("unpin",), ("restore",), ("release", "--holder", "x")])
async def test_a_resource_that_is_not_there_is_not_written_to(cli: Cli, command: tuple[str, ...]) -> None:
    result = await cli.run(command[0], "blobs/blob/none", *command[1:])
    assert result.exit_code == 1
    assert "not found" in result.stderr
    assert (await cli.client.read(cli.keys.everything, deadline=DEADLINE)).items == []


async def test_the_brake_is_tripped_and_armed_again(cli: Cli) -> None:
    await cli.put(cli.keys.armed, ArmedRecord("first", "founded"))
    assert (await cli.run("brake", "trip", "--reason", "drill")).exit_code == 0
    assert not await cli.has(cli.keys.armed)
    assert (await cli.run("brake", "arm", "--reason", "over")).exit_code == 0
    assert await cli.has(cli.keys.armed)


async def test_another_cluster_is_accepted_only_under_the_brake_which_stays_on(cli: Cli) -> None:
    await cli.put(cli.keys.cluster, ClusterRecord("abc", "long ago", 64))
    await cli.put(cli.keys.armed, ArmedRecord("first", "founded"))
    accept = ("brake", "accept-cluster", "--reason", "restored")
    refused = await cli.run(*accept)
    assert refused.exit_code == 1
    assert "`leasehold brake trip` first" in refused.output
    assert (json.loads((await cli.run("status", "-o", "json")).stdout))["cluster"]["pinned"] == "abc"
    await cli.run("brake", "trip", "--reason", "etcd is another")
    accepted = await cli.run(*accept)
    assert accepted.exit_code == 0, accepted.output
    found = json.loads((await cli.run("status", "-o", "json")).stdout)
    assert found["cluster"]["pinned"] not in ("abc", None)
    assert found["shards"]["total"] == 64
    assert not found["brake"]["armed"]
    assert "another cluster was accepted: restored" in found["brake"]["why"]
    assert "already" in (await cli.run(*accept)).output


async def test_a_cluster_that_is_pinned_nowhere_is_not_accepted(cli: Cli) -> None:
    refused = await cli.run("brake", "accept-cluster", "--reason", "empty")
    assert refused.exit_code == 1
    assert "only a control plane founds a tenant" in refused.output


async def test_an_unreadable_record_is_warned_of_and_the_rest_is_listed(cli: Cli) -> None:
    await cli.attach()
    await cli.register()
    await cli.commit(Txn((), (Put(cli.keys.record(Resource.parse("blobs/blob/bad")), b"{"),)))
    result = await cli.run("get", "resources", "-o", "json")
    assert "warning" in result.stderr
    assert len(json.loads(result.stdout)) == 2


# --- trouble ------------------------------------------------------------------------------------------------------


def test_an_etcd_that_is_not_there_is_one_clear_line() -> None:
    result = CliRunner().invoke(main, ["--etcd", "http://127.0.0.1:1", "--timeout", "0.5", "get", "resources"])
    assert result.exit_code == 1
    assert "etcd cannot be reached" in result.stderr
    assert "http://127.0.0.1:1" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tenant", "a/b", "get", "rules"],
        ["--etcd", ",", "get", "rules"],
        ["--user", "x", "get", "rules"],
        ["get", "x"],
    ],
)
def test_bad_usage_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [[], ["get"], ["why"], ["apply"], ["rules"], ["rules", "check"], ["brake"], ["doctor"], ["run"], ["demo"]],
)
def test_every_command_explains_itself(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0
    assert "leasehold" in result.output


def test_the_doctor_fails_without_an_etcd_and_says_where_it_looked() -> None:
    result = CliRunner().invoke(main, ["--etcd", "http://127.0.0.1:1", "--timeout", "0.5", "doctor", "-o", "json"])
    assert result.exit_code == 1
    found = {finding["code"]: finding for finding in json.loads(result.stdout)}
    assert found["etcd-reachable"]["level"] == "fail"


@pytest.mark.etcd
async def test_the_doctor_examines_a_real_cluster(real_etcd: EtcdProcess | None, rules: str) -> None:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with EtcdClient(EtcdConfig(endpoints=[real_etcd.endpoint])) as client:
        cli = Cli(client, f"cli-{uuid4().hex[:8]}")
        await cli.run("apply", "-f", rules)
        result = await cli.run("doctor", "-o", "json")
        found = {finding["code"]: finding["level"] for finding in json.loads(result.stdout)}
        assert found["etcd-reachable"] == "ok"
        assert found["etcd-single-member"] == "warn"
        assert found["rules"] == "ok"
        assert found["control-plane"] == "warn"
        assert result.exit_code == int("fail" in found.values())
