"""The protocol as a state machine: no law breaks in the fake etcd nor in the real one, and both answer alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from tests.machines.machine import Moments, machine
from tests.machines.mutations import MUTATIONS
from tests.machines.oracle import BrokenLaw
from tests.machines.stores import InProcess, OneStore, both_stores, real_store, straight

STEPS = 40
LONGER = int(os.environ.get("LEASEHOLD_MACHINE_TIMES", "1"))
"""How many times as many examples: set it for a long run."""


DESTRUCTIVE = ("condemn", "open epoch", "close epoch", "prepare", "send", "delete", "finish")


def play(kind: type[Moments], examples: int, *, phases: Sequence[Phase] = (Phase.generate, Phase.shrink)) -> None:
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples * LONGER, stateful_step_count=STEPS, deadline=None, derandomize=LONGER == 1,
            suppress_health_check=list(HealthCheck), print_blob=True, database=None,
            phases=phases,
            report_multiple_bugs=False,
        ),
    )  # fmt: skip
    print(dict(kind.took_effect.most_common()))


def _needs_etcd() -> None:
    try:
        find_etcd()
    except EtcdNotFound as error:
        pytest.skip(str(error))


def test_no_law_breaks_in_the_fake_etcd() -> None:
    kind = machine(InProcess(), straight)
    play(kind, 40)
    assert [name for name in DESTRUCTIVE if not kind.took_effect[name]] == [], "the machine went nowhere"


@pytest.mark.etcd
def test_no_law_breaks_in_a_real_etcd(tmp_path: Path) -> None:
    _needs_etcd()
    with asyncio.Runner() as runner, _opened(runner, real_store(tmp_path)) as store:
        play(machine(store, runner.run), 10)


@pytest.mark.etcd
def test_the_fake_etcd_and_the_real_one_answer_alike_whatever_happens(tmp_path: Path) -> None:
    _needs_etcd()
    with asyncio.Runner() as runner, _opened(runner, both_stores(tmp_path)) as store:
        play(machine(store, runner.run), 10)


@contextmanager
def _opened(runner: asyncio.Runner, stores: AbstractAsyncContextManager[OneStore]) -> Iterator[OneStore]:
    store = runner.run(stores.__aenter__())
    try:
        yield store
    finally:
        runner.run(stores.__aexit__(None, None, None))


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_guard_that_is_missing_is_noticed(name: str) -> None:
    with pytest.raises(BrokenLaw):
        play(machine(InProcess(), straight, MUTATIONS[name], base=Moments), 150, phases=[Phase.generate])
