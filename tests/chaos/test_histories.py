"""When a run counts, what programs believed, and that a history survives being written down."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

from tests.chaos.beliefs import Promises, beliefs_of
from tests.chaos.history import Belief, Ending, Fault, Leftover, Life, load, save
from tests.chaos.judgement import Result, result_of, why_invalid
from tests.chaos.laws import judge
from tests.chaos.story import Story, lawful


def test_a_run_in_which_no_fault_took_effect_is_invalid() -> None:
    history = lawful().history
    history.faults = [replace(fault, took_effect=False) for fault in history.faults]
    assert result_of(history, judge(history)) is Result.INVALID
    assert why_invalid(history) == ["no fault took effect"]


def test_a_run_whose_witness_missed_something_is_invalid_whatever_was_found() -> None:
    history = lawful().history
    history.falls.append("p1-sidecar: it ended")
    assert result_of(history, judge(history)) is Result.VIOLATED
    history.gaps.append("revisions 3 to 5 were not seen")
    assert result_of(history, judge(history)) is Result.INVALID


def test_a_run_that_deleted_nothing_is_invalid() -> None:
    story = Story()
    story.create()
    history = story.end()
    assert result_of(history, judge(history)) is Result.INVALID


def test_a_history_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    history = lawful().history
    history.faults.append(Fault("stall", 1.0, 2.0, False, {"seconds": 1.0}, ("*",)))
    history.ending = Ending(1.0, 2.0, 3, ("p1",), 4.0, 5.0, (Leftover("blobs", "s1", "us", "stranger"),))
    save(history, tmp_path)
    read = load(tmp_path)
    read.faults = [replace(fault, cut=tuple(fault.cut)) for fault in read.faults]
    assert read == history


# --- what programs believed -------------------------------------------------------------------------------------


def told(how: str, asked: float) -> dict[str, object]:
    return {"event": "told", "how": how, "owner": "blobs", "id": "b1", "uid": "u1", "asked": asked, "told": asked + 0.1}


def test_what_was_created_is_held_until_it_is_let_go_or_the_program_ends() -> None:
    life = Life("p1", 0.0, 50.0, "crash")
    lets_go = {"event": "lets-go", "owner": "blobs", "id": "b1", "uid": "u1", "at": 20.0}
    created = told("created", 10.0)
    assert beliefs_of(life, [created], Promises(3.0)) == [Belief("p1", "blobs", "b1", "u1", 10.1, 50.0, "created")]
    assert beliefs_of(life, [created, lets_go], Promises(3.0)) == [
        Belief("p1", "blobs", "b1", "u1", 10.1, 20.0, "created")
    ]


def test_what_was_used_is_held_for_the_idle_time_after_the_last_use() -> None:
    life = Life("p1", 0.0, 50.0, "crash")
    uses = [told("used", 10.0), told("used", 12.0), told("used", 30.0), told("used", 49.0)]
    assert [(belief.since, belief.until) for belief in beliefs_of(life, uses, Promises(3.0))] == [
        (10.1, 15.0),
        (30.1, 33.0),
        (49.1, 50.0),
    ]


def test_nothing_here_knows_the_product() -> None:
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "leasehold"], path
