"""Leases of the nemesis's own, renewed by whoever answers: whether etcd takes away what was renewed is seen by them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

from tests.chaos.gateway import TROUBLE, Gateway, encoded

LEASES = 40
"""More than the 16 that a leader revokes at a time: the others' turn comes when those have timed out."""
KEY = "/chaos/leases/"


class Leases:
    """Enter it: so many leases, each with a key, are granted and kept alive. Leave it: they end."""

    def __init__(self, gateway: Gateway, ttl: int) -> None:
        self._gateway, self._ttl = gateway, ttl
        self._kept: dict[str, tuple[str, float]] = {}
        """By key: the lease, and when its last renewal that was answered had been sent."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for number in range(LEASES):
            with contextlib.suppress(*TROUBLE):
                lease = (await self._gateway.ask_any("lease/grant", {"TTL": str(self._ttl)}))["ID"]
                key = f"{KEY}{lease}-{number}"
                body = {"key": encoded(key.encode()), "value": "", "lease": lease}
                await self._gateway.ask_any("kv/put", body)
                self._kept[key] = lease, time.monotonic()
        self._task = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await asyncio.gather(*(self._end(lease) for lease, _ in self._kept.values()))

    def wronged(self, gone: dict[str, float]) -> list[str]:
        """The keys that were gone, by when for sure, before their leases can have been over."""
        return [key for key, (_, at) in self._kept.items() if gone.get(key, float("inf")) < at + self._ttl]

    def __len__(self) -> int:
        return len(self._kept)

    async def _renew(self) -> None:
        while True:
            await asyncio.gather(*(self._keep_alive(key, lease) for key, (lease, _) in self._kept.items()))
            await asyncio.sleep(self._ttl / 6)

    async def _keep_alive(self, key: str, lease: str) -> None:
        sent = time.monotonic()
        with contextlib.suppress(*TROUBLE):
            said = await self._gateway.ask_any("lease/keepalive", {"ID": lease})
            if int(said.get("result", {}).get("TTL", 0)) > 0:
                self._kept[key] = lease, sent

    async def _end(self, lease: str) -> None:
        with contextlib.suppress(*TROUBLE):
            await self._gateway.ask_any("lease/revoke", {"ID": lease})
