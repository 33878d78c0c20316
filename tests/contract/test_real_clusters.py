"""What only a real etcd can show: members that die or freeze, TLS, authentication, the space quota."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import pytest
import trustme
from grpclib.client import Channel

from leasehold.protocol.errors import AccessDenied, NoSpace, StoreError, Unavailable, Uncertain
from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig, TlsConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.etcd.rpc_grpc import AuthStub
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.store import KeyRange, MemberStatus, Put, Txn, absent
from tests.etcd_process import enable_authentication, freeze, running_etcd

DEADLINE = 5.0

pytestmark = pytest.mark.etcd


@pytest.fixture(autouse=True)
def _needs_etcd() -> None:
    try:
        find_etcd()
    except EtcdNotFound as error:
        pytest.skip(str(error))


def writes(key: bytes, value: bytes = b"v") -> Txn:
    return Txn((), [Put(key, value)])


# --- members that die or freeze ------------------------------------------------------------------------------------


async def written_in_spite_of_trouble(etcd: EtcdClient, key: bytes, *, within: float) -> None:
    """Write ``key`` exactly once, as the product does: what is uncertain is guarded, not blindly repeated."""
    until = monotonic() + within
    while True:
        try:
            await etcd.commit(Txn([absent(key)], [Put(key, b"v")]), deadline=1.0)
            return
        except (Unavailable, Uncertain):
            assert monotonic() < until, f"no write got through for {within} s"
            await asyncio.sleep(0.05)


async def renewed_in_spite_of_trouble(etcd: EtcdClient, lease: LeaseId, *, within: float) -> int:
    async with asyncio.timeout(within):
        while True:
            try:
                return await etcd.keep_alive(lease, deadline=1.0)
            except (Unavailable, Uncertain):
                await asyncio.sleep(0.05)


def client_of(members: list[EtcdProcess]) -> EtcdConfig:
    return EtcdConfig(endpoints=[member.endpoint for member in members])


async def leader_of(etcd: EtcdClient, members: list[EtcdProcess]) -> EtcdProcess:
    statuses = [status for status in await etcd.status() if isinstance(status, MemberStatus)]
    [endpoint] = [status.endpoint for status in statuses if status.member_id == status.leader_id]
    return next(member for member in members if member.endpoint == endpoint)


async def test_a_cluster_goes_on_when_its_leader_is_killed(tmp_path: Path) -> None:
    async with running_etcd(tmp_path, members=3) as members, EtcdClient(client_of(members)) as etcd:
        assert {member.name for member in await etcd.members()} == {"m0", "m1", "m2"}
        lease = (await etcd.grant(60, deadline=DEADLINE)).lease
        start = (await etcd.commit(writes(b"/x/start"), deadline=DEADLINE)).revision
        async with aclosing(etcd.watch(KeyRange.under(b"/x/"), start=start, progress_every=0.5)) as batches:
            for number in range(10):
                await written_in_spite_of_trouble(etcd, b"/x/before%d" % number, within=5)
            await (await leader_of(etcd, members)).kill()
            for number in range(10):
                await written_in_spite_of_trouble(etcd, b"/x/after%d" % number, within=20)
            assert await renewed_in_spite_of_trouble(etcd, lease, within=20) == 60
            seen: list[bytes] = []
            async with asyncio.timeout(20):
                while len(seen) < 21:
                    seen += [event.item.key for event in (await anext(batches)).events]
        assert len(seen) == len(set(seen)) == 21


async def test_a_cluster_goes_on_when_the_member_we_talk_to_freezes(tmp_path: Path) -> None:
    async with running_etcd(tmp_path, members=3) as members, EtcdClient(client_of(members)) as etcd:
        lease = (await etcd.grant(60, deadline=DEADLINE)).lease
        assert await etcd.keep_alive(lease, deadline=DEADLINE) == 60
        start = (await etcd.commit(writes(b"/x/start"), deadline=DEADLINE)).revision
        async with aclosing(etcd.watch(KeyRange.under(b"/x/"), start=start, progress_every=0.5)) as batches:
            await anext(batches)
            await freeze(members[0])  # the first endpoint is the one in use
            await written_in_spite_of_trouble(etcd, b"/x/after", within=20)
            assert await renewed_in_spite_of_trouble(etcd, lease, within=20) == 60
            seen: list[bytes] = []
            async with asyncio.timeout(20):
                while not seen:
                    seen += [event.item.key for event in (await anext(batches)).events]
            assert seen == [b"/x/after"]


async def test_a_killed_server_is_unavailable_or_uncertain_and_comes_back(tmp_path: Path) -> None:
    async with running_etcd(tmp_path) as [server], EtcdClient(EtcdConfig(endpoints=[server.endpoint])) as etcd:
        await etcd.commit(writes(b"/x/a"), deadline=DEADLINE)
        under_way = [asyncio.create_task(etcd.commit(writes(b"/x/%d" % n), deadline=DEADLINE)) for n in range(20)]
        await asyncio.sleep(0)
        await server.kill()
        outcomes = await asyncio.gather(*under_way, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(failure, (Unavailable, Uncertain)) for failure in failures)
        with pytest.raises(Unavailable):
            await etcd.commit(writes(b"/x/b"), deadline=DEADLINE)
        await server.start()
        await server.wait_until_serving(deadline=10)
        found = await etcd.read(KeyRange.under(b"/x/"), deadline=DEADLINE)
        assert b"/x/a" in {item.key for item in found.items}


async def test_a_frozen_server_costs_no_more_than_the_deadline(tmp_path: Path) -> None:
    async with running_etcd(tmp_path) as [server], EtcdClient(EtcdConfig(endpoints=[server.endpoint])) as etcd:
        await etcd.commit(writes(b"/x/a"), deadline=DEADLINE)
        await freeze(server)
        began = monotonic()
        with pytest.raises(Uncertain):
            await etcd.commit(writes(b"/x/b"), deadline=0.3)
        with pytest.raises(Unavailable):
            await etcd.get(b"/x/b", deadline=0.3)
        assert monotonic() - began < 1.5
        server.signal(signal.SIGCONT)
        assert await etcd.get(b"/x/a", deadline=DEADLINE) is not None


async def test_a_member_without_a_leader_refuses_instead_of_waiting(tmp_path: Path) -> None:
    async with running_etcd(tmp_path, members=3) as members, EtcdClient(EtcdConfig([members[0].endpoint])) as etcd:
        await etcd.commit(writes(b"/x/a"), deadline=DEADLINE)
        await asyncio.gather(*(member.kill() for member in members[1:]))
        async with asyncio.timeout(10):
            while (await etcd.status())[0].leader_id:  # until its election timeout
                await asyncio.sleep(0.1)
        began = monotonic()
        with pytest.raises(Unavailable, match="no leader"):
            await etcd.commit(writes(b"/x/b"), deadline=DEADLINE)
        with pytest.raises(Unavailable, match="no leader"):
            await etcd.get(b"/x/a", deadline=DEADLINE)
        assert monotonic() - began < 1


# --- TLS -----------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority with a server and a client, as files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = self._write(folder / "ca.pem", authority.cert_pem)
        self.server = self._pair(folder, "server", authority.issue_cert("127.0.0.1", "etcd.example"))
        self.client = self._pair(folder, "client", authority.issue_cert("leasehold.example"))

    def _pair(self, folder: Path, name: str, issued: trustme.LeafCert) -> tuple[str, str]:
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        (folder / f"{name}.pem").write_bytes(chain)
        return str(folder / f"{name}.pem"), self._write(folder / f"{name}.key", issued.private_key_pem)

    def _write(self, path: Path, blob: trustme.Blob) -> str:
        blob.write_to_path(path)
        return str(path)


async def test_tls_needs_the_right_authority_and_the_right_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.server
    tls = TlsConfig(ca=authority.ca)
    async with running_etcd(tmp_path, server_tls=TlsConfig(cert=cert, key=key), client_tls=tls) as [server]:

        async def outcome(tls: TlsConfig | None) -> object:
            async with EtcdClient(EtcdConfig(endpoints=[server.endpoint], tls=tls)) as etcd:
                try:
                    return (await etcd.commit(writes(b"/x/a"), deadline=DEADLINE)).succeeded
                except StoreError as error:
                    return type(error)

        assert await outcome(tls) is True
        assert await outcome(TlsConfig(ca=authority.ca, server_name="etcd.example")) is True
        assert await outcome(TlsConfig(ca=authority.ca, server_name="other.example")) is Unavailable
        assert await outcome(None) is Unavailable
        assert await outcome(TlsConfig(ca=str(tmp_path / "none.pem"))) is Unavailable


async def test_mutual_tls_needs_our_certificate_and_carries_everything(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.server
    mine = TlsConfig(ca=authority.ca, cert=authority.client[0], key=authority.client[1])
    theirs = TlsConfig(ca=authority.ca, cert=cert, key=key)
    async with running_etcd(tmp_path, server_tls=theirs, client_tls=mine) as [server]:
        async with EtcdClient(EtcdConfig(endpoints=[server.endpoint], tls=mine)) as etcd:
            start = (await etcd.commit(writes(b"/x/a", b"v" * 1_000_000), deadline=DEADLINE)).revision
            lease = (await etcd.grant(30, deadline=DEADLINE)).lease
            assert await etcd.keep_alive(lease, deadline=DEADLINE) == 30
            async with aclosing(etcd.watch(KeyRange.under(b"/x/"), start=start)) as batches:
                assert len((await anext(batches)).events[0].item.value) == 1_000_000
        anonymous = TlsConfig(ca=authority.ca)
        async with EtcdClient(EtcdConfig(endpoints=[server.endpoint], tls=anonymous)) as etcd:
            with pytest.raises((Unavailable, Uncertain)):
                await etcd.commit(writes(b"/x/b"), deadline=DEADLINE)


# --- authentication ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def guarded_etcd(folder: Path) -> AsyncIterator[tuple[EtcdProcess, EtcdConfig]]:
    """A server with authentication, and the configuration of a user who may do as he likes below ``/mine/``."""
    password_file = folder / "password"
    password_file.write_text("secret\n")
    # The tokens are etcd's default, "simple": kept in memory, so that a restart forgets them.
    async with running_etcd(folder) as [server]:
        address = urlsplit(server.endpoint)
        async with Channel(address.hostname, address.port) as channel:
            await enable_authentication(AuthStub(channel), user="me", password="secret", prefix=b"/mine/")
        yield server, EtcdConfig(endpoints=[server.endpoint], username="me", password_file=str(password_file))


async def test_rights_end_where_they_end(tmp_path: Path) -> None:
    async with guarded_etcd(tmp_path) as (_, config), EtcdClient(config) as etcd:
        start = (await etcd.commit(writes(b"/mine/a"), deadline=DEADLINE)).revision
        assert await etcd.get(b"/mine/a", deadline=DEADLINE) is not None
        with pytest.raises(AccessDenied):
            await etcd.commit(writes(b"/yours/a"), deadline=DEADLINE)
        with pytest.raises(AccessDenied):
            await etcd.read(KeyRange.under(b"/yours/"), deadline=DEADLINE)
        async with aclosing(etcd.watch(KeyRange.under(b"/mine/"), start=start)) as batches:
            assert (await anext(batches)).events[0].item.key == b"/mine/a"
        with pytest.raises(AccessDenied):
            async with asyncio.timeout(DEADLINE):
                await anext(etcd.watch(KeyRange.under(b"/yours/"), start=start))


async def test_a_wrong_password_no_password_and_no_user_are_denied(tmp_path: Path) -> None:
    async with guarded_etcd(tmp_path) as (server, _):
        (tmp_path / "wrong").write_text("guess")
        denied = [
            EtcdConfig(endpoints=[server.endpoint], username="me", password_file=str(tmp_path / "wrong")),
            EtcdConfig(endpoints=[server.endpoint], username="me", password_file=str(tmp_path / "missing")),
            EtcdConfig(endpoints=[server.endpoint], username="you", password_file=str(tmp_path / "password")),
            EtcdConfig(endpoints=[server.endpoint]),
        ]
        for config in denied:
            async with EtcdClient(config) as etcd:
                with pytest.raises(AccessDenied):
                    await etcd.get(b"/mine/a", deadline=DEADLINE)


async def test_a_forgotten_token_is_renewed_without_anybody_noticing(tmp_path: Path) -> None:
    async with guarded_etcd(tmp_path) as (server, config), EtcdClient(config) as etcd:
        start = (await etcd.commit(writes(b"/mine/a"), deadline=DEADLINE)).revision
        lease = (await etcd.grant(60, deadline=DEADLINE)).lease
        batches = etcd.watch(KeyRange.under(b"/mine/"), start=start, progress_every=0.5)
        async with aclosing(batches):
            await anext(batches)
            await server.stop()
            await server.start()
            await server.wait_until_serving(deadline=10)
            done = await asyncio.gather(
                *(etcd.commit(writes(b"/mine/%d" % number), deadline=DEADLINE) for number in range(5))
            )
            assert all(result.succeeded for result in done)
            assert await etcd.keep_alive(lease, deadline=DEADLINE) == 60
            seen: set[bytes] = set()
            async with asyncio.timeout(15):
                while len(seen) < 5:
                    seen |= {event.item.key for event in (await anext(batches)).events}
            assert seen == {b"/mine/%d" % number for number in range(5)}


async def test_a_user_is_no_hindrance_where_authentication_is_off(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    async with running_etcd(tmp_path) as [server]:
        config = EtcdConfig(endpoints=[server.endpoint], username="me", password_file=str(tmp_path / "password"))
        async with EtcdClient(config) as etcd:
            assert (await etcd.commit(writes(b"/x/a"), deadline=DEADLINE)).succeeded


# --- space ---------------------------------------------------------------------------------------------------------


async def fill(etcd: EtcdClient) -> None:
    for number in range(200):  # etcd looks at its size ten times a second only
        await etcd.commit(writes(b"/x/%d" % number, b"v" * 700_000), deadline=DEADLINE)


async def test_a_full_store_refuses_writes_and_grants_and_still_answers(tmp_path: Path) -> None:
    extra = [f"--quota-backend-bytes={4 * 2**20}"]
    async with running_etcd(tmp_path, extra=extra) as [server], EtcdClient(EtcdConfig([server.endpoint])) as etcd:
        lease = (await etcd.grant(60, deadline=DEADLINE)).lease
        with pytest.raises(NoSpace):
            await fill(etcd)
        with pytest.raises(NoSpace):
            await etcd.grant(60, deadline=DEADLINE)
        assert await etcd.get(b"/x/0", deadline=DEADLINE) is not None
        assert await etcd.keep_alive(lease, deadline=DEADLINE) == 60
        [status] = await etcd.status()
        assert isinstance(status, MemberStatus)
        assert list(status.alarms) == ["NOSPACE"]
        assert status.revision > Revision(0)
