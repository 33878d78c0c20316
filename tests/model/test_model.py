"""The protocol searched to the end, world by world: no law breaks, and each guard is needed.

The guards are read off the product's own transactions. A new one that breaks nothing when it is left out fails here,
until a world shows what it is for or ``spare`` says why it is kept. ``python -m tests.model`` prints all of it.
"""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

from leasehold.protocol import cycles, transactions, transactions_brake, transactions_intents
from tests.model.proof import Searched, backed, guards, judged, searched
from tests.model.spare import SPARE
from tests.model.worlds import WORLDS
from tests.model.worlds.one import Namesake
from tests.model.worlds.references import Cycle
from tests.model.worlds.sidecars import Namesakes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("model")]

ELSEWHERE = {
    "found_tenant": "before there is anything to be collected",
    "note_window": "told to whoever looks later", "note_canary": "told to people", "note_shadow": "told to people",
    "clear_canary": "of names that nobody else can have", "strike_canary": "of names that nobody else can have",
    "accept_cluster": "only while the brake is on, which it leaves on",
    "hasten": "puts a wish, leased; what it permits is compared by *prepare*",
    "give_up": "deletes nothing at an owner, and only what refers to nothing can be given up",
}  # fmt: skip
"""Transactions that no world runs, and why."""


@pytest.fixture(scope="module")
def worlds() -> list[Searched]:
    return list(searched())


def test_no_law_breaks_in_any_state_of_any_world(worlds: list[Searched]) -> None:
    for one in worlds:
        print(f"{one.name}: {one.states} states, {one.depth} deep, {one.seconds:.1f} s")
        assert not one.found.broken, f"{one.title}: {'; '.join(one.found.broken)}"
        assert one.states > 90, f"{one.title}: the search went nowhere"


def test_from_every_state_a_way_leads_to_the_end(worlds: list[Searched]) -> None:
    assert {one.name: one.stuck for one in worlds} == dict.fromkeys(WORLDS, 0)


def test_each_guard_is_needed_or_is_said_to_be_spare(worlds: list[Searched]) -> None:
    needed = {guard: judged(worlds, (guard,)).counterexample for guard in guards(worlds)}
    idle = {guard for guard, found in needed.items() if not found.steps}
    assert idle == set(SPARE), "what breaks nothing, and what was said to be spare"
    assert len(needed) - len(idle) > 90


def test_what_is_spare_because_of_another_guard_is_needed_without_that(worlds: list[Searched]) -> None:
    for guard, spare in SPARE.items():
        if spare.backed_by:
            assert backed(worlds, guard, spare.backed_by), f"nothing breaks without {guard} and {spare.backed_by}"


def test_every_transaction_of_the_protocol_is_in_a_world(worlds: list[Searched]) -> None:
    run = {guard.split(":")[0].removesuffix(" otherwise").replace(" ", "_") for guard in guards(worlds)}
    unguarded = {"arm", "trip", "condemn_cycle", "prepare_cycle"}
    otherwise_called = {"claim_shard", "claim_shards", "yield_shard", "yield_shards"}
    modules = (transactions, transactions_brake, transactions_intents, cycles)
    assert _transactions(*modules) - run - unguarded - otherwise_called == set(ELSEWHERE)


def test_an_owner_that_ignores_the_precondition_loses_a_namesake() -> None:
    class Ignoring(Namesake):
        ignores_precondition = True

    assert "S2" in _broken(Ignoring)[-1]


@pytest.mark.parametrize(("weakness", "law"), [("own_holders", "S1"), ("aborts_alone", "S1"), ("one_by_one", "S1")])
def test_a_cycle_needs_what_is_no_compare(weakness: str, law: str) -> None:
    class Weak(Cycle):
        def __init__(self) -> None:
            super().__init__({"acquires": 1, "attaches": 1})
            setattr(self, weakness, True)

    assert law in _broken(Weak)[-1]


def test_a_registration_that_takes_itself_for_the_newest_takes_a_newer_record_over() -> None:
    class Overwriting(Namesakes):
        overwrites = True

    assert "S2" in _broken(Overwriting)[-1]


def _broken(world: type) -> tuple[str, ...]:
    WORLDS["weak"] = world
    try:
        return next(iter(searched(["weak"]))).found.broken
    finally:
        del WORLDS["weak"]


def _transactions(*modules: ModuleType) -> set[str]:
    return {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(function).return_annotation == "Txn"
    }
