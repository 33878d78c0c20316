"""S8 and S9: what is written before somebody is told, and before bytes leave."""

from __future__ import annotations

from tests.chaos.history import COLLECTOR, Call, History, Told
from tests.chaos.judgement import Judgement
from tests.chaos.sweeps import by_name, sweeps_of

NEARLY = 0.9
"""Of the hold's deadline: an answer that took longer may have been let through by it."""


def told_is_durable(history: History) -> Judgement:
    """S8. Programs ask etcd themselves, now and then, right after they were told.

    An answer that came at the deadline promises nothing yet. A use of what nobody recorded, or is being swept, is none.
    Ids that are used again may lose a hold for a moment (decision 10): only creations are judged there.
    """
    said = Judgement("S8", "an app is told 'created' or 'used' only after the record and its hold are durable")
    reused = set(history.terms.intending)
    for told in history.told:
        if not told.audit or told.told - told.asked >= NEARLY * history.terms.hold_deadline:
            continue
        if told.how == "used" and (told.owner in reused or told.audit in {"absent", "sweeping"}):
            continue
        said.expect(told.audit == "held", _told_too_early(told))
    return said


def _told_too_early(told: Told) -> str:
    return (
        f"{told.owner}/{told.id} uid {told.uid}: {told.program} asked at {told.asked:.3f}, was told {told.how!r} at "
        f"{told.told:.3f}, and then found it {told.audit} in etcd"
    )


def written_before_it_is_sent(history: History) -> Judgement:
    """S9. The k-th delete of a resource arrives after its k-th ``sent`` was written; copies made by owners aside."""
    said = Judgement("S9", "evidence is in etcd before bytes leave")
    sweeps = by_name(sweeps_of(history))
    arrived: dict[tuple[str, str], list[Call]] = {}
    for call in history.calls:
        if call.who == COLLECTOR and call.method == "DELETE" and not call.copy_of:
            arrived.setdefault((call.owner, call.id), []).append(call)
    for name, calls in arrived.items():
        sends = [send.event for sweep in sweeps.get(name, ()) for send in sweep.sends]
        for number, call in enumerate(sorted(calls, key=lambda one: one.arrived), 1):
            if call.revision:
                written = sum(event.revision <= call.revision for event in sends)
            else:
                written = sum(event.earliest <= call.arrived for event in sends)
            said.expect(
                number <= written,
                f"{'/'.join(name)}: delete {call.request} is number {number} and arrived at {call.arrived:.3f} "
                f"(revision {call.revision or 'unknown'}), when {written} sends were written",
            )
    return said
