"""The rules in use: fixed from a file, or followed in etcd and applied without a restart.

Documents in etcd are taken one by one: a bad one is passed over, logged and counted, and the last good version of it
stays in use. The last known good set is kept in a file beside the journal, so that a restart during an outage of etcd
observes what it observed before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.errors import Compacted, StoreError
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Revision
from leasehold.protocol.rules import RuleSet, checked, rules_from_documents
from leasehold.protocol.store import Change
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.schemas import compile_rules

log = structlog.get_logger()


class RulesMetrics(Protocol):
    """What the source of rules has counted."""

    def rules_skipped(self, kind: str, count: int) -> None:
        """Documents that could not be used; ``kind`` is ``owner`` or ``rule``."""
        ...

    def rules_are(self, count: int) -> None: ...


class CurrentRules:
    """The rule set in use and its matcher. A new set replaces both at once.

    ``extra`` are rules for this sidecar alone; they stay in use, whatever comes. Of two with one name the other counts.
    """

    def __init__(self, metrics: RulesMetrics, extra: RuleSet | None = None) -> None:
        self._metrics = metrics
        self._extra = extra
        self._on_change: list[Callable[[RuleSet], None]] = []
        self.rules = RuleSet()
        self.matcher = Matcher.compile(self.rules)
        if extra is not None:
            self.replace(RuleSet())

    def on_change(self, then: Callable[[RuleSet], None]) -> None:
        """Call ``then`` with the rules now, and with every set to come."""
        self._on_change.append(then)
        then(self.rules)

    def replace(self, rules: RuleSet) -> None:
        if self._extra is not None:
            rules = _with_extra(rules, self._extra)
        if rules == self.rules:
            return
        self.rules = rules
        self.matcher = compile_rules(rules)
        self._metrics.rules_are(len(rules.rules))
        log.info("rules_applied", owners=len(rules.owners), rules=len(rules.rules))
        for then in self._on_change:
            then(rules)


def _with_extra(rules: RuleSet, extra: RuleSet) -> RuleSet:
    """Both, as far as they make sense together. An extra rule whose owner nobody has named yet waits for it."""
    owners = {owner.name: owner for owner in (*extra.owners, *rules.owners)}
    known = {rule.name for rule in rules.rules}
    own = tuple(rule for rule in extra.rules if rule.name not in known and rule.owner in owners)
    try:
        return checked(RuleSet(tuple(owners.values()), (*rules.rules, *own)), "rules.extra")
    except BadConfiguration as error:
        log.error("extra_rules_unusable", error=str(error))
        return rules


class RulesHealth:
    """How the rules are doing. Those of a file are always fine; those of etcd say what is the trouble."""

    trouble = ""


class EtcdRules(RulesHealth):
    """Follows ``owners/`` and ``rules/``, each with a list and a watch of its own."""

    def __init__(self, etcd: Etcd, current: CurrentRules, kept: Path, metrics: RulesMetrics) -> None:
        self._etcd = etcd
        self._current = current
        self._kept = kept
        self._metrics = metrics
        self._found: dict[Family, dict[str, bytes]] = {}
        self._good: dict[tuple[Family, str], Any] = {}
        self.trouble = "the rules were not read yet"

    def recall(self) -> None:
        """Use what was kept before a restart, if there is anything."""
        try:
            document = msgspec.json.decode(self._kept.read_bytes())
            rules = rules_from_documents(document["owners"], document["rules"], str(self._kept))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, BadConfiguration) as error:
            log.warning("kept_rules_unusable", error=str(error))
            return
        self._good = {(Family.OWNERS, one["name"]): one for one in document["owners"]}
        self._good |= {(Family.RULES, one["name"]): one for one in document["rules"]}
        self._current.replace(rules)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for family in (Family.OWNERS, Family.RULES):
                tasks.create_task(self._follow(family), name=f"{family.value} in etcd")

    # --- etcd ---------------------------------------------------------------------------------------------------

    async def _follow(self, family: Family) -> None:
        tries = 0
        while True:
            try:
                start = await self._list(family)
                tries = 0
                await self._watch(family, start)
            except Compacted:
                continue
            except StoreError as error:
                if self.trouble != str(error):
                    log.warning("rules_in_trouble", error=str(error))
                self.trouble = str(error)
                tries += 1
                await self._etcd.pause(tries)

    async def _list(self, family: Family) -> Revision:
        listed = await self._etcd.store.read(self._etcd.keys.family(family), deadline=self._etcd.deadline)
        self._found[family] = {name: item.value for item in listed.items if (name := self._name(item.key))}
        self._apply()
        return Revision(listed.revision + 1)

    async def _watch(self, family: Family, start: Revision) -> None:
        batches = self._etcd.watches.watch(self._etcd.keys.family(family), start=start)
        async with contextlib.aclosing(batches):
            async for batch in batches:
                for event in batch.events:
                    name = self._name(event.item.key)
                    if event.change is Change.DELETE:
                        self._found[family].pop(name, None)
                    elif name:
                        self._found[family][name] = event.item.value
                if batch.events:
                    self._apply()

    def _name(self, key: bytes) -> str:
        parsed = self._etcd.keys.parse(key)
        return parsed.parts[0] if parsed is not None else ""

    # --- documents ----------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        if len(self._found) < 2:
            return
        self.trouble = ""
        owners = self._usable(Family.OWNERS, lambda document: rules_from_documents([document], [], "etcd"))
        named = {owner["name"]: owner for owner in owners}

        def check(document: Any) -> RuleSet:
            owner = named.get(str(document.get("owner")))  # who knows what it is
            return rules_from_documents([] if owner is None else [owner], [document], "etcd")

        rules = self._usable(Family.RULES, check)
        self._current.replace(rules_from_documents(owners, rules, "etcd"))
        self._keep(owners, rules)

    def _usable(self, family: Family, check: Callable[[Any], RuleSet]) -> list[Any]:
        """The documents of a family that can be used: each as it is now, or else as it last was good."""
        good: list[Any] = []
        skipped = 0
        for name, value in sorted(self._found[family].items()):
            document: Any
            try:
                document = _document(name, value)
                check(document)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a document may cost nothing but itself
                skipped += 1
                log.error("rules_document_skipped", family=family.value, name=name, error=str(error))
                document = self._good.get((family, name))
                if document is None or not _passes(check, document):
                    continue
            self._good[family, name] = document
            good.append(document)
        for known in [key for key in self._good if key[0] is family and key[1] not in self._found[family]]:
            del self._good[known]
        if skipped:
            self._metrics.rules_skipped(family.value.removesuffix("s"), skipped)
        return good

    def _keep(self, owners: list[Any], rules: list[Any]) -> None:
        fresh = self._kept.with_suffix(".new")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:  # noqa: PTH123
                out.write(msgspec.json.encode({"owners": owners, "rules": rules}))
            fresh.rename(self._kept)
        except OSError as error:
            log.warning("rules_not_kept", error=str(error))


def _document(name: str, value: bytes) -> dict[str, Any]:
    document = msgspec.json.decode(value)  # msgspec's DecodeError is a ValueError
    if not isinstance(document, dict) or document.get("name") != name:
        raise ValueError(f"expected a mapping with name: {name}")
    return document


def _passes(check: Callable[[Any], RuleSet], document: Any) -> bool:
    try:
        check(document)
    except BadConfiguration:
        return False
    return True
