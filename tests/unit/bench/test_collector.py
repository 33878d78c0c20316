"""The collector's benchmark: percentiles, rates, verdicts, and what etcd is filled with."""

from __future__ import annotations

import pytest

from leasehold.control_plane.core.index import Index
from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol.names import LeaseId, Revision
from leasehold.protocol.records import encode
from leasehold.protocol.store import MAX_OPERATIONS, Change, Event, KeyValue
from tests.bench.collector.figures import Figure, Renewals, Sampling, percentile
from tests.bench.collector.owner import Ledger
from tests.bench.collector.population import Population

PEOPLE = Population("t", 1000, 7, "5s", 30)


def test_a_figure_is_met_at_its_bound_and_not_beyond() -> None:
    assert Figure("memory", 1000, "MB", 1000).met is True
    assert Figure("memory", 1000.1, "MB", 1000).met is False
    assert Figure("sweeps", 1499, "/s", 1500, at_most=False).met is False
    assert Figure("sweeps", 1499, "/s").met is None
    assert "NOT MET" in str(Figure("sweeps", 1499, "/s", 1500, at_most=False))


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile([1, 2, 3, 4], 0.99) == 4
    with pytest.raises(ValueError):
        percentile([], 0.5)


def test_renewals_are_told_by_when_they_were_sent_and_lost_leases_are_no_latencies() -> None:
    told = [(1.0, 0.010), (2.0, 0.020), (2.5, -1.0), (9.0, 5.0)]
    found = Renewals.of(told, lambda sent: sent < 5)
    assert found is not None
    assert (found.count, found.lost, found.worst) == (2, 1, 20.0)
    assert Renewals.of(told, lambda sent: sent > 100) is None


def test_a_rate_leaves_out_the_beginning_and_the_end() -> None:
    samples = [(0.0, 0.0), (10.0, 5.0), (11.0, 55.0), (12.0, 100.0), (90.0, 101.0)]
    assert Sampling(samples).rate(5, 95) == pytest.approx(47.5)
    assert Sampling(samples).rate(5, 1000) == 0.0


def test_the_owner_tells_a_repetition() -> None:
    ledger = Ledger()
    assert b"204" in ledger.delete(b"/v1/things/a")
    assert b"404" in ledger.delete(b"/v1/things/a")
    assert b'"deleted": 1, "repeated": 1' in ledger.count()


def test_every_resource_is_held_by_the_holder_that_is_said_to_hold_it() -> None:
    transactions = list(PEOPLE.transactions())
    assert all(len(puts) <= MAX_OPERATIONS for puts in transactions)
    index = Index(PEOPLE.keys)
    for number in range(PEOPLE.holders):
        for key, value in (
            (PEOPLE.keys.beacon(PEOPLE.holder(number)), b"b"),
            (PEOPLE.keys.roster(PEOPLE.holder(number)), encode(PEOPLE.roster(number))),
        ):
            index.apply(Event(Change.PUT, KeyValue(key, value, Revision(1), Revision(1), 1, LeaseId(0))))
    for revision, puts in enumerate(transactions, start=2):
        for put in puts:
            item = KeyValue(put.key, put.value, Revision(revision), Revision(revision), 1, LeaseId(0))
            assert index.apply(Event(Change.PUT, item))
    assert sum(count for place, count in index.counts.items() if place[3] is State.HELD) == PEOPLE.resources
    held = {holder: len(entry.resources) for holder, entry in index.holders()}
    assert held == {PEOPLE.holder(number): PEOPLE.held_by(number) for number in range(PEOPLE.holders)}
