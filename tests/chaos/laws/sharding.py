"""S3 with shards: whoever acts on a resource has the fence of exactly that resource's shard, in etcd and at owners.

An independent reading of decision 14: CRC-32 of the resource's path as it stands in keys, modulo the number pinned in
``control/cluster`` (none: one shard). What refers to each other in a ring is prepared in the first member's shard. Who
holds a shard is what its key says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote
from zlib import crc32

from tests.chaos.history import COLLECTOR, STALL, Call, Fault, History
from tests.chaos.judgement import Judgement
from tests.chaos.state import Item, State, Step

FLIGHT_SECONDS = 0.5
"""How long a call may be on its way between two processes of one busy machine, when nobody holds it up."""
HELD_UP_SECONDS = 3.0
"""The same while the nemesis holds bytes up: its longest delay, and what it takes to tell."""
HOLDING_UP = "cut-plane-from-owner"
PATIENCE_SECONDS = 2.0
"""How long a control plane waits for an owner, as its document says: what the owner does later is its own affair."""
LEASE_SECONDS = 4.0
"""How long after it was hurt a control plane's shards may still be waiting for its lease to end."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """One replica's hold of one shard. ``since`` and ``until`` are as early and as late as they can have been."""

    shard: int
    replica: str
    since: float
    until: float


def each_in_its_shard(history: History) -> Judgement:
    """In etcd, by its own order."""
    said = Judgement("S3 shards", "every step is taken under the fence of exactly that resource's shard")
    state, used = State(history.terms.tenant), set[str]()
    for steps in state.steps(history.events):
        for step in steps:
            if step.after is None:
                continue
            if step.family == "sweeps" and _is_authorised(step):
                used.add(_judge_fence(said, state, step, step.after))
            elif (step.family == "tombstones" and step.before is None) or step.family == "epochs":
                shard = shard_of(state, *step.parts[: 3 if step.family == "tombstones" else 1])
                said.expect(
                    state.get("shards", str(shard)) is not None,
                    f"{step.event.key} written at revision {step.event.revision}, when nobody had shard {shard}",
                )
    said.remarks.append(f"sweeps were written by {len(used - {''})} control planes")
    return said


def one_caller_at_a_time(history: History) -> Judgement:
    """At the owners, by their ledgers: who asked, and what else was under way then."""
    said = Judgement("S3 calls", "only the holder of a resource's shard asks its owner to delete it, and one at a time")
    tenures, shards = _tenures(history), _shards(history)
    asked: dict[tuple[str, str], list[Call]] = {}
    for call in history.calls:
        if call.who == COLLECTOR and call.method == "DELETE" and call.caller and not call.copy_of:
            asked.setdefault((call.owner, call.id), []).append(call)
    met = 0
    for name, calls in asked.items():
        shard = shards.get(name)
        for call in calls:
            found = _flight(call, [one for one in tenures if one.shard == shard and one.replica == call.caller])
            delayed = is_held_up(call, history.faults)
            said.expect(
                found is not None and found <= (HELD_UP_SECONDS if delayed else FLIGHT_SECONDS),
                f"{'/'.join(name)}: {call.caller} asked {call.request} at {call.arrived:.3f} without shard {shard}",
            )
        for one, other in pairwise(sorted(calls, key=lambda call: call.arrived)):
            if one.caller == other.caller or min(one.answered, one.arrived + PATIENCE_SECONDS) <= other.arrived:
                continue
            if any(is_held_up(call, history.faults) for call in (one, other)) or is_hurt(one, other, history.faults):
                met += 1
                continue
            said.violations.append(
                f"{'/'.join(name)}: {one.caller}'s {one.request} ({one.arrived:.3f} to {one.answered:.3f}) and "
                f"{other.caller}'s {other.request} (from {other.arrived:.3f}) at once"
            )
    if met:
        said.remarks.append(f"{met} pairs met because the nemesis hurt whoever asked first, or held one up on its way")
    return said


def shard_of(state: State, *components: str) -> int:
    """By the number of shards that stands in etcd at this revision."""
    cluster = state.get("control", "cluster")
    number = int(cluster["shards"] or 1) if cluster is not None else 1
    return crc32("/".join(quote(one, safe="-._~") for one in components).encode()) % number


def _is_authorised(step: Step) -> bool:
    """A prepare or a send: notes keep the fence that the attempt was sent under."""
    attempts = [int(item["attempt"] or 0) if item is not None else 0 for item in (step.before, step.after)]
    return step.before is None or attempts[1] > attempts[0]


def _judge_fence(said: Judgement, state: State, step: Step, sweep: Item) -> str:
    # A ring is prepared as one thing, in the shard of the first of its members; each is sent in its own.
    together = step.before is None and sweep["cycle"]
    number = shard_of(state, *(sweep["cycle"][0] if together else step.resource))
    shard, fence = state.get("shards", str(number)), int(sweep["fence"] or 0)
    said.expect(
        shard is not None and shard.created == fence,
        f"{'/'.join(step.resource)}: {sweep['state']} at revision {step.event.revision} under fence {fence}, while its "
        f"shard {number} was under {shard.created if shard else 'nobody'}",
    )
    return str(shard["replica"]) if shard is not None else ""


# --- who had what, and when --------------------------------------------------------------------------------------


def _tenures(history: History) -> list[Tenure]:
    found: list[Tenure] = []
    begun: dict[str, tuple[str, float]] = {}
    for steps in State(history.terms.tenant).steps(history.events):
        for step in steps:
            if step.family != "shards":
                continue
            [number] = step.parts
            if number in begun:
                replica, since = begun.pop(number)
                found.append(Tenure(int(number), replica, since, step.event.latest))
            if step.after is not None:
                begun[number] = str(step.after["replica"]), step.event.earliest
    for number, (replica, since) in begun.items():
        found.append(Tenure(int(number), replica, since, float("inf")))
    return found


def _shards(history: History) -> dict[tuple[str, str], int]:
    """Of every resource that ever was swept, by owner and id."""
    state, found = State(history.terms.tenant), dict[tuple[str, str], int]()
    for steps in state.steps(history.events):
        for step in steps:
            if step.family == "sweeps":
                found[step.parts[0], step.parts[2]] = shard_of(state, *step.resource)
    return found


def _flight(call: Call, tenures: Sequence[Tenure]) -> float | None:
    """How long before its arrival the call must have been sent, at least, for its caller to have had the shard then;
    ``None``: it had not had it yet."""
    return min((max(0.0, call.arrived - one.until) for one in tenures if one.since <= call.arrived), default=None)


def is_held_up(call: Call, faults: Iterable[Fault]) -> bool:
    return any(
        fault.kind == HOLDING_UP
        and fault.evidence.get("owner") == call.owner
        and fault.began <= call.arrived <= fault.ended + HELD_UP_SECONDS
        for fault in faults
    )


def is_hurt(one: Call, other: Call, faults: Iterable[Fault]) -> bool:
    """Whether the first one's control plane, or etcd, was hurt: then it did not give its shard up, but lost it, and
    nobody could take its call back from the owner. Giving a shard up waits for the calls."""
    return any(
        (one.caller in {fault.evidence.get("plane"), fault.evidence.get("killed")} or _is_of_etcd(fault))
        and fault.began <= other.arrived
        and fault.ended >= one.arrived - LEASE_SECONDS
        for fault in faults
    )


def _is_of_etcd(fault: Fault) -> bool:
    return "etcd-leader" in fault.kind or fault.kind in {"lose-quorum", "run-out-of-space", STALL}
