"""S1: nothing is deleted that somebody held, or had held less than one whole grace before.

Judged twice: by the books (what stood in etcd when a sweep was prepared, and how long its epoch really took), and by
the world (what programs believed to hold when a delete reached an owner), which would also notice wrong books.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.history import COLLECTOR, Belief, Call, Event, History
from tests.chaos.judgement import Judgement
from tests.chaos.state import Item, Parts, State, Step, instance_of
from tests.chaos.sweeps import Sweep, by_name, sweep_behind, sweeps_of


@dataclass(slots=True)
class _Epoch:
    opened: Event
    done: Event | None = None


def whole_grace(history: History) -> Judgement:
    """By the books."""
    said = Judgement("S1 grace", "a sweep is prepared only after a whole grace without any holder")
    state, epochs = State(history.terms.tenant), dict[Parts, _Epoch]()
    for steps in state.steps(history.events):
        ending = {step.resource for step in steps if step.family == "sweeps" and step.after is None}
        for step in steps:
            if step.family == "epochs":
                _time(epochs, step)
            elif step.family == "sweeps" and step.before is None and step.after is not None:
                _judge_prepare(said, state, step, epochs)
            elif step.family == "holds" and _is_held(step.after) and state.get("sweeps", *step.resource):
                said.expect(
                    step.resource in ending, f"{_at(step)}: a hold was granted on what is being swept, without an abort"
                )
    return said


def _judge_prepare(said: Judgement, state: State, step: Step, epochs: dict[Parts, _Epoch]) -> None:
    tombstone, where = state.get("tombstones", *step.resource), _at(step)
    condemned = tombstone.modified if tombstone else 0
    for parts, hold in state.about("holds", step.resource).items():
        holder = parts[3]
        said.expect(hold.modified < condemned, f"{where}: the hold of {holder} is newer than the tombstone")
        if not hold["released"]:
            said.expect(not state.alive(holder), f"{where}: {holder} holds it and its beacon is there")
            roster = state.get("roster", holder)
            since = roster.modified if roster else 0
            said.expect(since < condemned, f"{where}: {holder} came back after the tombstone")
    name, _, number = str(step.after["epoch"] if step.after else "").partition("/")
    epoch = epochs.get((name, number.zfill(12)))
    if epoch is None or epoch.done is None:
        said.expect(False, f"{where}: its epoch {name}/{number} was never seen done")
        return
    said.expect(epoch.opened.revision > condemned, f"{where}: its epoch opened before the tombstone")
    took, grace = epoch.done.latest - epoch.opened.earliest, float(name.rstrip("s"))
    said.expect(took >= grace, f"{where}: its epoch took at most {took:.3f} s of {grace:g} s")


def _time(epochs: dict[Parts, _Epoch], step: Step) -> None:
    if step.after is None:
        return
    if step.before is None:
        epochs[step.parts] = _Epoch(step.event)
    if step.after["done"] and epochs[step.parts].done is None:
        epochs[step.parts].done = step.event


def _is_held(hold: Item | None) -> bool:
    return hold is not None and not hold["released"]


def _at(step: Step) -> str:
    return f"{'/'.join(step.resource)} at revision {step.event.revision}"


# --- by the world -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Books:
    """Since which revision an incarnation was recorded, and when each program's holds were written."""

    records: dict[tuple[Parts, str], int] = field(default_factory=dict)
    holds: dict[tuple[Parts, str], list[int]] = field(default_factory=dict)

    def held_before(self, belief: Belief, resource: Parts, revision: int) -> bool:
        """Whether the belief was in the books in time: what never was recorded promises nothing."""
        recorded = self.records.get((resource, f"uid:{belief.uid}"), revision)
        return any(recorded <= held < revision for held in self.holds.get((resource, belief.program), ()))


def nothing_held_is_deleted(history: History) -> Judgement:
    """By the world. A holder that was cut off for at least a grace is a late return: counted, no violation."""
    said = Judgement("S1", "no delete reaches an owner for what is held, or was held less than a grace before")
    sweeps, books, beliefs = by_name(sweeps_of(history)), _books(history), _by_incarnation(history.beliefs)
    late = 0
    for call in history.calls:
        if call.who != COLLECTOR or call.method != "DELETE" or call.copy_of or not call.uid:
            continue
        said.facts += 1
        sweep = sweep_behind(sweeps.get((call.owner, call.id), []), call)
        if sweep is None:
            continue  # S9's business
        for belief in beliefs.get((call.owner, call.id, call.uid), ()):
            if not _wronged(history, sweep, belief, books):
                continue
            if _was_cut(history, belief.program, sweep):
                late += 1
            else:
                said.violations.append(_story(sweep, belief, call))
    if late:
        said.remarks.append(f"{late} late returns: holders cut off for longer than a grace")
    return said


def _wronged(history: History, sweep: Sweep, belief: Belief, books: _Books) -> bool:
    # What was used first after the prepare came too late: no hold is granted any more, and the books show none.
    held = belief.since <= sweep.prepared.earliest and belief.until > sweep.prepared.latest - history.terms.grace
    return held and books.held_before(belief, sweep.resource, sweep.prepared.revision)


def _was_cut(history: History, program: str, sweep: Sweep) -> bool:
    """Whether its sidecar could not speak to etcd for a grace or longer, shortly before the sweep was prepared, and
    never let go of its own accord."""
    if any(hold["released"] and instance_of(holder) == program for holder, hold in sweep.holds.items()):
        return False
    terms, end = history.terms, sweep.prepared.latest
    window = end - 3 * (terms.ttl + terms.grace)
    cuts = (fault for fault in history.faults if program in fault.cut or "*" in fault.cut)
    return sum(max(0.0, min(cut.ended, end) - max(cut.began, window)) for cut in cuts) >= terms.grace


def _books(history: History) -> _Books:
    books = _Books()
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            if step.after is None:
                continue
            if step.family == "resources":
                books.records.setdefault((step.resource, str(step.after["incarnation"])), step.event.revision)
            elif step.family == "holds" and _is_held(step.after):
                key = step.resource, instance_of(step.parts[3])
                books.holds.setdefault(key, []).append(step.event.revision)
    return books


def _by_incarnation(beliefs: Iterable[Belief]) -> dict[tuple[str, str, str], list[Belief]]:
    found: dict[tuple[str, str, str], list[Belief]] = {}
    for belief in beliefs:
        found.setdefault((belief.owner, belief.id, belief.uid), []).append(belief)
    return found


def _story(sweep: Sweep, belief: Belief, call: Call) -> str:
    condemned = sweep.tombstone.modified if sweep.tombstone else 0
    return (
        f"{'/'.join(sweep.resource)} uid {call.uid}: {belief.program} held it ({belief.how}) from {belief.since:.3f} "
        f"to {belief.until:.3f}; condemned at revision {condemned}, prepared at revision {sweep.prepared.revision} "
        f"({sweep.prepared.earliest:.3f} to {sweep.prepared.latest:.3f}), delete {call.request} arrived "
        f"{call.arrived:.3f}"
    )
