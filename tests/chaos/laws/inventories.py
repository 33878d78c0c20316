"""I: only what two listings showed, with our label and by no record, becomes an orphan; and every stray does.

What a listing showed is known from the owner's ledger: what had been made before its last page was answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from tests.chaos.crates import INTERVAL_SECONDS
from tests.chaos.history import COLLECTOR, STRANGER, STRAY, Call, History
from tests.chaos.judgement import Judgement
from tests.chaos.state import Parts, State, Step

APART = 0.75 * INTERVAL_SECONDS
"""An interval from end to end of two listings; of pages that were slow their arrivals may be closer."""
FOUND_SECONDS = 90.0
"""Until a stray is gone: two listings, a grace, a sweep, and whatever else the nemesis does meanwhile."""
BY_INVENTORY = "inventory/"


def orphans(history: History) -> Judgement:
    """By keys and ledgers."""
    said = Judgement(
        "I", "only what two listings showed as ours and nobody recorded is an orphan, and no stray is missed"
    )
    made = {(call.owner, call.id, call.uid): call for call in history.calls if call.effect == "created"}
    listings = [call for call in history.calls if call.who == COLLECTOR and call.effect == "listed"]
    recorded: set[tuple[Parts, str]] = set()
    found = 0
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            if step.family != "resources" or step.after is None:
                continue
            uid = str(step.after["incarnation"]).partition(":")[2]
            if step.before is None and str(step.after["rule"]).startswith(BY_INVENTORY):
                found += 1
                _judge_orphan(said, step, uid, made, listings)
                said.expect((step.resource, uid) not in recorded, f"{_at(step)}, which had been recorded before")
            recorded.add((step.resource, uid))
    _judge_strays(said, history)
    said.remarks.append(f"{found} orphans were recorded, after {len(listings)} whole listings")
    return said


def _judge_orphan(
    said: Judgement, step: Step, uid: str, made: dict[tuple[str, str, str], Call], listings: Sequence[Call]
) -> None:
    owner, _, identity = step.resource
    creation = made.get((owner, identity, uid))
    said.expect(creation is not None and creation.who != STRANGER, f"{_at(step)}, and nothing proves it ours")
    if creation is None:
        return
    showing = [
        call for call in listings
        if call.owner == owner and creation.arrived <= call.answered and call.arrived <= step.event.latest
    ]  # fmt: skip
    twice = any(
        one.caller == other.caller and abs(one.arrived - other.arrived) >= APART
        for one, other in combinations(showing, 2)
    )
    said.expect(twice, f"{_at(step)}, after {len(showing)} listings that can have shown it")


def _judge_strays(said: Judgement, history: History) -> None:
    gone = {(call.owner, call.id, call.uid): call.answered for call in history.calls if call.effect == "removed"}
    for call in history.calls:
        if call.who != STRAY or call.arrived + FOUND_SECONDS > (history.ending.abandoned or 0.0):
            name = call.owner, call.id, call.uid
            said.facts += call.who == STRAY and name in gone
            continue
        at = gone.get((call.owner, call.id, call.uid), float("inf"))
        said.expect(
            at <= call.arrived + FOUND_SECONDS,
            f"{call.owner}/{call.id} has our label since {call.arrived:.3f}, and was there {FOUND_SECONDS:g} s later",
        )


def _at(step: Step) -> str:
    return f"{'/'.join(step.resource)} was recorded as an orphan at revision {step.event.revision}"
