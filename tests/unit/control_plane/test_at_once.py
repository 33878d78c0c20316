"""What is prepared for an owner that has room is sent by the same transaction; everything else goes two steps."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from leasehold.control_plane.core.lifecycle import State
from leasehold.protocol import transactions
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import ClassName, Holder, Revision, Tenant
from leasehold.protocol.records import EpochRecord, SweepRecord, SweepState, decode
from leasehold.protocol.store import Put, Txn
from leasehold.protocol.transactions import Authority, EpochFound, HoldFound, Unheld
from tests.unit.control_plane.stage import GRACE, Stage, abandoned, rule_set
from tests.unit.control_plane.test_hard_cases import Meddling
from tests.unit.control_plane.world import blob, eventually, rules, state


def sweeps_in(stage: Stage, txn: Txn) -> list[SweepRecord]:
    """What a transaction writes about sweeps, in its members, too."""
    found: list[SweepRecord] = []
    for operation in txn.success:
        if isinstance(operation, Put) and operation.key in stage.keys.family(Family.SWEEPS):
            found.append(decode(SweepRecord, operation.value))
        elif isinstance(operation, Txn):
            found += sweeps_in(stage, operation)
    return found


async def test_what_is_prepared_for_an_owner_with_room_is_sent_by_the_same_transaction(stage: Stage) -> None:
    written: list[SweepRecord] = []
    client = Meddling(stage, lambda txn, before: written.extend(sweeps_in(stage, txn) if before else ()))
    client = await stage.stack.enter_async_context(client)
    plane = await stage.leading(rule_set(stage), client=client)
    await abandoned(stage, "x")
    await stage.clock.advance_until("it is gone", lambda: state(plane, "x") is None, within=10 * GRACE)
    assert [(one.state, one.attempt) for one in written] == [(SweepState.SENT, 1)]
    assert written[0].holders, "with the evidence, before bytes leave"
    assert [verb for verb, *_ in stage.owner.ledger].count("DELETE") == 1


async def test_what_an_owner_has_no_room_for_is_prepared_and_waits_for_its_turn(stage: Stage) -> None:
    one_at_a_time = rules(stage.owner, grace="8s", limits="limits: {concurrency: 1}")
    plane = await stage.leading(one_at_a_time)
    stage.owner.hang = True
    await abandoned(stage, "x", "y")

    def states() -> Sequence[str]:
        return sorted(str(state(plane, name)) for name in ("x", "y"))

    both = sorted(map(str, (State.PREPARED, State.SENT)))
    await stage.clock.advance_until("one is sent, and one is not", lambda: states() == both, within=10 * GRACE)
    await eventually("it is called", stage.owner.deletes)
    assert len(stage.owner.deletes()) == 1


async def test_a_place_is_given_back_when_nothing_could_be_written(stage: Stage) -> None:
    plane = await stage.leading(rules(stage.owner, grace="8s", limits="limits: {concurrency: 1}"))
    left: list[object] = []
    plane.at_once.on_left = lambda *what: left.append(what)
    for over in (True, False):
        with plane.at_once.place(blob("x")) as place:
            assert place is not None
            assert plane.at_once.is_sending(blob("x"))
            with plane.at_once.place(blob("y")) as another:
                assert another is None, "there is one place"
            place.over = over
        assert not plane.at_once.is_sending(blob("x"))
    assert left == [(blob("x"), None)], "whose outcome is unknown is left to the sweeper"


async def test_what_was_sent_at_once_and_not_answered_is_the_sweepers_from_then_on(stage: Stage) -> None:
    stage.owner.lie = 504
    plane = await stage.leading(rule_set(stage))
    await abandoned(stage, "x")
    await stage.clock.advance_until("it was tried", lambda: bool(stage.owner.deletes()), within=10 * GRACE)
    await eventually("nobody is at it", lambda: not plane.at_once.is_sending(blob("x")))
    stage.owner.lie = None
    await stage.clock.advance_until("it is gone", lambda: state(plane, "x") is None, within=60)
    assert not stage.owner.things


def test_only_a_first_attempt_against_all_who_held_it_is_prepared_and_sent_in_one() -> None:
    holder, tombstone = Holder("svc@a~1"), Revision(5)
    facts = Unheld(blob("x"), Revision(2), Revision(9), (HoldFound(holder, Revision(3), False, Revision(4)),))
    epoch = EpochFound(ClassName("8s"), 1, b"/e", Revision(6), Revision(7), EpochRecord(8, 1, True))
    sweep = SweepRecord(SweepState.SENT, "i", 1, 9, tombstone, "8s/1", (holder,), attempt=1)
    cycle = (tuple(blob("x")), tuple(blob("y")))

    def build(sweep: SweepRecord) -> Txn:
        by = Authority(0, Revision(1), Revision(1))
        return transactions.prepare_and_send(Keyspace(Tenant("t")), by, facts, tombstone, epoch, sweep)

    assert build(sweep).success
    for wrong in ({"attempt": 2}, {"attempt": 0}, {"holders": ()}, {"cycle": cycle}):
        with pytest.raises(ValueError, match="expected a first attempt"):
            build(msgspec.structs.replace(sweep, **wrong))
