"""Sees every change in etcd, by a watch on each member, and bounds when it happened.

A metronome writes the time into etcd, several times a second: what has a newer revision than such a stroke happened
after the stroke was begun. Whoever of the three watches tells a revision first tells it for all. At the end the keys as
replayed are compared with the keys as read: a witness that missed anything says so, and the run proves nothing. Nor
does one whose members contradict each other: etcd 3.5.0 to 3.5.2 may, once one was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import count
from typing import Any

from tests.chaos.gateway import TROUBLE, Gateway, decoded
from tests.chaos.history import Event

CLOCK = "/chaos/clock"
PROBE = "/chaos/probe-of-members"
PROBE_SECONDS = 3.0
CONTRADICTION = "etcd's members contradict each other"
STROKE_SECONDS = 0.1
STROKES_AT_ONCE = 8
SILENCE_SECONDS = 4.0
KEPT_BYTES = 8192
"""Longer values are the nemesis's ballast."""


class Witness:
    """Enter it before anything is written; it must have seen everything."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.events: list[Event] = []
        self.gaps: list[str] = []
        self.values: dict[str, str] = {}
        """Everything that stands in etcd now, as far as seen."""
        self.revision = 1
        self._stroke = 0.0
        self._strokes = asyncio.Semaphore(STROKES_AT_ONCE)
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for member in range(len(self._gateway.urls)):
                tasks.create_task(self._follow(member))
            tasks.create_task(self._beat(tasks))
            tasks.create_task(self._compare_members())

    async def seen(self, revision: int, *, within: float) -> None:
        """Until this revision was seen. Raises ``TimeoutError``."""
        async with asyncio.timeout(within):
            while self.revision < revision:
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        """Compare with what etcd holds now."""
        try:
            revision, keys = await self._gateway.read_all()
            await self.seen(revision, within=10.0)
        except TROUBLE as error:
            self.gaps.append(f"the witness could not be compared with etcd: {error!r}")
            return
        seen = {event.key: event for event in self.events}  # the last change of each key
        wrong = [key for key, (_, modified) in keys.items() if key not in seen or seen[key].revision < modified]
        stale = [key for key, e in seen.items() if not e.deleted and key not in keys and e.revision <= revision]
        if wrong or stale:
            self.gaps.append(
                f"the witness missed changes of {len(wrong) + len(stale)} keys, e.g. {(wrong + stale)[:3]}"
            )

    # --- the watches ----------------------------------------------------------------------------------------------

    async def _follow(self, member: int) -> None:
        while True:
            with contextlib.suppress(*TROUBLE):
                async for result in self._gateway.watch(member, self.revision + 1, silence=SILENCE_SECONDS):
                    if result.get("canceled"):
                        compacted = int(result.get("compact_revision", 0))
                        if compacted > self.revision + 1:
                            self.gaps.append(f"revisions {self.revision + 1} to {compacted} were compacted unseen")
                            self.revision = compacted - 1
                        break
                    self._take(result)
            await asyncio.sleep(0.3)

    def _take(self, result: dict[str, Any]) -> None:
        now = time.monotonic()
        before = self.revision
        stroke = self._stroke
        for raw in result.get("events", ()):
            item = raw["kv"]
            revision = int(item["mod_revision"])
            if revision <= before:
                continue  # another watch told it
            if revision > self.revision:
                if revision != self.revision + 1:
                    self.gaps.append(f"revisions {self.revision + 1} to {revision - 1} were not seen")
                self.revision, self._stroke = revision, stroke
            key, deleted = decoded(item["key"]), raw.get("type") == "DELETE"
            value = decoded(item.get("value", "")) if len(item.get("value", "")) <= KEPT_BYTES else ""
            if key == CLOCK:
                stroke = max(stroke, float(value))
            self._keep(Event(revision, key, value, deleted, self._stroke, now, int(item.get("lease", 0))))
        self._stroke = stroke
        if self.revision > before:
            self._news.set()

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        if event.deleted:
            self.values.pop(event.key, None)
        else:
            self.values[event.key] = event.value

    # --- the members ----------------------------------------------------------------------------------------------

    async def _compare_members(self) -> None:
        """One key, written once and read from each: whoever shows the same writing shows it at the same revision."""
        for number in count():
            await asyncio.sleep(PROBE_SECONDS)
            with contextlib.suppress(*TROUBLE):
                await self._gateway.put(PROBE.encode(), str(number).encode())
                shown = [await self._gateway.item(PROBE.encode(), member=n) for n in range(len(self._gateway.urls))]
                revisions = {revision for value, revision in shown if value == str(number)}
                if len(revisions) > 1:
                    self.gaps.append(f"{CONTRADICTION}: one writing is at revisions {revisions}")
                    return

    # --- the metronome --------------------------------------------------------------------------------------------

    async def _beat(self, tasks: asyncio.TaskGroup) -> None:
        for number in count():
            if not self._strokes.locked():
                tasks.create_task(self._strike(number % len(self._gateway.urls)))
            await asyncio.sleep(STROKE_SECONDS)

    async def _strike(self, member: int) -> None:
        async with self._strokes:
            with contextlib.suppress(*TROUBLE):
                await self._gateway.put(CLOCK.encode(), repr(time.monotonic()).encode(), member=member)
