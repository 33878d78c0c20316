"""S6: only what a rule saw created becomes ours. What was made past every sidecar is untouched."""

from __future__ import annotations

from tests.chaos.history import COLLECTOR, STRANGER, History
from tests.chaos.judgement import Judgement
from tests.chaos.state import State


def untouched(history: History) -> Judgement:
    """Neither recorded nor asked to be deleted; and still there at the end."""
    said = Judgement("S6", "strangers are neither recorded nor deleted")
    strangers = {(call.owner, call.id): call.uid for call in history.calls if call.who == STRANGER}
    for call in history.calls:
        if call.who == COLLECTOR and (call.owner, call.id) in strangers:
            said.violations.append(f"{call.owner}/{call.id}: {call.method} at {call.arrived:.3f}, and it is a stranger")
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            if step.family == "resources" and (step.resource[0], step.resource[2]) in strangers:
                said.violations.append(f"{'/'.join(step.resource)} was recorded at revision {step.event.revision}")
    there = {(one.owner, one.id): one.uid for one in history.ending.leftovers}
    for name, uid in strangers.items() if history.ending.settled else ():
        said.expect(there.get(name) == uid, f"{'/'.join(name)} is a stranger, and it is gone")
    return said
