"""Rules from a file into etcd, where sidecars and control planes watch them.

What differs is written, what is not in the file is left alone: resources registered under an older rule still need it.
It is tried until it succeeds, so that a control plane may start before its etcd does.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
import structlog

from leasehold.protocol.configuration import BadConfiguration, Seconds, convert
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import OwnerName, RuleName
from leasehold.protocol.ports import Clock, Store
from leasehold.protocol.rules import Owner, Rule, RuleSet
from leasehold.protocol.store import MAX_OPERATIONS, KeyValue, Put, Txn

RETRY_SECONDS = 1.0
log = structlog.get_logger()
D = TypeVar("D", Owner, Rule)


def document(model: Owner | Rule) -> bytes:
    """As a person would have written it: durations in words, defaults left out."""
    return msgspec.json.encode(model, enc_hook=_in_words)


def _in_words(value: object) -> str:
    if not isinstance(value, Seconds):
        raise NotImplementedError(type(value))
    milliseconds = round(value * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


class RuleLoader:
    """Loads one rule file. ``pending`` says why it is not loaded yet; empty once it is."""

    def __init__(self, store: Store, keys: Keyspace, clock: Clock, rules: RuleSet, *, deadline: float) -> None:
        self._store, self._keys, self._clock, self._rules, self._deadline = store, keys, clock, rules, deadline
        self.pending = "the rule file has not been written to etcd yet"

    async def run(self) -> None:
        """Return when it is done."""
        while self.pending:
            try:
                written = await self.load()
            except StoreError as error:
                self.pending = f"the rule file could not be written to etcd: {error}"
                log.warning("rules_not_loaded", error=str(error))
                await self._clock.sleep_until(self._clock.now() + RETRY_SECONDS)
            else:
                self.pending = ""
                log.info("rules_loaded", owners=len(self._rules.owners), rules=len(self._rules.rules), written=written)

    async def load(self) -> int:
        """Once. Returns how many documents were written; safe to repeat."""
        puts: list[Put] = []
        for owner in self._rules.owners:
            puts += await self._difference(self._keys.owner(OwnerName(owner.name)), owner)
        for rule in self._rules.rules:
            puts += await self._difference(self._keys.rule(RuleName(rule.name)), rule)
        # Owners first: a rule without its owner permits nothing, which is the safe way to be incomplete.
        for n in range(0, len(puts), MAX_OPERATIONS):
            await self._store.commit(Txn((), puts[n : n + MAX_OPERATIONS]), deadline=self._deadline)
        return len(puts)

    async def _difference(self, key: bytes, wanted: Owner | Rule) -> list[Put]:
        found = await self._store.get(key, deadline=self._deadline)
        return [] if found is not None and _means(found, wanted) else [Put(key, document(wanted))]


def _means(found: KeyValue, wanted: Owner | Rule) -> bool:
    """Compared by meaning: ``60s`` stored by somebody else and our ``1m`` are no change."""
    try:
        return bool(convert(type(wanted), msgspec.json.decode(found.value), "etcd") == wanted)
    except (BadConfiguration, msgspec.DecodeError):
        return False
