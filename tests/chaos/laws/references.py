"""R: what something needs is not deleted before it. Judged by what programs were told, and owners' ledgers.

S4 judges the same by the books. Rings are allowed: there each is needed by what it needs, and nobody holds any.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.chaos.history import COLLECTOR, Call, History, Referral
from tests.chaos.judgement import Judgement
from tests.chaos.state import Parts, State
from tests.chaos.sweeps import by_name, sweep_behind, sweeps_of

NEARLY = 0.9
"""Of a hold's deadline: an answer that took longer may have been let through by it, unregistered."""


def what_is_needed_stays(history: History) -> Judgement:
    """By the world."""
    said = Judgement("R", "what something needs is not deleted before it, and a ring that nobody holds is deleted")
    needs = _needed_by(history.referrals, NEARLY * history.terms.hold_deadline)
    leads = {name: {(one.owner, one.id) for one in found} for name, found in needs.items()}
    gone = {(call.owner, call.id, call.uid): call.answered for call in history.calls if call.effect == "removed"}
    sweeps, rings = by_name(sweeps_of(history)), 0
    for call in history.calls:
        if call.who != COLLECTOR or call.method != "DELETE" or call.copy_of or not call.uid:
            continue
        sweep = sweep_behind(sweeps.get((call.owner, call.id), []), call)
        if sweep is None:
            continue  # S9's business
        for one in needs.get((call.owner, call.id), ()):
            if one.told >= sweep.prepared.earliest:
                continue
            left = gone.get((one.owner, one.id, one.uid), float("inf"))
            if left > call.answered and _leads(leads, (call.owner, call.id), (one.owner, one.id)):
                rings += 1
                said.facts += 1
                continue  # each is needed by the other; whether all of it was unheld is S4's business
            said.expect(left <= call.answered, _story(call, one))
    said.remarks.append(f"{rings} deletes were of members of a ring; {_rings(history)} rings were condemned")
    return said


def _needed_by(referrals: Iterable[Referral], longest: float) -> dict[tuple[str, str], list[Referral]]:
    found: dict[tuple[str, str], list[Referral]] = {}
    for one in referrals:
        if one.told - one.asked < longest:
            for target in one.refers:
                owner, _, identity = target.partition("/")
                found.setdefault((owner, identity), []).append(one)
    return found


def _leads(
    leads: dict[tuple[str, str], set[tuple[str, str]]], source: tuple[str, str], target: tuple[str, str]
) -> bool:
    """Whether ``source`` needs ``target``, near or far: who needs the target, who needs those, and so on."""
    seen, todo = {target}, [target]
    while todo:
        for one in leads.get(todo.pop(), ()):
            if one not in seen:
                seen.add(one)
                todo.append(one)
    return source in seen


def _rings(history: History) -> int:
    """How often things that need each other were condemned in one revision."""
    count, state = 0, State(history.terms.tenant)
    for steps in state.steps(history.events):
        fresh: set[Parts] = {step.resource for step in steps if step.family == "tombstones" and step.before is None}
        pairs = ((parts[3:], one) for one in fresh for parts in state.about("refs", one) if parts[3:] in fresh)
        count += any((*source, *target) in _sources(state, source) for source, target in pairs)
    return count


def _sources(state: State, resource: Parts) -> set[Parts]:
    return {(*resource, *parts[3:]) for parts in state.about("refs", resource)}


def _story(call: Call, one: Referral) -> str:
    return (
        f"{call.owner}/{call.id} uid {call.uid}: {call.request} arrived at {call.arrived:.3f}, and {one.program} was "
        f"told at {one.told:.3f} that {one.owner}/{one.id} uid {one.uid}, which is there, needs it"
    )
