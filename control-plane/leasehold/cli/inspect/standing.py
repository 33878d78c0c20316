"""What ``leasehold status`` makes of a tenant: what etcd says, and what its control planes answer. Pure.

etcd knows what survives (the brake, the pinned cluster, who acts, the canary); what only the replicas know (warm-up,
caps, backlog, how much vanished just now) is as good as their answers. One that does not answer is named, and counted
as nothing: it may only be out of reach from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from leasehold.operating.survey import Survey
from leasehold.protocol.keyspace import Family
from leasehold.protocol.records import PROTOCOL, SweepState

FAMILIES = (Family.CONTROL, Family.SHARDS, Family.REPLICAS, Family.SWEEPS)
Answer = Mapping[str, Any]
"""A replica's ``/v1/status``; with the only key ``problem`` when it did not answer."""


def standing(picture: Survey, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """Everything, for scripts and for the table."""
    heard = {name: answer for name, answer in answers.items() if "problem" not in answer}
    cluster = picture.cluster.record if picture.cluster else None
    told: dict[str, Any] = {
        "brake": _brake(picture),
        "window": next((answer["window"] for answer in heard.values() if "window" in answer), None) or _window(picture),
        "caps": {"waiting": _summed(answer.get("caps", {}).get("waiting", {}) for answer in heard.values())},
        "warm_up": _warm_up(heard),
        "versions": _versions(picture, heard),
        "cluster": {"pinned": cluster.cluster_id if cluster else None},
        "canary": _canary(picture),
        "shards": _shards(picture),
        "backlog": _backlog(heard),
        "quarantined": sum(
            found.record is None or found.record.state is SweepState.QUARANTINED for found in picture.sweeps.values()
        ),
        "replicas": _replicas(picture, answers),
    }  # fmt: skip
    attention = list(_attention(picture, told))
    known = {one.partition(":")[0] for one in attention}
    for name, answer in heard.items():
        more = (one for one in answer.get("attention", ()) if one.partition(":")[0] not in known)
        attention += [f"{one} (says {name})" for one in more]
    return {"healthy": not attention, "attention": attention, **told}


def rows(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """For people: what, how it is, and more about it."""
    yield from _rows_of_brake(told)
    caps = told["caps"]["waiting"]
    waiting = ", ".join(f"{owner} {count}" for owner, count in sorted(caps.items()))
    yield "caps", f"{sum(caps.values())} wait" if caps else "ok", waiting
    warm_up, versions, shards = told["warm_up"], told["versions"], told["shards"]
    left = warm_up["seconds_left"]
    yield "warm-up", _warm(left), warm_up["reason"] if left != 0 else ""
    yield "versions", f"protocol {versions['tenant']}", f"all understand {versions['common']}, we {PROTOCOL}"
    yield "cluster", "pinned" if told["cluster"]["pinned"] else "not pinned", told["cluster"]["pinned"] or ""
    canary = told["canary"]
    how = "not tried yet" if canary is None else "failed" if canary["failed"] else "passed"
    yield "canary", how, "" if canary is None else canary["failed"] or f"by {canary['who']} at {canary['since']}"
    each = ", ".join(f"{name} {count}" for name, count in sorted(shards["of_replicas"].items()))
    yield "shards", f"{shards['held']} of {shards['total']}", each
    yield "backlog", str(sum(told["backlog"].values())), ", ".join(f"{k} {n}" for k, n in told["backlog"].items())
    yield "quarantined", str(told["quarantined"]), ""
    for name, replica in sorted(told["replicas"].items()):
        about = f"{replica['version'] or 'version unknown'}, {replica['address'] or 'no address'}"
        yield f"replica {name}", "silent" if replica["problem"] else "answers", replica["problem"] or about
    for one in told["attention"]:
        yield "attention", "warn", one


def _rows_of_brake(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    brake, window = told["brake"], told["window"]
    by = f"by {brake['who']} since {brake['since']}: {brake['why']}" if brake.get("who") else "nobody said why"
    yield "brake", "armed" if brake["armed"] else f"braked ({brake.get('cause') or 'unknown'})", by
    if window is None:
        yield "window", "unknown", "no control plane has looked yet"
        return
    limits = window.get("thresholds")
    trips = f"; trips above {limits['fraction']:.0%} and {limits['count']} in {limits['seconds']:g} s" if limits else ""
    carried = f"{window['carried']} of {window['live']} live resources, by {window['holders']} holders{trips}"
    yield "window", f"{window['carried']} vanished", f"{carried}; {window['lost']} lost"


def _warm(left: float | None) -> str:
    if left is None:
        return "unknown"
    return f"{left:g} s left" if left else "over"


def _attention(picture: Survey, told: Mapping[str, Any]) -> Iterator[str]:
    brake, shards = told["brake"], told["shards"]
    if not brake["armed"]:
        yield f"braked: {brake.get('why') or 'control/armed is missing, and nobody said why'}"
    if picture.cluster is None or picture.cluster.record is None:
        yield "cluster: control/cluster is missing or cannot be read"
    elif picture.cluster.record.protocol > PROTOCOL:
        yield f"version: this tenant's protocol is version {picture.cluster.record.protocol}"
    if shards["held"] < shards["total"]:
        yield f"shards: nobody acts for {shards['total'] - shards['held']} of {shards['total']}"
    if told["canary"] and told["canary"]["failed"]:
        yield f"canary: {told['canary']['failed']}"
    if told["quarantined"]:
        yield f"quarantined: {told['quarantined']} sweeps"
    if picture.unreadable:
        yield f"unreadable: {len(picture.unreadable)} keys, e.g. {picture.unreadable[0][0]}"


def _brake(picture: Survey) -> dict[str, Any]:
    if picture.armed is not None:
        armed = picture.armed.record
        return {"armed": True, **({"who": armed.who, "why": armed.why, "since": armed.since} if armed else {})}
    tripped = picture.tripped.record if picture.tripped else None
    if tripped is None:
        return {"armed": False}
    return {
        "armed": False, "who": tripped.who, "why": tripped.why, "cause": str(tripped.cause), "since": tripped.since,
        "holders": tripped.holders, "resources": tripped.resources, "live": tripped.live,
    }  # fmt: skip


def _window(picture: Survey) -> dict[str, Any] | None:
    found = picture.window.record if picture.window else None
    if found is None:
        return None
    return {"holders": found.holders, "carried": found.carried, "live": found.live, "lost": found.lost}


def _canary(picture: Survey) -> dict[str, Any] | None:
    found = picture.canary.record if picture.canary else None
    return {"who": found.who, "failed": found.failed or None, "since": found.since} if found else None


def _warm_up(heard: Mapping[str, Answer]) -> dict[str, Any]:
    """The longest of all: until when some part is not prepared."""
    found = [answer["warm_up"] for answer in heard.values() if "warm_up" in answer]
    if not found or any(one["seconds_left"] is None for one in found):
        return {"seconds_left": None, "reason": next((str(one["reason"]) for one in found), "no replica answers")}
    longest = max(found, key=lambda one: one["seconds_left"])
    return {"seconds_left": longest["seconds_left"], "reason": str(longest["reason"])}


def _versions(picture: Survey, heard: Mapping[str, Answer]) -> dict[str, Any]:
    tenant = picture.cluster.record.protocol if picture.cluster and picture.cluster.record else None
    found = [answer["versions"]["common"] for answer in heard.values() if "versions" in answer]
    return {"tenant": tenant, "common": min(found, default=None)}


def _shards(picture: Survey) -> dict[str, Any]:
    total = picture.shard_count
    held = Counter(dict.fromkeys(picture.replicas, 0))
    held.update(found.record.replica for n, found in picture.shards.items() if n < total and found.record)
    return {"total": total, "held": held.total(), "of_replicas": dict(held)}


def _backlog(heard: Mapping[str, Answer]) -> dict[str, int]:
    stages = (answer.get("backlog", {}) for answer in heard.values())
    return _summed({stage: one["count"] for stage, one in found.items()} for found in stages)


def _replicas(picture: Survey, answers: Mapping[str, Answer]) -> dict[str, Any]:
    told = {}
    for name, found in picture.replicas.items():
        record = found.record
        told[name] = {
            "address": record.address if record else "", "version": record.version if record else "",
            "protocol": record.protocol if record else None,
            "problem": answers.get(name, {"problem": "not asked"}).get("problem"),
        }  # fmt: skip
    return told


def _summed(parts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
