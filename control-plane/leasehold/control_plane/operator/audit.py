"""Every write with who, what and why: in etcd, in the transaction of the write itself, and as a log event.

An entry lives under a lease of ``KEPT_SECONDS``, shared by those of a day; of more than ``MOST`` the oldest go first. A
write whose entry cannot be made does not take place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

import msgspec
import structlog

from leasehold import v1
from leasehold.control_plane.core.pages import Page
from leasehold.control_plane.operator.access import caller
from leasehold.control_plane.operator.ports import EtcdPort
from leasehold.control_plane.operator.problem import invalid
from leasehold.control_plane.operator.views import has_text
from leasehold.control_plane.shared_lease import SharedLease
from leasehold.control_plane.ticking import written_now
from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.ports import Clock
from leasehold.protocol.records import AuditRecord, Unreadable, decode, encode
from leasehold.protocol.store import MAX_OPERATIONS, Delete, Operation, Put, Txn, TxnResult

KEPT_SECONDS = 30 * 86400
SHARED_SECONDS = 86400.0
MOST = 5000
TIDIED_EVERY = 64
"""Entries, after which those that are too many are looked for."""
MOST_ABOUT = 20
LONGEST_WHY = 1000
log = structlog.get_logger()


class Audit:
    """Of one tenant, as one replica writes it."""

    def __init__(
        self, etcd: EtcdPort, keys: Keyspace, clock: Clock, *, replica: str, deadline: float,
        unique: Callable[[], str],
    ) -> None:  # fmt: skip
        self._etcd, self._keys = etcd, keys
        self._replica, self._deadline, self._unique = replica, deadline, unique
        self._lease = SharedLease(etcd, clock, seconds=KEPT_SECONDS, shared_seconds=SHARED_SECONDS, deadline=deadline)
        self._numbers = count(1)

    async def entry(
        self, method: str, why: str, about: Sequence[str], details: Mapping[str, str] | None = None
    ) -> Operation:
        """To be put with the write. Raises ``StoreError``; ``Problem`` without a ``why``."""
        if not why.strip() or len(why) > LONGEST_WHY:
            raise invalid(f"why: expected a reason, of at most {LONGEST_WHY} characters, for whoever asks later")
        who = caller.get()
        record = AuditRecord(
            who.who, who.role.word, who.known_by, method, why.strip(), tuple(about[:MOST_ABOUT]), len(about), who.peer,
            self._replica, written_now(), dict(details or {}),
        )  # fmt: skip
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{self._unique()}"
        lease = await self._lease.lease()
        if next(self._numbers) % TIDIED_EVERY == 0:
            await self._tidy()
        return Put(self._keys.audit(name), encode(record), lease)

    async def write(
        self, txn: Txn, method: str, why: str, about: Sequence[str], details: Mapping[str, str] | None = None
    ) -> TxnResult:
        """The transaction, and its entry with it. Raises ``StoreError``, ``Problem``."""
        entry = await self.entry(method, why, about, details)
        result = await self._etcd.commit(Txn(txn.compares, (*txn.success, entry), txn.failure), deadline=self._deadline)
        self.told(method, why, about, done=result.succeeded)
        return result

    def told(self, method: str, why: str, about: Sequence[str], *, done: bool) -> None:
        """The log event."""
        who = caller.get()
        log.info(
            "operator_wrote" if done else "operator_write_refused", method=method, who=who.who, role=who.role.word,
            known_by=who.known_by, peer=who.peer, why=why, about=list(about[:MOST_ABOUT]), count=len(about),
        )  # fmt: skip

    async def listing(self, wanted: v1.ListAuditRequest) -> v1.ListAuditResponse:
        """The newest first. There are at most about ``MOST``, so all are read. Raises ``StoreError``, ``BadPage``."""
        question = (wanted.who, wanted.method, wanted.text)
        page: Page[v1.AuditEntry] = Page(wanted.page_size, wanted.page_token, "-time", ("time",), question)
        found = await self._etcd.read(self._keys.family(Family.AUDIT), deadline=self._deadline)
        for item in found.items:
            key = self._keys.parse(item.key)
            with suppress(Unreadable):
                if key is not None:
                    entry = _entry(key.parts[0], decode(AuditRecord, item.value))
                    if _fits(entry, wanted):
                        page.offer((key.parts[0],), entry)
        entries, following = page.close()
        return v1.ListAuditResponse(entries=entries, next_page_token=following)

    async def _tidy(self) -> None:
        with suppress(StoreError):
            found = await self._etcd.read(self._keys.family(Family.AUDIT), deadline=self._deadline, keys_only=True)
            old = [item.key for item in found.items[: max(len(found.items) - MOST, 0)]][:MAX_OPERATIONS]
            if old:
                await self._etcd.commit(Txn((), [Delete(key) for key in old]), deadline=self._deadline)


def _entry(name: str, record: AuditRecord) -> v1.AuditEntry:
    plain = msgspec.structs.asdict(record)
    return v1.AuditEntry(id=name, time=plain.pop("since"), about=list(plain.pop("about")), **plain)


def _fits(entry: v1.AuditEntry, wanted: v1.ListAuditRequest) -> bool:
    if (wanted.who and entry.who != wanted.who) or (wanted.method and entry.method != wanted.method):
        return False
    return not wanted.text or has_text(wanted.text, *entry.about, entry.why)
