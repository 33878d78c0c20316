"""The protocol as a state machine: no law breaks in the fake etcd nor in the real one, and both answer alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from leasehold.protocol.etcd.binary import EtcdNotFound, find_etcd
from tests.machines.machine import Machine, machine
from tests.machines.stores import both_stores, fake_store, real_store

LONGER = int(os.environ.get("LEASEHOLD_MACHINE_TIMES", "1"))
"""How many times as many examples: set it for a long run."""


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as it:
        yield it


def play(kind: type[Machine], examples: int, steps: int = 40) -> None:
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples * LONGER, stateful_step_count=steps, deadline=None, derandomize=LONGER == 1,
            suppress_health_check=list(HealthCheck), print_blob=True, database=None,
            phases=[Phase.generate, Phase.shrink],
        ),
    )  # fmt: skip
    print(dict(kind.took_effect.most_common()))


def _needs_etcd() -> None:
    try:
        find_etcd()
    except EtcdNotFound as error:
        pytest.skip(str(error))


def test_no_law_breaks_in_the_fake_etcd(runner: asyncio.Runner) -> None:
    stores = fake_store()
    store = runner.run(stores.__aenter__())
    try:
        play(machine(store, runner), 60)
    finally:
        runner.run(stores.__aexit__(None, None, None))


@pytest.mark.etcd
def test_no_law_breaks_in_a_real_etcd(runner: asyncio.Runner, tmp_path: Path) -> None:
    _needs_etcd()
    stores = real_store(tmp_path)
    store = runner.run(stores.__aenter__())
    try:
        play(machine(store, runner), 15)
    finally:
        runner.run(stores.__aexit__(None, None, None))


@pytest.mark.etcd
def test_the_fake_etcd_and_the_real_one_answer_alike_whatever_happens(runner: asyncio.Runner, tmp_path: Path) -> None:
    _needs_etcd()
    stores = both_stores(tmp_path)
    store = runner.run(stores.__aenter__())
    try:
        play(machine(store, runner), 15)
    finally:
        runner.run(stores.__aexit__(None, None, None))
