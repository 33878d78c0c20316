"""One tenant's users and another's keys: a real etcd refuses every way to them, by roles that our command applied."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import pytest
import pytest_asyncio

from leasehold.protocol.errors import AccessDenied, Unavailable
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.known_bad import defects_of, parse_version
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import LeaseId, Revision, Tenant, service_lease_id
from leasehold.protocol.names import ServiceName as Service
from leasehold.protocol.store import (
    Compare,
    Delete,
    Get,
    GetResult,
    KeyRange,
    MemberStatus,
    Put,
    Relation,
    Target,
    Txn,
    TxnResult,
)
from tests.tenants.guarded import OURS, THEIRS, Guarded, guarded_etcd

pytestmark = [pytest.mark.etcd, pytest.mark.asyncio(loop_scope="module")]
DEADLINE = 10.0
PARTS = ("sidecar", "web-sidecar", "control-plane", "reader", "operator")
KEYS = {tenant: Keyspace(Tenant(tenant)) for tenant in (OURS, THEIRS)}
PARTS_OF = {Family.HOLDS: 4, Family.REFS: 6, Family.INTENTS: 2, Family.EPOCHS: 2, Family.EPOCH_LEASES: 2}
BY_RESOURCE = {Family.RESOURCES, Family.TOMBSTONES, Family.NOTICES, Family.SWEEPS, Family.GRAVES, Family.PINS}


def key_of(tenant: str, family: Family) -> bytes:
    """Some key of that family, of the shape that the family has."""
    depth = 3 if family in BY_RESOURCE else PARTS_OF.get(family, 1)
    parts = ("blob-store", "blob", "4711", "web%40one", "b", "c")[:depth] if depth >= 3 else ("web%40one", "1")[:depth]
    return KEYS[tenant].family(family).start + "/".join(parts).encode()


@dataclass
class House:
    guarded: Guarded
    clients: dict[str, EtcdClient]

    @property
    def root(self) -> EtcdClient:
        return self.clients["root"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with guarded_etcd(tmp_path_factory.mktemp("guarded")) as guarded:
        users = ["root", *(f"{tenant}.{part}" for tenant in (OURS, THEIRS) for part in PARTS)]
        clients = {user: EtcdClient(guarded.config(user)) for user in users}
        for tenant in (OURS, THEIRS):
            puts = [Put(key_of(tenant, family), b"theirs") for family in Family]
            await clients["root"].commit(Txn((), puts), deadline=DEADLINE)
        yield House(guarded, clients)
        for client in clients.values():
            await client.close()


Way = Callable[[EtcdClient, bytes, KeyRange], Awaitable[object]]


async def get(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    return await client.get(key, deadline=DEADLINE)


async def list_it(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    return await client.read(family, deadline=DEADLINE)


async def put(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    return await client.commit(Txn((), (Put(key, b"forged"),)), deadline=DEADLINE)


async def delete(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    return await client.commit(Txn((), (Delete(key),)), deadline=DEADLINE)


async def delete_all(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    return await client.commit(Txn((), (Delete(family),)), deadline=DEADLINE)


async def compare(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    compares = (Compare(key, Target.VALUE, Relation.EQUAL, b"theirs"),)
    return await client.commit(Txn(compares), deadline=DEADLINE)


async def compare_all(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    compares = (Compare(family, Target.MOD, Relation.LESS, 10**6),)
    return await client.commit(Txn(compares), deadline=DEADLINE)


async def watch(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    async with asyncio.timeout(DEADLINE), aclosing(client.watch(family, start=Revision(1))) as batches:
        return await anext(batches)


async def attach_to_a_lease(client: EtcdClient, key: bytes, family: KeyRange) -> object:
    lease = (await client.grant(60, deadline=DEADLINE)).lease
    try:
        return await client.commit(Txn((), (Put(key, b"forged", lease),)), deadline=DEADLINE)
    finally:
        await client.revoke(lease, deadline=DEADLINE)


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        get, list_it, put, delete, delete_all, compare, compare_all, watch,
        attach_to_a_lease,
    )
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", PARTS)
async def test_no_user_of_one_tenant_reaches_any_family_of_another(house: House, part: str, way: str) -> None:
    client, theirs = house.clients[f"{OURS}.{part}"], KEYS[THEIRS]
    before = (await house.root.read(theirs.everything, deadline=DEADLINE)).items
    for family in Family:
        with pytest.raises(AccessDenied, match="permission denied"):
            await WAYS[way](client, key_of(THEIRS, family), theirs.family(family))
    assert (await house.root.read(theirs.everything, deadline=DEADLINE)).items == before


@pytest.mark.parametrize("part", PARTS)
async def test_no_user_reaches_the_whole_store_or_what_lies_beside_the_tenants(house: House, part: str) -> None:
    client = house.clients[f"{OURS}.{part}"]
    for where in (KeyRange(b"\0", b"\0"), KeyRange.under(b"/leasehold/"), KeyRange.under(b"/leasehold/1/"), b"/x"):
        with pytest.raises(AccessDenied):
            await client.read(where, deadline=DEADLINE)
        with pytest.raises(AccessDenied):
            await client.commit(Txn((), (Delete(where),)), deadline=DEADLINE)


@pytest.mark.parametrize(
    ("part", "may_write"),
    [
        ("reader", set()),
        ("sidecar", {"beacons", "roster", "resources", "holds", "refs", "intents", "tombstones", "notices"}),
        ("operator", {"pins", "tombstones", "holds", "owners", "rules"}),
        (
            "control-plane",
            {"resources", "holds", "refs", "intents", "roster", "tombstones", "epochs", "epoch-leases", "notices",
             "sweeps", "graves", "shards", "replicas", "control", "shadows", "owners", "rules"},
        ),
    ],
)  # fmt: skip
async def test_within_its_tenant_a_part_writes_what_is_its_own_and_nothing_else(
    house: House, part: str, may_write: set[str]
) -> None:
    client, written = house.clients[f"{OURS}.{part}"], set()
    for family in Family:
        try:
            await put(client, key_of(OURS, family), KEYS[OURS].family(family))
        except AccessDenied:
            continue
        written.add(family.value)
    assert written == may_write


async def test_a_sidecar_cannot_arm_the_brake_forge_a_sweep_or_change_a_rule(house: House) -> None:
    client, keys = house.clients[f"{OURS}.sidecar"], KEYS[OURS]
    for key in (keys.armed, keys.tripped, keys.cluster, keys.shard(0), key_of(OURS, Family.SWEEPS),
                key_of(OURS, Family.GRAVES), key_of(OURS, Family.EPOCHS), key_of(OURS, Family.PINS),
                key_of(OURS, Family.OWNERS), key_of(OURS, Family.RULES)):  # fmt: skip
        for change in (Put(key, b"forged"), Delete(key)):
            with pytest.raises(AccessDenied):
                await client.commit(Txn((), (change,)), deadline=DEADLINE)


async def test_an_operator_touches_of_control_only_the_brake(house: House) -> None:
    client, keys = house.clients[f"{OURS}.operator"], KEYS[OURS]
    await client.commit(Txn((), (Put(keys.tripped, b"{}"), Delete(keys.tripped))[:1]), deadline=DEADLINE)
    for key in (keys.cluster, keys.canary, keys.window, keys.objects):
        with pytest.raises(AccessDenied):
            await client.commit(Txn((), (Put(key, b"forged"),)), deadline=DEADLINE)


@pytest.mark.parametrize("family", [Family.BEACONS, Family.ROSTER, Family.INTENTS])
@pytest.mark.parametrize(
    ("holder", "allowed"),
    [
        (b"web", True), (b"web%40one~1.2", True), (b"web%21abc", True),
        (b"web-2", False), (b"web2", False), (b"web.x%40one", False), (b"we", False), (b"other%40web", False),
        (b"%21canary-alive", False),
    ],
)  # fmt: skip
async def test_a_service_s_sidecar_speaks_for_holders_of_that_service_alone(
    house: House, family: Family, holder: bytes, allowed: bool
) -> None:
    client = house.clients[f"{OURS}.web-sidecar"]
    key = KEYS[OURS].family(family).start + holder + (b"/call" if family is Family.INTENTS else b"")
    if allowed:
        assert (await client.commit(Txn((), (Put(key, b"{}"),)), deadline=DEADLINE)).succeeded
    else:
        with pytest.raises(AccessDenied):
            await client.commit(Txn((), (Put(key, b"{}"),)), deadline=DEADLINE)


@pytest.mark.parametrize("owner", [b"blob-store-2", b"blob", b"other"])
async def test_a_sidecar_for_one_owner_touches_no_other_owner_s_resources(house: House, owner: bytes) -> None:
    client, keys = house.clients[f"{OURS}.web-sidecar"], KEYS[OURS]
    for family in (Family.RESOURCES, Family.HOLDS, Family.REFS, Family.TOMBSTONES, Family.NOTICES):
        with pytest.raises(AccessDenied):
            await client.commit(
                Txn((), (Put(keys.family(family).start + owner + b"/blob/1", b"{}"),)), deadline=DEADLINE
            )


# --- what some versions of etcd do not hold to ---------------------------------------------------------------------


async def fixes(house: House) -> tuple[int, int, int]:
    [status] = await house.root.status()
    assert isinstance(status, MemberStatus)
    return parse_version(status.version) or (0, 0, 0)


async def test_nested_transactions_go_past_the_roles_where_doctor_says_so(house: House) -> None:
    """CVE-2026-33343: the roles bind nobody in old versions. What they are worth there is said, not assumed."""
    version, theirs = await fixes(house), key_of(THEIRS, Family.PINS)
    nested = Txn((), (Txn((), (Get(theirs),)),))
    if any(defect.issue == "CVE-2026-33343" for defect in defects_of(version, 1, by_roles=True)):
        outer = await house.clients[f"{OURS}.reader"].commit(nested, deadline=DEADLINE)
        [inner] = outer.results
        assert isinstance(inner, TxnResult)
        assert isinstance(inner.results[0], GetResult)
        assert inner.results[0].items, "doctor warns of a version that is not affected"
    else:
        with pytest.raises(AccessDenied):
            await house.clients[f"{OURS}.reader"].commit(nested, deadline=DEADLINE)


async def test_doctor_tells_whoever_logs_in_which_versions_do_not_keep_tenants_apart(house: House) -> None:
    version = await fixes(house)
    told = house.guarded.leasehold(f"{OURS}.reader", "--tenant", OURS, "doctor", "-o", "json")
    codes = {finding["code"] for finding in json.loads(told.stdout)}
    expected = {f"known-bad-{defect.issue}" for defect in defects_of(version, 1, by_roles=True) if defect.roles_only}
    assert expected <= codes
    assert not [defect for defect in defects_of(version, 1) if defect.roles_only]


# --- leases: what etcd's roles do and do not protect ---------------------------------------------------------------


async def _beacon(house: House) -> tuple[LeaseId, bytes]:
    theirs = house.clients[f"{THEIRS}.sidecar"]
    lease = (await theirs.grant(60, deadline=DEADLINE)).lease
    key = KEYS[THEIRS].family(Family.BEACONS).start + b"leased-%d" % lease
    await theirs.commit(Txn((), (Put(key, b"boot", lease),)), deadline=DEADLINE)
    return lease, key


async def test_a_lease_with_a_beacon_cannot_be_revoked_by_another_tenant(house: House) -> None:
    lease, key = await _beacon(house)
    with pytest.raises(AccessDenied):
        await house.clients[f"{OURS}.sidecar"].revoke(lease, deadline=DEADLINE)
    assert await house.root.get(key, deadline=DEADLINE) is not None


async def test_a_lease_without_keys_can_be_revoked_and_renewed_by_anybody(house: House) -> None:
    """Residual: between grant and attach. The attach then fails with "lease not found", and a fresh one is granted."""
    theirs, ours = house.clients[f"{THEIRS}.sidecar"], house.clients[f"{OURS}.sidecar"]
    lease = (await theirs.grant(60, deadline=DEADLINE)).lease
    assert await ours.keep_alive(lease, deadline=DEADLINE) == 60
    await ours.revoke(lease, deadline=DEADLINE)


async def test_anybody_may_renew_another_tenant_s_lease(house: House) -> None:
    """Residual: it keeps a dead holder's resources, which is the harmless direction."""
    lease, _ = await _beacon(house)
    assert await house.clients[f"{OURS}.sidecar"].keep_alive(lease, deadline=DEADLINE) == 60


async def test_a_service_s_lease_id_can_be_taken_beforehand_by_another_tenant(house: House) -> None:
    """Residual: the id follows from names. Too short it is renewed too late and healed; too long, it keeps."""
    taken = service_lease_id(Tenant(THEIRS), Service("squatted"))
    granted = await house.clients[f"{OURS}.sidecar"].grant(4000, deadline=DEADLINE, lease=taken)
    assert (granted.lease, granted.ttl_seconds) == (taken, 4000)


async def test_compacting_and_the_cluster_s_own_state_are_no_tenant_s(house: House) -> None:
    """What etcd leaves open to any user: pinned here, and told in the threat model."""
    client = house.clients[f"{OURS}.reader"]
    assert await client.members(deadline=DEADLINE)
    await client.status(deadline=DEADLINE)


async def test_the_roles_are_applied_by_root_alone_and_twice_is_once(house: House) -> None:
    again = house.guarded.leasehold("root", "etcd-roles", "--tenant", OURS, "--apply")
    assert again.returncode == 0
    assert again.stdout.splitlines() == [
        f"leasehold/{OURS}/{part}: as it should be"
        for part in ("sidecar", "control-plane", "rules", "reader", "operator")
    ]
    refused = house.guarded.leasehold(f"{OURS}.operator", "etcd-roles", "--tenant", OURS, "--apply")
    assert refused.returncode == 1
    assert "etcd refused us" in refused.stderr


async def test_what_a_role_allowed_too_much_is_taken_away(house: House) -> None:
    wide = house.guarded.leasehold("root", "etcd-roles", "--tenant", "wide", "--service", "jobs", "--apply")
    narrow = house.guarded.leasehold(
        "root", "etcd-roles", "--tenant", "wide", "--service", "jobs", "--owner", "blob-store", "--apply"
    )
    assert wide.returncode == narrow.returncode == 0
    assert "leasehold/wide/sidecar/jobs: changed, 5 granted, 5 revoked" in narrow.stdout


async def test_a_missing_user_is_an_answer_and_not_a_hang(house: House) -> None:
    nobody = house.guarded.config("root")
    async with EtcdClient(type(nobody)(nobody.endpoints)) as client:
        with pytest.raises((AccessDenied, Unavailable)):
            await client.get(b"/x", deadline=DEADLINE)
