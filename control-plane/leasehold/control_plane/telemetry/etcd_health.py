"""Asks etcd how it is, once a minute: versions with known defects, alarms, size. Decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import structlog

from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.telemetry.declared import seeing as told
from leasehold.protocol.errors import StoreError
from leasehold.protocol.etcd.known_bad import OLDEST_SUPPORTED, defects_of, parse_version
from leasehold.protocol.ports import Clock
from leasehold.protocol.store import MemberStatus

LOOK_SECONDS = 60.0
log = structlog.get_logger()


class Cluster(Protocol):
    """Who serves us. The etcd client offers it."""

    async def status(self, *, deadline: float) -> Sequence[object]:
        """``MemberStatus`` of each configured endpoint that answers, something else for the others."""
        ...

    async def members(self, *, deadline: float) -> Sequence[object]:
        """Whom the cluster consists of. Raises ``StoreError``."""
        ...


class EtcdHealth:
    """One replica's view. What was heard last is told until something else is heard."""

    def __init__(self, cluster: Cluster, clock: Clock, *, deadline: float) -> None:
        self._cluster, self._clock, self._deadline = cluster, clock, deadline
        self._statuses: list[MemberStatus] = []
        self._unreachable = 0
        self._defects: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.now() + LOOK_SECONDS)

    async def look(self) -> None:
        """Ask everybody once."""
        answers = await self._cluster.status(deadline=self._deadline)
        heard = [answer for answer in answers if isinstance(answer, MemberStatus)]
        self._unreachable = len(answers) - len(heard)
        if not heard:
            return
        self._statuses = heard
        self._defects = defects({status.version for status in heard}, await self._count(heard))

    def show(self, metrics: Metrics) -> None:
        metrics.view(told.ETCD_DEFECTS, lambda: [((severity,), n) for severity, n in self._defects.items()])
        metrics.view(
            told.ETCD_MEMBERS,
            lambda: [((version,), n) for version, n in Counter(one.version for one in self._statuses).items()],
        )
        metrics.one(told.ETCD_UNREACHABLE, lambda: self._unreachable)
        metrics.one(told.ETCD_ALARMS, lambda: sum(len(status.alarms) for status in self._statuses))
        metrics.one(told.ETCD_DATABASE, lambda: max((one.db_size_bytes for one in self._statuses), default=0))

    async def _count(self, heard: Sequence[MemberStatus]) -> int:
        try:
            return len(await self._cluster.members(deadline=self._deadline))
        except StoreError as error:
            log.debug("etcd_members_unknown", error=str(error))
            return len({status.member_id for status in heard})


def defects(versions: set[str], members: int) -> dict[str, int]:
    """How many known defects the worst of these versions has, by severity. One that is too old is deadly; one that
    cannot be read as a version tells nothing."""
    found = {"deadly": 0, "risky": 0}
    for version in filter(None, map(parse_version, versions)):
        known = defects_of(version, members)
        deadly = sum(defect.deadly for defect in known)
        found["deadly"] = max(found["deadly"], deadly + (version < OLDEST_SUPPORTED))
        found["risky"] = max(found["risky"], len(known) - deadly)
    return found
