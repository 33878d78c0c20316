"""A control plane with its operator API, and both ways to call it: a real grpcio client, and HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import betterproto2
import grpc
import grpc.aio

from leasehold import v1
from leasehold.control_plane.app import ControlPlane
from leasehold.control_plane.operator.config import OperatorConfig
from leasehold.protocol.rules import RuleSet
from tests.unit.control_plane.world import World

TOKENS = {"vera": "viewer", "otto": "operator", "ada": "admin"}


def token_file(folder: Path) -> Path:
    """Everybody's token is their name and `-token`."""
    lines = [f"{n} {role} * sha256:{hashlib.sha256(f'{n}-token'.encode()).hexdigest()}" for n, role in TOKENS.items()]
    file = folder / "tokens"
    file.write_text("# who role tenant digest\n" + "\n".join(lines) + "\n")
    return file


class Face:
    """Calls one API, both ways."""

    def __init__(self, plane: ControlPlane, http: aiohttp.ClientSession, channel: grpc.aio.Channel) -> None:
        assert plane.operator is not None
        assert plane.operator.http is not None
        self.plane, self.http, self.channel = plane, http, channel
        self.url = f"http://127.0.0.1:{plane.operator.http[1]}/v1/operator"
        self.rpc_kinds = {path.rpartition("/")[2]: handler for path, handler in v1.OperatorBase().__mapping__().items()}

    async def post(self, method: str, body: Any = None, who: str | None = "ada", **more: Any) -> tuple[int, Any]:
        headers = {**({"Authorization": f"Bearer {who}-token"} if who else {}), **more.pop("headers", {})}
        data = {"json": body if body is not None else {}} if "data" not in more else {}
        async with self.http.post(f"{self.url}/{method}", headers=headers, **data, **more) as answer:
            return answer.status, await answer.json(content_type=None)

    async def ok(self, method: str, body: Any = None, who: str = "ada") -> Any:
        status, answer = await self.post(method, body, who)
        assert status == 200, answer
        return answer

    async def get(self, method: str, who: str | None = "ada", **query: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {who}-token"} if who else {}
        async with self.http.get(f"{self.url}/{method}", headers=headers, params=query) as answer:
            return answer.status, await answer.json(content_type=None)

    async def rpc(self, method: str, message: betterproto2.Message, who: str | None = "ada") -> Any:
        """Raises ``grpc.aio.AioRpcError``."""
        kind = self.rpc_kinds[method].reply_type
        call = self.channel.unary_unary(
            f"/leasehold.v1.Operator/{method}", request_serializer=bytes, response_deserializer=kind.parse
        )
        metadata = [("authorization", f"Bearer {who}-token")] if who else []
        return await call(message, metadata=metadata, timeout=10)


@asynccontextmanager
async def facing(here: World, rule_set: RuleSet, folder: Path | None, **more: Any) -> AsyncIterator[Face]:
    """Without a folder there are no tokens, so nobody needs one."""
    config = OperatorConfig(
        ("127.0.0.1", 0),
        ("127.0.0.1", 0),
        tokens=token_file(folder) if folder else None,
        loopback=True,
        origins=frozenset(("https://console.example",)),
    )
    plane = await here.leading(rule_set, operator=config, **more)
    assert plane.operator is not None
    await plane.operator.open()
    assert plane.operator.grpc is not None
    try:
        async with (
            aiohttp.ClientSession() as http,
            grpc.aio.insecure_channel(f"127.0.0.1:{plane.operator.grpc[1]}") as channel,
        ):
            yield Face(plane, http, channel)
    finally:
        await plane.operator.close()
