"""The short tier: two runs of real processes, in which real faults take effect and every law holds.

The seed is printed; ``LEASEHOLD_CHAOS_SEED`` chooses another. The long tier is ``make chaos MINUTES=60``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.cluster import program
from tests.chaos.faults import KINDS, Lane
from tests.chaos.history import load
from tests.chaos.judgement import Result
from tests.chaos.report import judged
from tests.chaos.run import Plan, narrator, run

SEED = int(os.environ.get("LEASEHOLD_CHAOS_SEED", "11"))
PARTS = (
    "crash-program", "kill-sidecar", "kill-leading-plane", "freeze-leading-plane", "cut-sidecar-from-etcd",
    "cut-plane-from-etcd", "owner-repeats", "owner-resets", "lose-machine", "trip-brake",
)  # fmt: skip
STORE = (
    "crash-program",
    "freeze-sidecar",
    "cut-sidecar-from-owner",
    *(name for name, kind in KINDS.items() if kind.lane is Lane.STORE),
)
ALWAYS_JUDGED = {"up", "S1 grace", "S1", "S2", "S3", "S4", "S5", "S6", "S8", "S9", "L1", "L3", "L4", "L6"}

pytestmark = [pytest.mark.etcd, pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("chaos")]


@pytest.fixture(autouse=True)
def _needs_etcd() -> None:
    try:
        program("etcd")
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kinds", [PARTS, STORE], ids=["parts", "store"])
def test_every_law_holds_while_real_faults_take_effect(kinds: tuple[str, ...], tmp_path: Path) -> None:
    plan = Plan(SEED, seconds=40, kinds=kinds, pairs=3)
    print(f"seed {SEED}")
    result = run(plan, tmp_path, narrator())
    assert result is Result.HOLDS, (tmp_path / "report.txt").read_text()
    judgements, _ = judged(load(tmp_path))
    assert {one.law for one in judgements if one.facts} == ALWAYS_JUDGED, (tmp_path / "report.txt").read_text()
