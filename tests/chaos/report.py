"""What a run says at its end: for people, and as JSON for machines."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.history import COLLECTOR, STALL, Fault, History
from tests.chaos.judgement import Judgement, Result, result_of, why_invalid
from tests.chaos.laws import judge
from tests.chaos.world import World

EVIDENCE_LENGTH = 100


def judged(history: History) -> tuple[list[Judgement], Result]:
    """Every law, and the verdict."""
    judgements = judge(history)
    return judgements, result_of(history, judgements)


def write(folder: Path, history: History, judgements: list[Judgement], result: Result) -> str:
    """``report.json`` and ``report.txt`` in the folder; returns the text."""
    (folder / "report.json").write_text(json.dumps(_machine(history, judgements, result), indent=1))
    text = _text(history, judgements, result)
    (folder / "report.txt").write_text(text + "\n")
    return text


def operations(history: History) -> dict[str, int]:
    """What was done, by whom."""
    done: Counter[str] = Counter()
    for told in history.told:
        done[f"programs were told {told.how!r}"] += 1
        done["audits in etcd right after"] += bool(told.audit)
    for call in history.calls:
        if call.effect == "removed":
            done["removed by the collector" if call.who == COLLECTOR else "removed by programs"] += 1
        done["deletes asked by the collector"] += call.who == COLLECTOR and call.method == "DELETE" and not call.copy_of
        done["deletes repeated by owners"] += bool(call.copy_of)
    done["changes in etcd"] = len(history.events)
    done["programs"] = len(history.lives)
    return dict(done)


def counts(world: World) -> str:
    """A line on how it goes."""
    calls = [call for owner in world.owners.values() for call in owner.ledger]
    created = sum(call.effect == "created" for call in calls)
    swept = sum(call.effect == "removed" and call.who == COLLECTOR for call in calls)
    there = sum(len(owner.things) for owner in world.owners.values())
    return (
        f"{created} created, {swept} swept, {there} there; {len(world.crowd.living)} programs live; etcd at revision "
        f"{world.witness.revision}; shards {world.acting()}"
    )


def _machine(history: History, judgements: list[Judgement], result: Result) -> dict[str, Any]:
    return {
        "result": result,
        "valid": not why_invalid(history),
        "invalid_because": why_invalid(history),
        "terms": asdict(history.terms),
        "operations": operations(history),
        "faults": [asdict(fault) for fault in history.faults],
        "laws": [{**asdict(one), "verdict": one.verdict} for one in judgements],
    }


def _shown(fault: Fault | None) -> str:
    """What the last one that took effect showed."""
    if fault is None:
        return ""
    shown = ", ".join(f"{name} {value}" for name, value in fault.evidence.items() if name not in {"lost", "error"})
    return shown if len(shown) <= EVIDENCE_LENGTH else shown[:EVIDENCE_LENGTH] + " ..."


def _text(history: History, judgements: list[Judgement], result: Result) -> str:
    lines = [f"chaos, seed {history.terms.seed}: {result.upper()}", ""]
    lines += [f"  invalid: {why}" for why in why_invalid(history)]
    lines += ["operations"]
    lines += [f"  {count:7d}  {what}" for what, count in sorted(operations(history).items())]
    lines += ["", "faults (that took effect, of all)"]
    done = Counter(fault.kind for fault in history.faults if fault.kind != STALL)
    took = Counter(fault.kind for fault in history.faults if fault.took_effect)
    last = {fault.kind: fault for fault in history.faults if fault.took_effect}
    lines += [f"  {took[kind]:3d} of {done[kind]:3d}  {kind:24s}{_shown(last.get(kind))}" for kind in sorted(done)]
    freezes = [one.evidence for one in history.faults if one.took_effect and "live_leases_revoked" in one.evidence]
    revoked = [one["live_leases_revoked"] for one in freezes if one["live_leases_revoked"]]
    if freezes:
        lines.append(
            f"  {len(revoked)} of {len(freezes)} thawed etcd leaders revoked leases that were renewed: {revoked}"
        )
    modes = Counter(
        fault.evidence["mode"] for fault in history.faults if fault.took_effect and "mode" in fault.evidence
    )
    if modes:
        lines.append("  wires: " + ", ".join(f"{count} x {mode}" for mode, count in sorted(modes.items())))
    stalls = [fault.ended - fault.began for fault in history.faults if fault.kind == STALL]
    if stalls:
        lines.append(f"  the machine itself stood still {len(stalls)} times, up to {max(stalls):.1f} s")
    lines += ["", "laws"]
    for one in judgements:
        lines.append(f"  {one.verdict:10s}  {one.law:9s} {one.says} ({one.facts} facts)")
        lines += [f"              {remark}" for remark in one.remarks[:10]]
        lines += [f"    VIOLATION {violation}" for violation in one.violations[:20]]
        if len(one.violations) > 20:
            lines.append(f"    ... and {len(one.violations) - 20} more")
    return "\n".join(lines)
