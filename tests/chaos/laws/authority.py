"""S3, S4, S5: who may take a step towards a delete, and on which facts that are *there*. Judged by etcd's own order.

Fences are judged per resource, against whatever shard keys exist: more shards change nothing here.
"""

from __future__ import annotations

from collections import Counter

from tests.chaos.history import History
from tests.chaos.judgement import Judgement
from tests.chaos.state import Item, Parts, State, Step
from tests.chaos.sweeps import sweeps_of


def one_fence_at_a_time(history: History) -> Judgement:
    """S3."""
    said = Judgement("S3", "only the holder of a fence writes on the destructive path, one at a time, sends numbered")
    for resource, sweeps in sweeps_of(history).items():
        for sweep in sweeps:
            where = f"{'/'.join(resource)}, swept from revision {sweep.prepared.revision}"
            said.expect(sweep.fences == sorted(sweep.fences), f"{where}: fences interleave: {sweep.fences}")
            numbers = [send.attempt for send in sweep.sends]
            said.expect(numbers == [*range(1, len(numbers) + 1)], f"{where}: sends are numbered {numbers}")
            for send in sweep.sends:
                said.expect(
                    send.fence in send.fences,
                    f"{where}: sent({send.attempt}) at revision {send.event.revision} under fence {send.fence}, "
                    f"while those in force were {sorted(send.fences)}",
                )
    return said


def present_facts(history: History) -> Judgement:
    """S4."""
    said = Judgement("S4", "every step towards a delete rests on facts that are there")
    state = State(history.terms.tenant)
    for steps in state.steps(history.events):
        for step in steps:
            if step.family == "tombstones" and step.before is None:
                _judge_unheld(said, state, step, "condemned")
            elif step.family == "sweeps" and step.before is None and step.after is not None:
                _judge_unheld(said, state, step, "prepared")
                _judge_prepared(said, state, step, step.after)
            elif _is_first_send(step):
                _judge_first_send(said, state, step)
            elif step.family == "roster" and step.after is None:
                _judge_struck(said, state, step)
    return said


def the_brake(history: History) -> Judgement:
    """S5."""
    said = Judgement("S5", "without control/armed nothing is condemned, prepared or first sent, whoever leads")
    state, absences, causes = State(history.terms.tenant), 0, Counter[str]()
    for steps in state.steps(history.events):
        for step in steps:
            absences += step.family == "control" and step.parts == ("armed",) and step.after is None
            if step.family == "control" and step.parts == ("tripped",) and step.after is not None:
                causes[str(step.after["cause"] or "operator")] += 1  # not written where it is an operator
            if _is_authorised(step):
                armed = state.get("control", "armed") is not None
                said.expect(armed, f"{_where(step)}: {step.family} written while the brake was tripped")
    said.remarks.append(f"the brake was tripped {absences} times: {dict(causes)}")
    return said


def _is_authorised(step: Step) -> bool:
    if step.after is None:
        return False
    return (step.family in {"tombstones", "sweeps"} and step.before is None) or _is_first_send(step)


def _is_first_send(step: Step) -> bool:
    return (
        step.family == "sweeps"
        and step.before is not None
        and step.after is not None
        and (int(step.before["attempt"] or 0), int(step.after["attempt"] or 0)) == (0, 1)
    )


def _judge_unheld(said: Judgement, state: State, step: Step, what: str) -> None:
    where = f"{_where(step)}: {what}"
    holds = state.about("holds", step.resource)
    said.expect(state.get("resources", *step.resource) is not None, f"{where} without a record")
    said.expect(bool(holds), f"{where} though no hold is there")
    said.expect(state.get("control", "armed") is not None, f"{where} without control/armed")
    said.expect(state.get("pins", *step.resource) is None, f"{where} though pinned")
    living = _living_holders(state, step.resource)
    said.expect(not living, f"{where} though {living} live and hold it")
    sources = [parts[3:] for parts in state.about("refs", step.resource)]
    needed = [source for source in sources if state.get("resources", *source) is not None]
    said.expect(not needed or _is_one_cycle(state, step.resource), f"{where} though {needed} refer to it")


def _is_one_cycle(state: State, resource: Parts) -> bool:
    """Whether all that lead to it, near or far, are led to by it, and nobody alive holds any of them: then they are
    decided as one thing, in one revision, and what they need of each other keeps none of them."""
    return all(
        resource in _leading_to(state, one) and not _living_holders(state, one)
        for one in _leading_to(state, resource)
    )  # fmt: skip


def _leading_to(state: State, resource: Parts) -> set[Parts]:
    seen, todo = set[Parts](), [resource]
    while todo:
        for parts in state.about("refs", todo.pop()):
            source = parts[3:]
            if source not in seen and state.get("resources", *source) is not None:
                seen.add(source)
                todo.append(source)
    return seen


def _living_holders(state: State, resource: Parts) -> list[str]:
    holds = state.about("holds", resource)
    return [parts[3] for parts, hold in holds.items() if not hold["released"] and state.alive(parts[3])]


def _judge_prepared(said: Judgement, state: State, step: Step, sweep: Item) -> None:
    where = f"{_where(step)}: prepared"
    tombstone = state.get("tombstones", *step.resource)
    said.expect(tombstone is not None, f"{where} without a tombstone")
    condemned = tombstone.modified if tombstone else 0
    _judge_rosters(said, state, step, condemned, "prepared")
    name, _, number = str(sweep["epoch"]).partition("/")
    epoch = state.get("epochs", name, number.zfill(12))
    done = epoch is not None and bool(epoch["done"]) and epoch.created > condemned
    said.expect(done, f"{where} without a done epoch that opened after its tombstone")


def _judge_first_send(said: Judgement, state: State, step: Step) -> None:
    said.expect(state.get("control", "armed") is not None, f"{_where(step)}: sent(1) without control/armed")
    tombstone = state.get("tombstones", *step.resource)
    _judge_rosters(said, state, step, tombstone.modified if tombstone else 0, "sent(1)")


def _judge_rosters(said: Judgement, state: State, step: Step, condemned: int, what: str) -> None:
    for parts, hold in state.about("holds", step.resource).items():
        if hold["released"]:
            continue
        roster = state.get("roster", parts[3])
        quiet = roster is not None and roster.modified < condemned and not state.alive(parts[3])
        said.expect(quiet, f"{_where(step)}: {what} though the end of {parts[3]} is not in the roster, or too new")


def _judge_struck(said: Judgement, state: State, step: Step) -> None:
    holder = step.parts[0]
    held = [parts[:3] for parts in state.all("holds") if parts[3] == holder]
    said.expect(not held, f"{holder} was struck off the roster at {step.event.revision} though it holds {held[:3]}")
    said.expect(not state.alive(holder), f"{holder} was struck off the roster at {step.event.revision}, alive")


def _where(step: Step) -> str:
    return f"{'/'.join(step.resource)} at revision {step.event.revision}"
