"""All objects of one kind, kept up by list and watch.

Laws:

- ``things`` is ``None`` until a whole list was read; what is not in a list that could not be read is not gone.
- A watch goes on where the list, or the watch before it, ended; when that is gone (410), everything is listed anew.
- It may be behind without knowing: what it shows is a reason to look (``read_now``), not to write.
- Trouble is waited out with a growing pause, for ever; what was known stays known meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import structlog

from leasehold.control_plane.kubernetes.api_server import ApiError, ApiServer, Expired
from leasehold.control_plane.kubernetes.kinds import API_VERSION, Declared, Kind, declared
from leasehold.protocol.ports import Clock

LONGEST_PAUSE_SECONDS = 30.0
log = structlog.get_logger()


class Mirror:
    """One kind. ``on_change`` is called whenever ``things`` changed, or may have."""

    def __init__(
        self, api: ApiServer, kind: Kind, clock: Clock, *, selector: str, jitter: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:  # fmt: skip
        self._api, self.kind, self._clock, self._selector = api, kind, clock, selector
        self._jitter, self._on_change = jitter, on_change
        self.path = f"/apis/{API_VERSION}/{kind.plural}"
        self.things: dict[str, Declared] | None = None
        self.trouble = f"{kind.plural} have not been listed yet"
        self._version = ""
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Expired as error:
                self._version = ""
                log.info("objects_listed_anew", kind=self.kind.name, reason=str(error))
            except ApiError as error:
                self.trouble = str(error)
                log.warning("objects_not_seen", kind=self.kind.name, error=str(error))
            await self._pause()

    async def _pause(self) -> None:
        # Only news end a row of failures: whoever ends every watch at once is not to be asked all the time.
        self._failures += 1
        ceiling = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(self._failures - 2, 10))
        await self._clock.sleep_until(self._clock.now() + ceiling * (0.5 + self._jitter() / 2))

    async def read_now(self) -> list[Declared]:
        """All objects there are, from the API server itself and not as remembered. Raises ``ApiError``."""
        items, _ = await self._api.list(self.path, self._selector)
        return [declared(self.kind, item) for item in items]

    async def _list(self) -> None:
        items, version = await self._api.list(self.path, self._selector)
        self.things = {thing.ref.name: thing for thing in (declared(self.kind, item) for item in items)}
        self._version, self.trouble = version, ""
        self._on_change()

    async def _watch(self) -> None:
        async with aclosing(self._api.watch(self.path, self._selector, self._version)) as events:
            async for kind, thing in events:
                self._take(kind, thing)
                self.trouble, self._failures = "", 0

    def _take(self, kind: str, thing: dict[str, Any]) -> None:
        version = (thing.get("metadata") or {}).get("resourceVersion")
        if isinstance(version, str):
            self._version = version
        if kind not in {"ADDED", "MODIFIED", "DELETED"} or self.things is None:
            return
        found = declared(self.kind, thing)
        if kind == "DELETED":
            self.things.pop(found.ref.name, None)
        else:
            self.things[found.ref.name] = found
        self._on_change()
