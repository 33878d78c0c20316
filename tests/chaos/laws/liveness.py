"""L1, L3, L4, L6: after healing everything that nobody needs is gone, everybody who lives is back, and whatever
vanished on the way is explained."""

from __future__ import annotations

from tests.chaos.history import STRANGER, STRAY, Call, Event, History
from tests.chaos.judgement import Judgement
from tests.chaos.state import Parts, State, Step, instance_of

Name = tuple[str, str, str]
"""Owner, id and incarnation."""


def abandoned_is_gone(history: History) -> Judgement:
    """L1. Everything that was ever recorded, once every program has ended; an owner that lied keeps its own lie."""
    said = Judgement("L1", "what nobody holds is gone within TTL + 2G + queue")
    recorded, lied = _recorded(history), _lied(history)
    ending = history.ending
    left = {(one.owner, one.id, one.uid) for one in ending.leftovers if one.who != STRANGER}
    if not ending.settled:
        return said
    took = f"{ending.settled - ending.abandoned:.1f} s after everybody had ended"
    for name in recorded:
        said.expect(name not in left or name in lied, f"{'/'.join(name)} was recorded, and is still there {took}")
    said.remarks.append(f"settled {took}")
    said.remarks += [f"{'/'.join(name)} is left: its owner said it was gone" for name in sorted(left & lied)]
    return said


def nobody_falls(history: History) -> Judgement:
    """No law of the protocol, and the first one to look at: whatever happens outside, no part ends by itself."""
    said = Judgement("up", "no sidecar and no control plane ends by itself", facts=len(history.lives))
    said.violations += history.falls
    return said


def creations_are_known(history: History) -> Judgement:
    """L3. A creation that nobody was told of, by a rule without intents, cannot be known: counted."""
    said = Judgement("L3", "every forwarded creation ends registered, resolved, or listed as suspect")
    recorded, intended, removed = _recorded(history), _intended(history), _removed(history)
    told = {(one.owner, one.id, one.uid) for one in history.told if one.how == "created"}
    unknown = 0
    for call in history.calls:
        if call.effect != "created" or call.who in {STRANGER, STRAY}:
            continue
        name = call.owner, call.id, call.uid
        if name in recorded or name in removed:
            said.facts += 1
        elif call.owner in history.terms.intending:
            known = any(event.earliest <= call.arrived for event in intended.get((call.owner, call.id), ()))
            said.expect(known, f"{_told(call)} is neither registered nor an intent")
        elif name in told:
            said.expect(False, f"{_told(call)} was told to its program and never registered")
        else:
            unknown += 1
    if unknown:
        said.remarks.append(f"{unknown} creations were cut off before anybody could learn their ids")
    return said


def holders_come_back(history: History) -> Judgement:
    """L4."""
    said = Judgement("L4", "after healing every live holder is attached within 2 TTL")
    ending, state = history.ending, State(history.terms.tenant)
    for _ in state.steps(event for event in history.events if event.revision <= ending.attached_revision):
        pass
    attached = {instance_of(parts[0]) for parts in state.all("beacons")}
    for program in ending.living:
        within = ending.attached_by - ending.healed
        said.expect(program in attached, f"{program} lives, and has no beacon {within:.1f} s after healing")
    return said


def nothing_vanishes(history: History) -> Judgement:
    """L6. A record ends only when its incarnation is gone from the owner, or the owner said so."""
    said = Judgement("L6", "nothing is dropped unconfirmed")
    removed, lied = _removed(history), _lied(history)
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            if step.family == "resources" and step.before is not None and step.after is None:
                _judge_end(said, step, removed, lied)
    return said


def _judge_end(said: Judgement, step: Step, removed: dict[Name, float], lied: set[Name]) -> None:
    kind, _, uid = str(step.before["incarnation"] if step.before else "").partition(":")
    if kind != "uid":
        return
    name = step.parts[0], step.parts[2], uid
    gone = removed.get(name, float("inf")) <= step.event.latest
    said.expect(gone or name in lied, f"{'/'.join(name)} was forgotten at revision {step.event.revision}, and not gone")


# --- what the books and the ledgers say -------------------------------------------------------------------------


def _recorded(history: History) -> set[Name]:
    """Incarnations that had a record at any time."""
    found = set()
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            if step.family == "resources" and step.after is not None:
                found.add((step.parts[0], step.parts[2], str(step.after["incarnation"]).partition(":")[2]))
    return found


def _intended(history: History) -> dict[tuple[str, str], list[Event]]:
    """Intents that are left at the end, by the resource they name: what ``leasehold get intents`` lists."""
    left: dict[Parts, tuple[tuple[str, str], Event]] = {}
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            if step.family != "intents":
                continue
            named = step.after["resource"] if step.after else None
            known = left.pop(step.parts, None)
            if named:  # rewritten it is still the one from before: somebody noted that its outcome is unknown
                left[step.parts] = (named[0], named[2]), known[1] if known else step.event
    found: dict[tuple[str, str], list[Event]] = {}
    for name, event in left.values():
        found.setdefault(name, []).append(event)
    return found


def _removed(history: History) -> dict[Name, float]:
    """When incarnations were removed, by whomever."""
    calls = [call for call in history.calls if call.effect == "removed"]
    return {(call.owner, call.id, call.uid): call.answered for call in calls}


def _lied(history: History) -> set[Name]:
    """Of which incarnations an owner said that they are gone."""
    return {(call.owner, call.id, call.uid) for call in history.calls if call.lied and call.status in {404, 410}}


def _told(call: Call) -> str:
    return f"{call.owner}/{call.id} uid {call.uid}, created by {call.who} at {call.arrived:.3f},"
