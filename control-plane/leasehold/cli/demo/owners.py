"""The two owners, and what they really hold.

S3 is moto's server, a real S3 API that real clients speak to; asked by boto3, like anybody would. ``depot`` is ours,
a process like any other, asked by plain HTTP. Both are asked directly here, past every sidecar.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from leasehold.cli.processes import Child, DidNotStart, start, start_daemon
from leasehold.protocol.etcd.process import free_ports
from leasehold.protocol.names import OwnerName, Resource, ResourceId, TypeName

RULES_FILE = Path(__file__).with_name("rules.yaml")
BUCKET = "demo-bucket"
KINDS = ("crates", "parcels", "tickets")
START_SECONDS = 30.0
CALL_SECONDS = 10.0
OBJECTS, DEPOT = OwnerName("objects"), OwnerName("depot")
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=collector/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
"""moto lets anybody at private objects whose Authorization header has the right shape; it checks no signature."""


def aws_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Credentials for a server that accepts any, and nothing of the user's own AWS configuration."""
    kept = {name: value for name, value in base.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def resource(kind: str, name: str) -> Resource:
    """A program speaks of types and ids; which owner has them is the demo's knowledge."""
    return Resource(OBJECTS if kind == "object" else DEPOT, TypeName(kind), ResourceId(name))


class Owners:
    """Both, running. ``s3`` and ``depot`` are ``host:port``."""

    def __init__(self, s3: str, depot: str, children: Sequence[Child]) -> None:
        self.s3 = s3
        self.depot = depot
        self.children = children

    @classmethod
    async def start(cls, folder: Path) -> Owners:
        """Start both and wait until they serve. Raises ``DidNotStart``."""
        [port] = free_ports(1)
        started = await asyncio.gather(_start_s3(folder, port), _start_depot(folder), return_exceptions=True)
        s3, depot = started
        if isinstance(s3, BaseException) or isinstance(depot, BaseException):
            await asyncio.gather(*(child.kill() for child in started if isinstance(child, Child)))
            raise next(error for error in started if isinstance(error, BaseException))
        owners = cls(f"127.0.0.1:{port}", depot.ready["http"], (s3, depot))
        await asyncio.to_thread(lambda: owners.boto().create_bucket(Bucket=BUCKET))
        return owners

    def boto(self) -> Any:
        """A client of the S3 owner, straight to it."""
        import boto3  # here, for it takes half a second and comes with an extra
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.s3}",
            region_name="us-east-1",
            aws_access_key_id="witness",
            aws_secret_access_key="witness",  # noqa: S106 - any will do
            config=Config(proxies={}, connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS),
        )

    async def contents(self) -> set[Resource]:
        """Everything both owners have, as they themselves list it."""
        objects, *things = await asyncio.gather(
            asyncio.to_thread(self._objects), *(self._get(f"/v1/{kind}") for kind in KINDS)
        )
        found = {resource("object", key) for key in objects}
        for listing in things:
            found |= {resource(item["kind"][:-1], item["id"]) for item in listing["items"]}
        return found

    async def put_bystanders(self) -> set[Resource]:
        """One resource in each owner that no sidecar ever saw."""
        key = f"uploads/{uuid4()}"
        await asyncio.to_thread(lambda: self.boto().put_object(Bucket=BUCKET, Key=key, Body=b"of somebody else"))
        crate = await self._post("/v1/crates", {"content": "of somebody else"})
        return {resource("object", key), resource("crate", crate["id"])}

    async def set_faults(self, faults: Sequence[Mapping[str, object]]) -> None:
        """Switch these faults of the depot on, and all others off."""
        await self._post("/faults", list(faults))

    async def faults_met(self) -> int:
        """How many requests to the depot met a fault that changed their answer."""
        return sum(1 for entry in await self._get("/ledger") if entry["status"] >= 429)

    def _objects(self) -> list[str]:
        pages = self.boto().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    async def _get(self, path: str) -> Any:
        async with _session(CALL_SECONDS) as session, session.get(f"http://{self.depot}{path}") as answer:
            return await answer.json()

    async def _post(self, path: str, body: object) -> Any:
        async with _session(CALL_SECONDS) as session, session.post(f"http://{self.depot}{path}", json=body) as answer:
            answer.raise_for_status()
            return await answer.json()


def _session(seconds: float) -> aiohttp.ClientSession:
    # trust_env stays off: the demo's own questions go past every proxy.
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(seconds))


async def _start_depot(folder: Path) -> Child:
    arguments = [sys.executable, "-P", "-m", "leasehold.cli.demo.depot", "--listen", "127.0.0.1:0"]
    return await start_daemon("depot", arguments, log=folder / "depot.log")


async def _start_s3(folder: Path, port: int) -> Child:
    arguments = [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    child = await start("s3", arguments, log=folder / "s3.log", env=aws_environment(os.environ))
    address = f"127.0.0.1:{port}"
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _answers(address):
                if not child.running:
                    raise DidNotStart(f"moto's S3 server ended. {child.told()}", child.process.returncode)
                await asyncio.sleep(0.1)
    except TimeoutError:
        await child.kill()
        raise DidNotStart(f"moto's S3 server did not answer within {START_SECONDS:g} s. {child.told()}", None) from None
    except BaseException:
        await child.kill()
        raise
    return child


async def _answers(address: str) -> bool:
    try:
        async with _session(2) as session, session.get(f"http://{address}/moto-api/data.json") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
