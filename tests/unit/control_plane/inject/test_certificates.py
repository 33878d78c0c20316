"""Certificates of our own: whatever any replica serves, API servers trust, through years of rotation and mishaps."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from leasehold.control_plane.inject.certificates.authority import issue, new_authority, read_certificate
from leasehold.control_plane.inject.certificates.files import CertificateFiles
from leasehold.control_plane.inject.certificates.keeper import CertificateKeeper
from leasehold.control_plane.inject.certificates.kubernetes import KubernetesCertificates
from leasehold.control_plane.inject.certificates.material import Certificate, Plan
from leasehold.control_plane.inject.certificates.store import Places
from leasehold.control_plane.inject.server import BadPair, context_of
from leasehold.control_plane.kubernetes.api_server import Access, ApiServer
from tests.fakes.kubernetes import ADMISSION, FakeKubernetes
from tests.unit.control_plane.inject.clock import START, WallClock

PLACES = Places("leasehold-system", "leasehold-control-plane", "leasehold-webhook", "leasehold-control-plane")
NAME = "leasehold-control-plane.leasehold-system.svc"
NAMES = frozenset({NAME})
SECRET = "/api/v1/namespaces/leasehold-system/secrets/leasehold-webhook"


def is_trusted(serving: Certificate, bundle: bytes, now: datetime) -> bool:
    """By another implementation than the one that made it."""
    store = Store(x509.load_pem_x509_certificates(bundle))
    verifier = PolicyBuilder().store(store).time(now).build_server_verifier(x509.DNSName(NAME))
    try:
        verifier.verify(x509.load_pem_x509_certificate(serving.pem), [])
    except VerificationError:
        return False
    return True


class Replica:
    """One keeper, and what it serves."""

    def __init__(self, api: ApiServer, clock: WallClock, *, leads: bool) -> None:
        self.leads = leads
        self.serving: Certificate | None = None
        self.served = 0
        self.keeper = CertificateKeeper(
            KubernetesCertificates(api, PLACES), NAMES, self._serve, clock, leading=lambda: self.leads, wall=clock.wall
        )

    async def _serve(self, certificate: Certificate) -> None:
        context_of(certificate.pem, certificate.key)
        self.serving, self.served = certificate, self.served + 1


@pytest.fixture
async def kubernetes() -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes() as it:
        it.webhooks()
        yield it


@pytest.fixture
async def api(kubernetes: FakeKubernetes) -> AsyncIterator[ApiServer]:
    client = ApiServer(Access(kubernetes.url))
    yield client
    await client.close()


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


async def test_the_leader_makes_them_publishes_them_and_the_others_take_them(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    leader, other = Replica(api, clock, leads=True), Replica(api, clock, leads=False)
    await other.keeper.round()
    assert other.serving is None
    assert "another replica is to make it" in other.keeper.trouble
    await leader.keeper.round()
    await other.keeper.round()
    assert leader.serving is not None
    assert other.serving is not None
    assert other.serving.pem == leader.serving.pem
    ours, also_ours, foreign = kubernetes.bundles()
    assert ours == also_ours
    assert is_trusted(leader.serving, ours, clock.wall())
    assert foreign == b"his own", "webhooks of others are left alone"
    assert (leader.keeper.trouble, other.keeper.trouble) == ("", "")


async def test_nothing_due_is_nothing_written(kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock) -> None:
    leader = Replica(api, clock, leads=True)
    await leader.keeper.round()
    kubernetes.calls.clear()
    for _ in range(3):
        await leader.keeper.round()
    assert {call.split()[0] for call in kubernetes.calls} == {"GET"}
    assert leader.served == 1


async def test_through_three_years_whatever_any_replica_serves_is_trusted(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    """A replica that is always late, and API servers that believe what was published a round ago."""
    leader, late = Replica(api, clock, leads=True), Replica(api, clock, leads=False)
    await leader.keeper.round()
    await late.keeper.round()
    authorities, believed = set(), kubernetes.bundles()[0]
    while clock.passed < timedelta(days=3 * 365):
        before = kubernetes.bundles()[0]
        await leader.keeper.round()
        for replica in (leader, late):
            assert replica.serving is not None
            for bundle in (believed, before, kubernetes.bundles()[0]):
                assert is_trusted(replica.serving, bundle, clock.wall()), clock.wall()
        await late.keeper.round()
        believed = before
        authorities |= set(x509.load_pem_x509_certificates(kubernetes.bundles()[0]))
        quiet = believed == kubernetes.bundles()[0]
        clock.passed += timedelta(days=2, hours=1) if quiet else timedelta(minutes=20)
    assert len(authorities) >= 4, "authorities were replaced"
    assert leader.served > 30, "and what they signed"
    assert len(x509.load_pem_x509_certificates(kubernetes.bundles()[0])) <= 2, "old ones do not pile up"


async def test_a_new_authority_signs_nothing_before_its_publication_was_seen(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    leader = Replica(api, clock, leads=True)
    await leader.keeper.round()
    clock.passed += timedelta(days=250)
    kubernetes.closed[ADMISSION] = 403
    for _ in range(5):
        await leader.keeper.round()
        clock.passed += timedelta(hours=2)
    assert "403" in leader.keeper.trouble
    del kubernetes.closed[ADMISSION]
    await leader.keeper.round()
    bundle = kubernetes.bundles()[0]
    assert len(x509.load_pem_x509_certificates(bundle)) == 2
    assert leader.serving is not None
    first = x509.load_pem_x509_certificates(bundle)[0]
    assert leader.serving.issuer == first.subject.rfc4514_string(), "the old one signs, until the overlap is over"
    clock.passed += timedelta(hours=2)
    await leader.keeper.round()
    assert leader.serving.issuer != first.subject.rfc4514_string()
    assert is_trusted(leader.serving, bundle, clock.wall()), "by what was published before"


async def test_a_leader_that_may_not_publish_serves_all_the_same_and_says_so(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    kubernetes.closed[ADMISSION] = 403
    leader = Replica(api, clock, leads=True)
    await leader.keeper.round()
    assert leader.serving is not None
    assert "403" in leader.keeper.trouble


async def test_of_two_that_lead_one_wins_and_both_serve_what_it_made(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    one, two = Replica(api, clock, leads=True), Replica(api, clock, leads=True)
    stored = await KubernetesCertificates(api, PLACES).read()
    await one.keeper.round()
    made, trouble = await two.keeper._advance(stored)  # it had read before the other wrote
    assert made.material is None
    assert "409" in trouble
    await two.keeper.round()
    assert one.serving is not None
    assert two.serving is not None
    assert one.serving.pem == two.serving.pem


async def test_a_secret_that_was_made_empty_is_filled_and_keeps_its_labels(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    kubernetes.put(SECRET, {"metadata": {"name": "leasehold-webhook", "labels": labels}, "type": "Opaque"})
    leader = Replica(api, clock, leads=True)
    await leader.keeper.round()
    assert leader.serving is not None
    assert kubernetes.objects[SECRET]["metadata"]["labels"] == labels
    assert set(kubernetes.objects[SECRET]["data"]) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}


async def test_a_lost_secret_is_made_again_and_what_others_still_serve_stays_trusted(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    leader, late = Replica(api, clock, leads=True), Replica(api, clock, leads=False)
    await leader.keeper.round()
    await late.keeper.round()
    del kubernetes.objects[SECRET]
    await leader.keeper.round()
    for replica in (leader, late):
        assert replica.serving is not None
        assert is_trusted(replica.serving, kubernetes.bundles()[0], clock.wall())
    assert leader.served == 2


@pytest.mark.parametrize("junk", ["not base64!", base64.b64encode(b"no certificate").decode()])
async def test_what_somebody_else_wrote_there_is_replaced(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock, junk: str
) -> None:
    kubernetes.put(SECRET, {"metadata": {"name": "leasehold-webhook"}, "data": {"ca.crt": junk, "tls.crt": junk}})
    leader = Replica(api, clock, leads=True)
    await leader.keeper.round()
    assert leader.serving is not None
    assert is_trusted(leader.serving, kubernetes.bundles()[0], clock.wall())


async def test_an_api_server_that_is_away_changes_nothing(
    kubernetes: FakeKubernetes, api: ApiServer, clock: WallClock
) -> None:
    leader = Replica(api, clock, leads=True)
    await leader.keeper.round()
    kubernetes.closed["/"] = 503
    await leader.keeper.round()
    assert (leader.served, "503" in leader.keeper.trouble) == (1, True)


# --- files --------------------------------------------------------------------------------------------------------


async def test_files_are_taken_again_when_they_change_and_a_half_written_pair_is_not(
    tmp_path: Path, clock: WallClock
) -> None:
    served: list[Certificate] = []

    async def serve(certificate: Certificate) -> None:
        context_of(certificate.pem, certificate.key)
        served.append(certificate)

    files = CertificateFiles(tmp_path, serve, clock)
    await files.round()
    assert "tls.crt" in files.trouble
    authority = new_authority(START, Plan().authority)
    one, two = (issue(authority, NAMES, START, timedelta(days=days)) for days in (1, 2))
    (tmp_path / "tls.crt").write_bytes(one.pem)
    (tmp_path / "tls.key").write_bytes(one.key)
    for _ in range(2):
        await files.round()
    assert (len(served), files.trouble) == (1, "")
    (tmp_path / "tls.crt").write_bytes(two.pem)
    await files.round()
    assert len(served) == 1
    assert "expected a certificate and its key" in files.trouble
    (tmp_path / "tls.key").write_bytes(two.key)
    await files.round()
    assert [one.pem for one in served] == [one.pem, two.pem]
    assert files.not_after == two.not_after


def test_a_pair_that_does_not_fit_together_is_refused() -> None:
    authority = new_authority(datetime.now(UTC), Plan().authority)
    with pytest.raises(BadPair):
        context_of(authority.pem, new_authority(datetime.now(UTC), Plan().authority).key)
    with pytest.raises(BadPair):
        context_of(b"", b"")


def test_what_is_read_back_is_what_was_made() -> None:
    made = issue(new_authority(START, Plan().authority), NAMES, START, Plan().serving)
    assert read_certificate(made.pem, made.key) == made
