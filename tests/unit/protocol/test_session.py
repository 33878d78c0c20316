"""A lease session believes no longer than it may, and forgets nothing."""

from __future__ import annotations

from leasehold.protocol.names import Instant, LeaseId, Revision
from leasehold.protocol.session import Attach, Grant, KeepAlive, Phase, Session, WakeAt

LEASE = LeaseId(7)


def at(seconds: float) -> Instant:
    return Instant(seconds)


def attached(ttl: int = 15) -> Session:
    session = Session(ttl)
    assert session.start() == [Grant(ttl, LeaseId(0))]
    assert session.on_granted(at(100), LEASE, ttl) == [Attach(LEASE)]
    assert session.on_attached(at(100.1), Revision(5)) == [WakeAt(at(105.1))]
    return session


def test_a_granted_lease_is_not_believed_before_its_beacon_is_attached() -> None:
    session = Session(15)
    session.start()
    session.on_granted(at(100), LEASE, 15)
    assert not session.believed(at(100))
    assert session.seconds_of_belief(at(100)) == 0


def test_belief_counts_from_the_send_of_a_renewal_not_from_its_answer() -> None:
    session = attached()
    session.on_wake()
    session.on_kept(at(105), 15)  # the answer came much later
    assert session.believed(at(119.9))
    assert not session.believed(at(120))


def test_an_answer_to_an_earlier_renewal_does_not_shorten_belief() -> None:
    session = attached()
    session.on_kept(at(110), 15)
    session.on_kept(at(105), 15)
    assert session.valid_until == 125


def test_etcds_minimum_ttl_is_what_counts() -> None:
    session = Session(1)
    session.start()
    session.on_granted(at(0), LEASE, 2)
    session.on_attached(at(0), Revision(1))
    assert session.believed(at(1.9))


def test_a_lost_lease_ends_belief_at_once_and_is_granted_anew() -> None:
    session = attached()
    assert session.on_lease_lost() == [Grant(15, LeaseId(0))]
    assert not session.believed(at(100.2))
    assert session.on_granted(at(101), LeaseId(8), 15) == [Attach(LeaseId(8))]


def test_a_vanished_beacon_is_attached_again_under_a_proven_lease() -> None:
    session = attached()
    assert session.on_beacon_gone(Revision(9)) == [KeepAlive(LEASE)]
    assert not session.believed(at(100.2))
    assert session.on_kept(at(100.2), 15) == [Attach(LEASE)]


def test_old_news_of_a_vanished_beacon_is_ignored() -> None:
    session = attached()
    assert session.on_beacon_gone(Revision(4)) == []
    assert session.on_beacon_gone(Revision(5)) == []
    assert session.believed(at(101))


def test_a_failed_renewal_is_retried_before_belief_ends() -> None:
    session = attached()
    now = 105.1
    tries = 0
    while now < session.valid_until:
        session.on_wake()
        [wake] = session.on_failed(at(now))
        assert isinstance(wake, WakeAt)
        now = wake.instant
        tries += 1
    assert tries >= 4


def test_a_failed_grant_is_tried_again() -> None:
    session = Session(15)
    session.start()
    [wake] = session.on_failed(at(0))
    assert isinstance(wake, WakeAt)
    assert session.on_wake() == [Grant(15, LeaseId(0))]


def test_a_resumed_lease_is_renewed_before_it_is_attached_to() -> None:
    session = Session(15, resumed=LEASE)
    assert session.start() == [KeepAlive(LEASE)]
    assert session.phase is Phase.ATTACHING
    assert session.on_kept(at(3), 15) == [Attach(LEASE)]


def test_a_resumed_lease_that_is_gone_is_replaced() -> None:
    session = Session(15, resumed=LEASE)
    session.start()
    assert session.on_lease_lost() == [Grant(15, LeaseId(0))]


def test_a_shared_lease_is_always_granted_under_its_own_id() -> None:
    session = Session(60, shared_lease=LEASE)
    assert session.start() == [Grant(60, LEASE)]
    session.on_granted(at(0), LEASE, 60)
    session.on_attached(at(0), Revision(1))
    assert session.on_lease_lost() == [Grant(60, LEASE)]


def test_belief_comes_back_with_a_late_renewal_that_etcd_still_answered() -> None:
    session = attached()
    assert not session.believed(at(200))
    session.on_kept(at(200), 15)
    assert session.believed(at(201))
