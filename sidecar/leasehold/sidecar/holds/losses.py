"""What was lost while we were away: a holder cut off for longer than its lease and the grace may find things swept.

That is the one promise every lease scheme breaks; here it is looked for after each return, counted as a late return
and forgotten from the cache, so that the next use does not count on a hold that is gone. Sweeps and graves are few.

What is prepared and not sent yet is not lost: our beacon is back, so the first send that names us is refused and the
sweep taken back, with our hold still there. Forgotten, it would be replaced by the next use, and let go when idle.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from leasehold.protocol.errors import StoreError
from leasehold.protocol.keyspace import Family
from leasehold.protocol.names import Holder, Resource
from leasehold.protocol.records import SweepRecord, SweepState, Unreadable, decode
from leasehold.sidecar.holds.entries import Lost
from leasehold.sidecar.holds.etcd import Etcd
from leasehold.sidecar.holds.journal import Journal

log = structlog.get_logger()


async def look_for_losses(etcd: Etcd, journal: Journal, holder: Holder, late_return: Callable[[], None]) -> None:
    """Compare what this holder holds with what is being swept or lies in a grave; tried until etcd answers."""
    tries = 0
    while True:
        try:
            lost = await _lost(etcd, journal, holder)
        except StoreError:
            tries += 1
            await etcd.pause(tries)
            continue
        break
    for resource in lost:
        journal.note(Lost(resource, holder))
        late_return()
        log.warning("late_return", resource=str(resource), holder=holder)


async def _lost(etcd: Etcd, journal: Journal, holder: Holder) -> list[Resource]:
    lost = []
    for family in (Family.SWEEPS, Family.GRAVES):
        found = await etcd.store.read(etcd.keys.family(family), deadline=etcd.deadline)
        for item in found.items:
            key = etcd.keys.parse(item.key)
            if key is None or journal.state.holding(key.resource, holder) is None:
                continue
            if family is Family.SWEEPS:
                gone = not _will_be_taken_back(item.value, holder)
            else:  # a grave may be of an earlier namesake; then our hold is there
                hold = etcd.keys.hold(key.resource, holder)
                gone = await etcd.store.get(hold, deadline=etcd.deadline) is None
            if gone:
                lost.append(key.resource)
    return lost


def _will_be_taken_back(value: bytes, holder: Holder) -> bool:
    """Whether a sweep cannot be sent any more, now that this holder is there again."""
    try:
        sweep = decode(SweepRecord, value)
    except Unreadable:
        return False
    return sweep.state is SweepState.PREPARED and holder in sweep.holders
