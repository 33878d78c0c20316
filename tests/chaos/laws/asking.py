"""V: what its owner says is in use is not deleted, and nothing is deleted there that nobody asked about.

The owner's uses end once and for all (``deeds``), so that one moment is enough to condemn a delete.
"""

from __future__ import annotations

from tests.chaos.history import COLLECTOR, Call, History
from tests.chaos.judgement import Judgement
from tests.chaos.sweeps import Sweep, by_name, sweep_behind, sweeps_of

QUESTIONS = 2
"""Before a resource is prepared, and once more right before its first delete."""


def the_owners_word(history: History) -> Judgement:
    """By the owner's own ledger."""
    said = Judgement("V", "what its owner says is in use is not deleted, and none is deleted unasked")
    used = {(one.owner, one.id, one.uid): one.until for one in history.usages}
    asking = {one.owner for one in history.usages}
    sweeps, written = by_name(sweeps_of(history)), {event.revision: event for event in history.events}
    answers: dict[tuple[str, str, str], list[Call]] = {}
    vetoes = 0
    for call in history.calls:
        if call.who != COLLECTOR or call.owner not in asking:
            continue
        name = call.owner, call.id, call.uid
        if call.method == "VERIFY":
            vetoes += call.effect == "in-use"
            answers.setdefault(name, []).append(call)
        elif call.method == "DELETE" and not call.copy_of and call.uid:
            until = used.get(name, 0.0)
            said.expect(call.arrived >= until, f"{_at(call)}, {until - call.arrived:.3f} s before its use ended")
            sweep = sweep_behind(sweeps.get(name[:2], []), call)
            condemned = written.get(sweep.tombstone.modified) if sweep and sweep.tombstone else None
            if sweep is None or condemned is None:
                continue  # S9's and S4's business
            asked = [one for one in answers.get(name, ()) if _permits(one, condemned.earliest, sweep)]
            said.expect(len(asked) >= QUESTIONS, f"{_at(call)}, after {len(asked)} answers that it is not in use")
    said.remarks.append(f"{vetoes} times an owner said that something is in use")
    return said


def _permits(answer: Call, condemned: float, sweep: Sweep) -> bool:
    before = not sweep.sends or answer.arrived <= sweep.sends[0].event.latest
    return answer.effect == "not-in-use" and answer.arrived >= condemned and before


def _at(call: Call) -> str:
    return f"{call.owner}/{call.id} uid {call.uid}: {call.request} arrived at {call.arrived:.3f}"
