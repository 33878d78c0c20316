"""S2: a delete affects only the incarnation it names; a re-created namesake survives, however late the delete comes."""

from __future__ import annotations

from tests.chaos.history import COLLECTOR, History
from tests.chaos.judgement import Judgement
from tests.chaos.sweeps import by_name, sweep_behind, sweeps_of


def only_the_named_incarnation(history: History) -> Judgement:
    """Whatever a collector's delete removed, copies that an owner carried out late included."""
    said = Judgement("S2", "a delete affects only the incarnation it names")
    sweeps = by_name(sweeps_of(history))
    originals = {call.request: call for call in history.calls if not call.copy_of}
    for call in history.calls:
        if call.who != COLLECTOR or call.method != "DELETE":
            continue
        said.facts += 1  # one that removed nothing kept the law, too
        sweep = sweep_behind(sweeps.get((call.owner, call.id), []), originals.get(call.copy_of, call))
        if call.effect == "removed" and sweep is not None and sweep.uid and sweep.uid != call.uid:
            said.violations.append(
                f"{call.owner}/{call.id}: the sweep prepared at revision {sweep.prepared.revision} names {sweep.uid}, "
                f"but {call.request} (copy of {call.copy_of or 'none'}) removed {call.uid} at {call.arrived:.3f}"
            )
    return said
