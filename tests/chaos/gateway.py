"""etcd by its JSON gateway: the witness's own reader and the nemesis's hand. Nothing of the product is imported."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

EVERYTHING = b"\0"
"""As key and as range end: all keys."""
TROUBLE = (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError)


class Refused(ValueError):
    """etcd answered with an error."""


class Gateway:
    """All members of one cluster. Times out; never repeats what was refused."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = list(urls)
        self._session: aiohttp.ClientSession | None = None
        self._good = 0

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, path: str, body: dict[str, Any], *, member: int, within: float = 1.0) -> dict[str, Any]:
        """One member. Raises one of ``TROUBLE``."""
        session = self._ready()
        timeout = aiohttp.ClientTimeout(total=within)
        async with session.post(f"{self.urls[member]}/v3/{path}", json=body, timeout=timeout) as answer:
            said: dict[str, Any] = await answer.json(content_type=None)
        if answer.status != 200:
            raise Refused(f"{path}: {said.get('error') or said}")
        return said

    async def ask_any(self, path: str, body: dict[str, Any], *, within: float = 1.0) -> dict[str, Any]:
        """The member that answered last, or else the others. Raises what the last one raised."""
        for turn in range(len(self.urls)):
            member = (self._good + turn) % len(self.urls)
            try:
                said = await self.ask(path, body, member=member, within=within)
            except TROUBLE:
                if turn == len(self.urls) - 1:
                    raise
                continue
            self._good = member
            return said
        raise AssertionError("no members")

    async def revision(self, *, within: float) -> int:
        """The newest, by a linearizable read; 0 if etcd does not answer in time."""
        try:
            said = await self.ask("kv/range", {"key": encoded(b"/nothing")}, member=self._good, within=within)
        except TROUBLE:
            return 0
        return int(said["header"]["revision"])

    async def put(self, key: bytes, value: bytes, *, member: int | None = None, within: float = 2.0) -> int:
        """Returns the revision. Raises one of ``TROUBLE``."""
        body = {"key": encoded(key), "value": encoded(value)}
        if member is None:
            said = await self.ask_any("kv/put", body, within=within)
        else:
            said = await self.ask("kv/put", body, member=member, within=within)
        return int(said["header"]["revision"])

    async def item(self, key: bytes, *, member: int, within: float = 2.0) -> tuple[str, int]:
        """Value and mod revision as one member has it, after a linearizable read. Raises one of ``TROUBLE``."""
        said = await self.ask("kv/range", {"key": encoded(key)}, member=member, within=within)
        [found] = said["kvs"]
        return decoded(found["value"]), int(found["mod_revision"])

    async def read_all(self) -> tuple[int, dict[str, tuple[int, int]]]:
        """Every key with its create and mod revision, and the revision of the read."""
        body = {"key": encoded(EVERYTHING), "range_end": encoded(EVERYTHING), "keys_only": True}
        said = await self.ask_any("kv/range", body, within=10.0)
        keys = {
            decoded(item["key"]): (int(item["create_revision"]), int(item["mod_revision"]))
            for item in said.get("kvs", ())
        }
        return int(said["header"]["revision"]), keys

    async def status(self, member: int, *, within: float = 0.7) -> dict[str, Any] | None:
        """Of one member, or ``None``."""
        try:
            return await self.ask("maintenance/status", {}, member=member, within=within)
        except TROUBLE:
            return None

    async def leader(self) -> int | None:
        """The index of the member that leads, as most of those that answer say; ``None``: nobody does."""
        statuses = await asyncio.gather(*(self.status(number) for number in range(len(self.urls))))
        newest = max((status for status in statuses if status), key=lambda one: int(one["raftTerm"]), default=None)
        for number, status in enumerate(statuses):
            if status and newest and status["header"]["member_id"] == newest.get("leader"):
                return number
        return None

    async def alarms(self) -> list[str]:
        said = await self.ask_any("maintenance/alarm", {"action": "GET"})
        return [str(alarm.get("alarm", "NONE")) for alarm in said.get("alarms", ())]

    async def disarm(self) -> None:
        """Every alarm, member by member: etcd knows no "all"."""
        for alarm in (await self.ask_any("maintenance/alarm", {"action": "GET"})).get("alarms", ()):
            await self.ask_any("maintenance/alarm", {**alarm, "action": "DEACTIVATE"})

    async def watch(self, member: int, start: int, *, silence: float) -> AsyncIterator[dict[str, Any]]:
        """Results of a watch on everything, as etcd words them. Raises one of ``TROUBLE``; also after ``silence``."""
        body = {
            "create_request": {"key": encoded(EVERYTHING), "range_end": encoded(EVERYTHING), "start_revision": start}
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_read=silence, sock_connect=2.0)
        async with self._ready().post(f"{self.urls[member]}/v3/watch", json=body, timeout=timeout) as answer:
            rest = bytearray()
            async for chunk in answer.content.iter_any():
                rest += chunk
                if b"\n" not in chunk:
                    continue
                *lines, tail = bytes(rest).split(b"\n")
                rest = bytearray(tail)
                for line in lines:
                    if line.strip():
                        yield json.loads(line)["result"]

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def decoded(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "replace")
