"""S10: no input of one tenant reaches another's keys, owners or credentials.

Two tenants share one etcd, the owners and a service's name. Some of the names that the other one gives its files try
to be keys, or to lead out of their place. What each has made is known from the owners' ledgers.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from tests.chaos.history import COLLECTOR, OTHER_COLLECTOR, Call, History
from tests.chaos.judgement import Judgement
from tests.chaos.state import Parts, parse

ROOT = "/leasehold/"
CANARY = "!canary"
"""The owner in whose name a collector tests itself: in its own tenant, and at nobody's place."""
ABOUT_RESOURCES = frozenset({"resources", "holds", "tombstones", "sweeps", "graves", "refs", "notices", "pins"})


def tenants_apart(history: History) -> Judgement:
    """By keys and by ledgers."""
    said = Judgement("S10", "no input of one tenant reaches another's keys, owners or credentials")
    terms, made = history.terms, {}
    if not history.others:
        return said
    made[terms.tenant], made[terms.other] = _made(history.calls), _made(history.others)
    _judge_keys(said, history, made)
    for call in (*history.calls, *history.others):
        owner = {COLLECTOR: terms.tenant, OTHER_COLLECTOR: terms.other}.get(call.who)
        if owner is None or call.method == "LIST":
            continue
        said.expect(
            (call.owner, call.id) in made[owner],
            f"{call.owner}/{call.id}: {call.method} at {call.arrived:.3f} with the credentials of {owner}, which never "
            "made it",
        )
    swept = sum(call.who == OTHER_COLLECTOR and call.effect == "removed" for call in history.others)
    said.remarks.append(f"the other tenant made {len(made[terms.other])} things, and {swept} of its own were swept")
    return said


def _made(calls: Iterable[Call]) -> set[tuple[str, str]]:
    return {(call.owner, call.id) for call in calls if call.effect == "created" or call.method in {"PUT", "POST"}}


def _judge_keys(said: Judgement, history: History, made: dict[str, set[tuple[str, str]]]) -> None:
    for event in history.events:
        if not event.key.startswith(ROOT):
            continue
        found = [(tenant, parsed) for tenant in made if (parsed := parse(event.key, tenant)) is not None]
        where = f"{event.key} at revision {event.revision}"
        said.expect(len(found) == 1, f"{where} is of no tenant")
        for tenant, (family, parts) in found:
            written = "/".join([f"{ROOT}1/{tenant}", family, *(quote(part, safe="-._~") for part in parts)])
            if not _is_planted(event.key):
                said.expect(written == event.key, f"{where} is not written as a key has to be")
            if family in ABOUT_RESOURCES and not _is_planted(event.key) and parts[0] != CANARY:
                said.expect(_name(parts) in made[tenant], f"{where} is about what {tenant} never made")


def _is_planted(key: str) -> bool:
    """What the nemesis wrote by its own hand, to be unreadable."""
    return "broken-" in key


def _name(parts: Parts) -> tuple[str, str]:
    return parts[0], parts[2] if len(parts) > 2 else ""
