"""What fits into a cycle's transaction is known before it is tried."""

from __future__ import annotations

import pytest

from leasehold.protocol import cycles
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import ClassName, Holder, Resource, Revision, Tenant
from leasehold.protocol.records import EpochRecord, SweepRecord, SweepState, TombstoneRecord
from leasehold.protocol.store import MAX_OPERATIONS
from leasehold.protocol.transactions import Authority, EpochFound, HoldFound, Unheld

KEYS = Keyspace(Tenant("t"))
BY = Authority(0, Revision(1), Revision(1))


def member(n: int, holders: int, sources: int, *, shared: bool) -> Unheld:
    holds = [
        HoldFound(Holder(f"h{k if shared else f'{n}-{k}'}"), Revision(1), False, Revision(1)) for k in range(holders)
    ]
    gone = [Resource("o", "gone", f"g{k}") for k in range(sources)]  # type: ignore[arg-type]
    return Unheld(Resource("o", f"t{n % 2}", f"r{n}"), Revision(1), Revision(9), holds, gone)  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("sources", [0, 2])
@pytest.mark.parametrize("holders", [1, 2, 3])
@pytest.mark.parametrize("count", range(2, 22))
def test_a_cycle_fits_exactly_if_its_transactions_do(count: int, holders: int, sources: int, shared: bool) -> None:
    members = [member(n, holders, sources, shared=shared) for n in range(count)]
    names = [one.resource for one in members]
    epochs = {
        one: EpochFound(ClassName(f"{n % 2 + 1}s"), 1, KEYS.epoch(ClassName(f"{n % 2 + 1}s"), 1), Revision(5),
                        Revision(5), EpochRecord(1, 1, True))
        for n, one in enumerate(names)
    }  # fmt: skip
    sweeps = dict.fromkeys(names, SweepRecord(SweepState.PREPARED, "i", 1, 1, 1, "1s/1"))
    tombstones = dict.fromkeys(names, TombstoneRecord("i", "a cycle", 1))
    try:
        prepare = cycles.prepare_cycle(KEYS, BY, members, Revision(4), epochs, sweeps)
    except ValueError:
        assert not cycles.fits(members, 2)
        return
    assert cycles.fits(members, 2)
    assert len(prepare.compares) <= MAX_OPERATIONS
    condemn = cycles.condemn_cycle(KEYS, BY, members, tombstones)
    assert len(condemn.compares) <= len(prepare.compares)
    assert len(condemn.success) == len(prepare.success) == count
