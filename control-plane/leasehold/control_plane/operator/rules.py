"""Owners and rules as they are stored, and what a rule file would change or changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from leasehold import v1
from leasehold.control_plane.core.index import Index
from leasehold.control_plane.operator.audit import Audit
from leasehold.control_plane.operator.ports import EtcdPort
from leasehold.operating.rule_plan import Step, apply_rules, without_secrets, worth_a_warning
from leasehold.operating.survey import Found, take
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.rules import Owner, Rule, load_rules

SOURCE = "document"


class Rules:
    """Each method raises ``StoreError``; those with a document ``BadConfiguration`` with every mistake."""

    def __init__(self, etcd: EtcdPort, keys: Keyspace, index: Index, audit: Audit, *, deadline: float) -> None:
        self._etcd, self._keys, self._index, self._audit, self._deadline = etcd, keys, index, audit, deadline

    async def get(self) -> v1.GetRulesResponse:
        found = await take(self._etcd, self._keys, (Family.OWNERS, Family.RULES), deadline=self._deadline)
        return v1.GetRulesResponse(
            owners=self._documents(Owner, found.owner_documents), rules=self._documents(Rule, found.rule_documents)
        )

    async def check(self, document: str) -> v1.CheckRulesResponse:
        # No variables are filled in: those of this process are none of the caller's business.
        wanted = load_rules(document, SOURCE, {})
        steps = await apply_rules(self._etcd, self._keys, wanted, deadline=self._deadline, dry_run=True)
        return v1.CheckRulesResponse(steps=_steps(steps), warnings=worth_a_warning(wanted))

    async def apply(self, document: str, why: str) -> v1.ApplyRulesResponse:
        """Also raises ``Changed``, and ``Problem`` without a ``why``."""
        wanted = load_rules(document, SOURCE, {})
        names = [*(f"owner {one.name}" for one in wanted.owners), *(f"rule {one.name}" for one in wanted.rules)]
        entry = await self._audit.entry("ApplyRules", why, names)
        steps = await apply_rules(
            self._etcd, self._keys, wanted, deadline=self._deadline, dry_run=False, beside=(entry,)
        )
        changed = [f"{step.what} {step.name}" for step in steps if step.verdict != "unchanged"]
        self._audit.told("ApplyRules", why, changed, done=bool(changed))
        return v1.ApplyRulesResponse(steps=_steps(steps), warnings=worth_a_warning(wanted))

    def _documents(self, kind: type[Owner] | type[Rule], found: Mapping[str, Found[Any]]) -> list[v1.Document]:
        policy = self._index.policy
        shown = []
        for name, one in sorted(found.items()):
            standing = policy.of_rule(name) if kind is Rule else None
            mode = "" if standing is None else standing.mode.value if standing.mode else "unknown"
            problem = standing.why if standing is not None else policy.problem(kind, name)
            text = msgspec.json.encode(without_secrets(one.record)).decode()
            shown.append(v1.Document(name=name, json=text, revision=one.revision, mode=mode, problem=problem))
        return shown


def _steps(steps: list[Step]) -> list[v1.RuleStep]:
    return [v1.RuleStep(what=step.what, name=step.name, verdict=step.verdict) for step in steps]
