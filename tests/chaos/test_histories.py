"""When a run counts, what programs believed, and that a history survives being written down."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.beliefs import Promises, beliefs_of
from tests.chaos.history import Belief, Ending, Fault, Leftover, Life, load, save
from tests.chaos.judgement import Result, result_of, why_invalid
from tests.chaos.laws import judge
from tests.chaos.lossy import Sieve
from tests.chaos.story import Story, lawful


def test_a_run_in_which_no_fault_took_effect_is_invalid() -> None:
    history = lawful().history
    history.faults = [replace(fault, took_effect=False) for fault in history.faults]
    assert result_of(history, judge(history)) is Result.INVALID
    assert why_invalid(history) == ["no fault took effect", "crash-program never took effect, tried 1 times"]


def test_a_run_in_which_one_kind_of_fault_never_took_effect_is_invalid() -> None:
    history = lawful().history
    idle = Fault("freeze-plane", 101.0, 102.0, False, {})
    history.faults += [idle, replace(idle, began=103.0, ended=104.0)]
    assert result_of(history, judge(history)) is Result.INVALID
    history.faults.append(replace(idle, took_effect=True))
    assert result_of(history, judge(history)) is Result.HOLDS


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


def test_what_a_timer_or_a_service_holds_does_not_end_with_the_program_that_made_it() -> None:
    life, shared = Life("p1", 0.0, 20.0, "crash"), Promises(3.0, {"notes": 6.0}, frozenset({"teams"}), 70.0)
    notes = [told("created", 10.0) | {"owner": "notes"}, told("used", 12.0) | {"owner": "notes"}]
    teams = [told("created", 10.0) | {"owner": "teams"}]
    assert beliefs_of(life, [*notes, told("used", 19.0) | {"owner": "notes"}, *teams], shared) == [
        Belief("", "notes", "b1", "u1", 10.1, 18.0, "created"),
        Belief("", "notes", "b1", "u1", 19.1, 25.0, "created"),
        Belief("", "teams", "b1", "u1", 10.1, 70.0, "created"),
    ]


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + (7).to_bytes(4, "big") + payload


def message(*fields: tuple[int, bytes]) -> bytes:
    inside = b"".join(bytes([number << 3 | 2, len(text)]) + text for number, text in fields)
    return b"\0" + len(inside).to_bytes(4, "big") + inside


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_sieve_takes_out_the_news_of_chosen_keys_and_nothing_else(size: int) -> None:
    lost: list[str] = []
    sieve = Sieve(re.compile(rb"/t/[a-z]+"), lost, most=2)
    news = frame(0, message((1, b"head"), (11, b"../t/one")))
    kept = [
        frame(1, b"/t/headers"),
        frame(0, message((1, b"head"), (2, b"../t/of-a-read"))),
        frame(0, message((1, b"head"), (11, b"other"))),
        frame(0, b"/t/torn"),
    ]
    stream = kept[0] + news + b"".join(kept[1:]) + news + news
    passed = b"".join(sieve.feed(stream[n : n + size]) for n in range(0, len(stream), size))
    assert passed == b"".join(kept) + news, "and no more than was asked for"
    assert lost == ["/t/one", "/t/one"]


def test_nothing_here_knows_the_product() -> None:
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "leasehold"], path
