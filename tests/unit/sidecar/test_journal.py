"""The journal remembers what was written, whatever happens to the end of it."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.protocol.names import Boot, CallId, Holder, OwnerName, Resource, ResourceId, TypeName
from leasehold.protocol.records import Ending, HolderKind
from leasehold.sidecar.holds import journal as module
from leasehold.sidecar.holds.entries import (
    Acquire,
    Done,
    Ended,
    Entry,
    Forget,
    Head,
    Intend,
    Life,
    Lost,
    Operation,
    Over,
    Register,
    Release,
    Retract,
    State,
)
from leasehold.sidecar.holds.journal import Journal, JournalLocked, JournalOfAnother, replay

H, T = Holder("s@1~1"), Holder("s!1")


class Counted:
    def __init__(self) -> None:
        self.damaged: list[str] = []
        self.failures = 0

    def journal_damaged(self, kind: str) -> None:
        self.damaged.append(kind)

    def journal_failed(self) -> None:
        self.failures += 1


def blob(name: str) -> Resource:
    return Resource(OwnerName("o"), TypeName("t"), ResourceId(name))


def register(n: int, name: str = "a", holder: Holder = H) -> Register:
    return Register(n, blob(name), holder, "rule", f"uid:{n}", "300s", "now")


def life(holder: Holder = H) -> Life:
    return Life(holder, HolderKind.PROCESS, Boot("boot"), 15, "now")


def opened(folder: Path, **more: int) -> Journal:
    journal = Journal(folder, Counted(), **more)
    journal.open()
    return journal


def same(one: State, other: State) -> bool:
    def view(state: State) -> object:
        held = {resource: sorted(h.n for h in held) for resource, held in state.held.items()}
        return state.pending, held, state.held_count, state.lives, state.endings, state.intents, state.next

    return view(one) == view(other)


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    journal = opened(tmp_path / "deep" / "folder")
    for entry in (life(), register(1), register(2, "b"), Done((1,)), Ended(H, Ending.EXITED)):
        assert journal.append(entry)
    await journal.close()
    again = opened(tmp_path / "deep" / "folder")
    assert same(again.state, journal.state)
    assert list(again.state.pending) == [2]
    assert again.state.holding(blob("a"), H) == register(1)
    assert again.state.next == 3
    await again.close()


async def test_an_intent_keeps_the_key_that_its_request_carries(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with_key = Intend(1, CallId("c1"), H, "r", "PUT", "/x", "now", None, "mine", "X-Key")
    without = Intend(2, CallId("c2"), H, "r", "PUT", "/x", "now")
    assert journal.append(with_key)
    assert journal.append(without)
    await journal.close()
    again = opened(tmp_path)
    assert again.state.intents == {CallId("c1"): with_key, CallId("c2"): without}
    await again.close()


async def test_numbers_are_never_given_out_twice_even_if_all_they_named_is_gone(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(register(7))
    journal.append(Done(dropped=(7,)))
    await journal._compact()
    await journal.close()
    again = opened(tmp_path)
    assert again.state.next == 8
    await again.close()


async def test_nobody_else_may_read_what_is_held(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    journal.append(register(1))
    await journal._compact()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "j").iterdir()}
    assert modes == {"journal": 0o600, "lock": 0o600}
    await journal.close()


async def test_two_sidecars_cannot_share_a_journal(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(JournalLocked, match="another sidecar"):
        opened(tmp_path)
    await first.close()
    await opened(tmp_path).close()


async def test_a_journal_of_another_service_is_not_taken_over(tmp_path: Path) -> None:
    first = Journal(tmp_path, Counted(), whose="default/maker")
    first.open()
    await first._compact()
    await first.close()
    other = Journal(tmp_path, Counted(), whose="default/other")
    with pytest.raises(JournalOfAnother, match="default/maker"):
        other.open()
    await other.close()


async def test_one_turn_of_the_loop_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    await asyncio.sleep(0)
    writes: list[int] = []
    write = os.write
    monkeypatch.setattr(module.os, "write", lambda file, data: writes.append(len(data)) or write(file, data))
    for n in range(1, 101):
        journal.append(register(n, str(n)))
    await asyncio.sleep(0)
    assert len(writes) == 1
    await journal.close()


async def test_a_torn_last_line_is_dropped_and_counted(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(register(1))
    journal.append(register(2, "b"))
    await journal.close()
    file = tmp_path / "journal"
    file.write_bytes(file.read_bytes()[:-7])
    counted = Counted()
    again = Journal(tmp_path, counted)
    again.open()
    assert counted.damaged == ["torn"]
    assert list(again.state.pending) == [1]
    again.append(register(3, "c"))
    await again.close()
    assert list(replay(file.read_bytes()).pending) == [1, 3]


async def test_a_corrupt_line_in_the_middle_is_reported_and_the_rest_still_read(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for n in (1, 2, 3):
        journal.append(register(n, str(n)))
    await journal.close()
    file = tmp_path / "journal"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"uid:2", b"uid:9")
    file.write_bytes(b"".join(lines) + b"\x00\xff not ours\n")
    counted = Counted()
    again = Journal(tmp_path, counted)
    again.open()
    assert list(again.state.pending) == [1, 3]
    assert counted.damaged == ["corrupt", "torn"]
    await again.close()


async def test_a_full_journal_says_no_but_still_ends_things(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=2000)
    n = 1
    while journal.append(register(n, str(n))):
        n += 1
    assert journal.full
    assert n not in journal.state.pending, "what was refused changed nothing"
    journal.note(Done((1,)))
    await journal.close()
    assert 1 not in replay((tmp_path / "journal").read_bytes()).pending


async def test_a_disk_that_refuses_is_counted_and_nothing_is_lost_once_it_writes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    journal = Journal(tmp_path, counted)
    journal.open()
    await asyncio.sleep(0)
    write = os.write

    def half(file: int, data: bytes) -> int:
        return write(file, data[: len(data) // 2])

    def refuse(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    for broken in (half, refuse):
        monkeypatch.setattr(module.os, "write", broken)
        journal.note(register(journal.state.next, broken.__name__))
        journal.flush()
        assert journal.full
        assert not journal.append(register(99))
    monkeypatch.setattr(module.os, "write", write)
    journal.flush()
    assert not journal.full
    assert counted.failures == 2
    await journal.close()
    assert same(replay((tmp_path / "journal").read_bytes()), journal.state)


async def test_compaction_keeps_the_state_and_drops_the_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_FROM_BYTES", 20_000)
    journal = opened(tmp_path)
    journal.append(life())
    sizes = []
    for n in range(1, 2001):
        journal.append(register(n, "same"))
        journal.append(Done((n,)))
        sizes.append(journal.bytes)
        if n % 20 == 0:
            await asyncio.sleep(0.001)
    if journal._compacting:
        await journal._compacting
    await journal.close()
    assert max(sizes) < 200_000
    assert journal.bytes == (tmp_path / "journal").stat().st_size
    again = opened(tmp_path)
    assert same(again.state, journal.state)
    await again.close()


async def test_what_is_written_during_a_compaction_is_in_the_new_file(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for n in range(1, 501):
        journal.append(register(n, str(n)))
    compacting = asyncio.create_task(journal._compact())
    await asyncio.sleep(0)
    journal.append(Done(tuple(range(1, 251))))
    journal.append(register(1000, "new"))
    await compacting
    journal.append(register(1001, "newer"))
    await journal.close()
    again = opened(tmp_path)
    assert same(again.state, journal.state)
    assert len(again.state.pending) == 252
    await again.close()


async def test_a_write_cut_short_during_a_compaction_is_whole_in_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    for n in range(1, 501):
        journal.append(register(n, str(n)))
    journal.flush()
    compacting = asyncio.create_task(journal._compact())
    await asyncio.sleep(0)
    write = os.write
    for n in range(1000, 1010):
        journal.append(register(n, str(n)))
    monkeypatch.setattr(module.os, "write", lambda file, data: write(file, data[: len(data) // 2]))
    journal.flush()
    monkeypatch.setattr(module.os, "write", write)
    journal.flush()
    await compacting
    await journal.close()
    counted = Counted()
    again = Journal(tmp_path, counted)
    again.open()
    assert same(again.state, journal.state)
    assert counted.damaged == []
    await again.close()


# --- any prefix is a state there once was -----------------------------------------------------------------------

NAMES = st.sampled_from("abc").map(blob)
HOLDERS = st.sampled_from([H, T])


def _operation(draw: st.DrawFn, n: int, intents: list[Intend]) -> Operation:
    resource, holder = draw(NAMES), draw(HOLDERS)
    key = draw(st.sampled_from([("", ""), ("mine", "X-Key")]))
    made = Intend(n, CallId(f"c{n}"), H, "r", "PUT", "/x", "now", resource, *key)
    choices: list[Operation] = [
        Register(n, resource, holder, "r", f"uid:{n}", "1s", "now"),
        Acquire(n, resource, holder, "r", "now", 0.0, draw(st.sampled_from([None, T]))),
        Forget(n, resource),
        Release(n, resource, holder, n, "r", "now"),
        made,
    ]
    choices += (Retract(n, one.call, H, one.n, "r", "now", one.resource) for one in intents[-1:])
    chosen = draw(st.sampled_from(choices))
    if chosen is made:
        intents.append(made)
    elif isinstance(chosen, Retract):
        intents.pop()
    return chosen


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Entries as a sidecar might write them: operations with fresh numbers, each done at most once."""
    entries: list[Entry] = [Head(1, 1), life(H), life(T)]
    open_numbers: list[int] = []
    intents: list[Intend] = []
    for n in range(1, draw(st.integers(1, 25))):
        if draw(st.integers(0, 7)) == 0:
            entries.append(draw(st.sampled_from([Lost(blob("a"), H), Ended(H, Ending.EXITED), Over(T)])))
        else:
            entries.append(_operation(draw, n, intents))
            open_numbers.append(n)
        if open_numbers and draw(st.booleans()):
            done = tuple(open_numbers.pop(0) for _ in range(draw(st.integers(1, len(open_numbers)))))
            entries.append(Done(done) if draw(st.booleans()) else Done(dropped=done))
    return entries


def state_of(entries: list[Entry]) -> State:
    state = State()
    for entry in entries:
        state.apply(entry)
    return state


@given(histories(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_truncation_replays_to_a_state_there_once_was(entries: list[Entry], data: st.DataObject) -> None:
    lines = [module._line(entry) for entry in entries]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    complete, length = 0, 0
    while complete < len(lines) and length + len(lines[complete]) <= cut:
        length += len(lines[complete])
        complete += 1
    state = replay(whole[:cut])
    assert same(state, state_of(entries[:complete]))
    assert state.held_count == sum(len(held) for held in state.held.values())


@given(histories())
@settings(max_examples=150, deadline=None)
def test_a_snapshot_adds_up_to_the_state_it_was_taken_of(entries: list[Entry]) -> None:
    state = state_of(entries)
    assert same(state_of(state.snapshot()), state)
    assert len(state.snapshot()) <= state.live_entries()


@given(histories())
@settings(max_examples=100, deadline=None)
def test_applying_the_last_entries_twice_changes_nothing(entries: list[Entry]) -> None:
    state = state_of(entries)
    state.apply(entries[-1])
    assert same(state, state_of(entries))


@given(st.binary(max_size=300))
def test_any_bytes_are_no_crash(data: bytes) -> None:
    replay(data)
