"""L2 and L5: what a watch never told is found by the scan, and one who is hurt does not hold up the others."""

from __future__ import annotations

from tests.chaos.history import Fault, History
from tests.chaos.judgement import Judgement
from tests.chaos.state import Parts, State, parse
from tests.chaos.sweeps import Sweep, sweeps_of

FOUND_SECONDS = 120.0
"""Two scans, a warm-up, a grace, and whatever else the nemesis does meanwhile."""
PROMPTLY_SECONDS = 2.0
"""A first send this long after its prepare was held up by nobody: ten times what it takes on a busy machine."""
LATE_PART = 0.05


def lost_news_are_found(history: History) -> Judgement:
    """L2. The tombstones whose news were lost: each was prepared or taken back, and not only after a restart."""
    said = Judgement("L2", "what a watch never told is found by the scan")
    ends = _ends_of_tombstones(history)
    for fault in history.faults:
        if fault.kind != "lose-watch-events" or not fault.evidence.get("lost"):
            continue
        said.facts += fault.took_effect  # its own scan told that it found something
        over = fault.began + FOUND_SECONDS <= (history.ending.abandoned or float("inf"))
        for key in set(fault.evidence["lost"]):
            found = parse(key, history.terms.tenant)
            if found is None or found[0] != "tombstones":
                continue
            ended = any(fault.began <= at <= fault.began + FOUND_SECONDS for at in ends.get(found[1], ()))
            if ended or over:
                said.expect(ended, f"{key}: its news were lost at {fault.began:.3f}, and nothing came of it")
    return said


def the_well_are_not_held_up(history: History) -> Judgement:
    """L5, by counts: while one owner is hurt, sweeps at the others are sent as soon as they are prepared.

    What is prepared while a control plane or etcd is hurt is left out: that concerns everybody.
    """
    said = Judgement("L5", "while one owner is hurt, 19 of 20 sweeps at the others are sent at once")
    hurt = [fault for fault in history.faults if fault.evidence.get("owner") and fault.took_effect]
    common = [
        fault for fault in history.faults if not fault.evidence.get("owner") and not fault.evidence.get("program")
    ]
    late = []
    for resource, sweeps in sweeps_of(history).items():
        for sweep in sweeps:
            beside = [fault for fault in hurt if fault.evidence["owner"] != resource[0] and _within(sweep, fault)]
            own = [fault for fault in hurt if fault.evidence["owner"] == resource[0] and _within(sweep, fault)]
            if not beside or own or any(_within(sweep, fault, PROMPTLY_SECONDS) for fault in common):
                continue
            said.facts += 1
            if not sweep.sends or sweep.sends[0].event.earliest > sweep.prepared.latest + PROMPTLY_SECONDS:
                late.append("/".join(resource))
    # One of a few is noise; one of twenty is what the law allows.
    if len(late) > max(1, LATE_PART * said.facts):
        said.violations.append(f"{len(late)} of {said.facts} were held up by another owner: {late[:5]}")
    said.remarks.append(f"{len(late)} of {said.facts} were late")
    return said


def _within(sweep: Sweep, fault: Fault, margin: float = 0.0) -> bool:
    at = sweep.prepared
    return fault.began - margin <= at.latest and at.earliest <= fault.ended + margin


def _ends_of_tombstones(history: History) -> dict[Parts, list[float]]:
    found: dict[Parts, list[float]] = {}
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            taken_back = step.family == "tombstones" and step.after is None
            prepared = step.family == "sweeps" and step.before is None and step.after is not None
            if taken_back or prepared:
                found.setdefault(step.resource, []).append(step.event.latest)
    return found
