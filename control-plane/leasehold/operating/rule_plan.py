"""From a wish for owners and rules to the transactions that write them.

What is stored under ``owners/`` and ``rules/`` is one JSON document each, as a person would have written it. Before
anything is written the *merged* set is checked, because sidecars and control planes read it as one: a file that makes
sense by itself may still spoil what is there. Everything goes into one transaction, guarded by what was read; somebody
else's change in between makes it fail, and nothing is half applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from leasehold.operating.deeds import Changed
from leasehold.operating.survey import Survey, take
from leasehold.protocol.configuration import BadConfiguration, Seconds, convert
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import OwnerName, Revision, RuleName
from leasehold.protocol.ports import Store
from leasehold.protocol.rules import On, Owner, Rule, RuleSet, rules_from_documents, warnings
from leasehold.protocol.store import MAX_OPERATIONS, Operation, Put, Txn, unchanged


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one owner or rule: ``created``, ``changed`` or ``unchanged``."""

    what: str
    name: str
    verdict: str
    key: bytes
    value: bytes
    seen: Revision


def document(model: Owner | Rule) -> dict[str, Any]:
    """An owner or rule as the document a person would write: durations in words, defaults left out."""
    plain: dict[str, Any] = msgspec.to_builtins(model, enc_hook=_write_duration)
    return plain


def _write_duration(value: object) -> str:
    if not isinstance(value, Seconds):
        raise NotImplementedError(type(value))
    milliseconds = round(value * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def plan(keys: Keyspace, stored: Survey, wanted: RuleSet) -> list[Step]:
    """What has to be written to get from ``stored`` to ``wanted``. Raises ``BadConfiguration`` if the two clash."""
    owners = {name: found.record for name, found in stored.owner_documents.items()}
    rules = {name: found.record for name, found in stored.rule_documents.items()}
    owners |= {owner.name: document(owner) for owner in wanted.owners}
    rules |= {rule.name: document(rule) for rule in wanted.rules}
    rules_from_documents(owners.values(), rules.values(), "etcd with this file applied")
    steps = [
        _step("owner", keys.owner(OwnerName(owner.name)), owner, stored.owner_documents.get(owner.name))
        for owner in wanted.owners
    ]
    steps += [
        _step("rule", keys.rule(RuleName(rule.name)), rule, stored.rule_documents.get(rule.name))
        for rule in wanted.rules
    ]
    return steps


def _step(what: str, key: bytes, model: Owner | Rule, found: Any) -> Step:
    value = msgspec.json.encode(document(model))
    if found is None:
        return Step(what, model.name, "created", key, value, Revision(0))
    verdict = "unchanged" if _same(model, found.record) else "changed"
    return Step(what, model.name, verdict, key, value, found.revision)


def _same(model: Owner | Rule, stored: object) -> bool:
    """Compared by meaning: ``60s`` stored by somebody else and our ``1m`` are no change."""
    try:
        return convert(type(model), stored, "etcd") == model
    except BadConfiguration:
        return False


def transactions(steps: Sequence[Step], beside: Sequence[Operation] = ()) -> list[Txn]:
    """One transaction; more only beyond etcd's limit of operations, owners first. ``beside`` goes along with each: it
    must not matter if it is written again."""
    writing = [step for step in steps if step.verdict != "unchanged"]
    size = MAX_OPERATIONS - len(beside)
    return [
        Txn(
            [unchanged(step.key, step.seen) for step in part],
            [*(Put(step.key, step.value) for step in part), *beside],
        )
        for part in (writing[n : n + size] for n in range(0, len(writing), size))
    ]


async def apply_rules(
    store: Store,
    keys: Keyspace,
    wanted: RuleSet,
    *,
    deadline: float,
    dry_run: bool,
    beside: Sequence[Operation] = (),
) -> list[Step]:
    """Write what differs, and ``beside`` in each transaction that does. Raises ``Changed`` when somebody else wrote
    meanwhile, ``BadConfiguration`` on a clash."""
    stored = await take(store, keys, (Family.OWNERS, Family.RULES), deadline=deadline)
    steps = plan(keys, stored, wanted)
    for txn in () if dry_run else transactions(steps, beside):
        result = await store.commit(txn, deadline=deadline)
        if not result.succeeded:
            raise Changed("owners or rules were changed by somebody else meanwhile; nothing was written: apply again")
    return steps


def worth_a_warning(found: RuleSet) -> list[str]:
    """What is allowed but probably not meant: what the model knows, and a file that protects nothing."""
    nothing = [] if any(rule.on is On.CREATE for rule in found.rules) else ["no rule sees anything created"]
    return [*warnings(found), *nothing]


def without_secrets(document: Any) -> Any:
    """Headers carry credentials, and output is pasted into tickets."""
    if isinstance(document, dict) and isinstance(document.get("headers"), dict):
        return {**document, "headers": dict.fromkeys(document["headers"], "(hidden)")}
    return document
