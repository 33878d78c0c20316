"""The short tier: one run of real processes, in which real faults take effect and every law holds.

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
from tests.chaos.witness import CONTRADICTION

SEED = int(os.environ.get("LEASEHOLD_CHAOS_SEED", "11"))
SECONDS = 50
PARTS = (
    "crash-program", "kill-sidecar", "kill-plane", "freeze-plane", "add-plane", "cut-sidecar-from-etcd",
    "cut-plane-from-etcd", "cut-sidecar-from-owner",
    "owner-repeats", "owner-resets", "owner-evasive", "owner-fails", "lose-machine", "trip-brake",
)  # fmt: skip
STORE = tuple(name for name, kind in KINDS.items() if kind.lane is Lane.STORE)
ALWAYS_JUDGED = {
    "up",
    "S1 grace",
    "S1",
    "S2",
    "S3",
    "S3 shards",
    "S3 calls",
    "S4",
    "S5",
    "S6",
    "S8",
    "S9",
    "R",
    "V",
    "N",
    "I",
    "L1",
    "L3",
    "L4",
    "L6",
}


# One test and not several: two such worlds at a time would disturb each other on two cores.
@pytest.mark.etcd
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("chaos")
def test_every_law_holds_while_real_faults_take_effect(tmp_path: Path) -> None:
    try:
        program("etcd")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    for seed in (SEED, SEED + 1):
        print(f"seed {seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        result = run(Plan(seed, SECONDS, kinds=(*PARTS, *STORE), pairs=3), folder, narrator())
        report = (folder / "report.txt").read_text()
        if result is not Result.INVALID or CONTRADICTION not in report:
            break
        print("etcd corrupted itself, as this version of it may when a member is killed: once more")
    assert result is Result.HOLDS, report
    history = load(folder)
    took = {fault.kind for fault in history.faults if fault.took_effect}
    assert took & set(PARTS), report
    assert took & set(STORE), report
    judgements, _ = judged(history)
    assert {one.law for one in judgements if one.facts} >= ALWAYS_JUDGED, report
