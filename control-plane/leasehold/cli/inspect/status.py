"""``leasehold status``: reads etcd, asks the control planes, and says whether anything wants attention."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import aiohttp
import click

from leasehold.cli.inspect.standing import FAMILIES, Answer, rows, standing
from leasehold.cli.render import output_option, show
from leasehold.cli.target import Target, pass_target
from leasehold.operating.survey import Survey, take
from leasehold.protocol.etcd.client import EtcdClient


@click.command(
    epilog="""\b
Exit codes: 0 all is well, 1 braked, or something wants attention.
\b
Examples:
  leasehold status
  leasehold status -o json | jq .attention
  leasehold status && echo collecting
"""
)
@output_option
@pass_target
def status(target: Target, output: str) -> None:
    """Is this tenant being collected, and if not, why not?

    The brake (and by whom it was tripped), what vanished lately beside what would trip it, caps, warm-up, versions, the
    pinned cluster, the canary, shards, replicas and backlog. Control planes are asked at the address each announces.
    """
    told = look(target)
    show(output, told, ("what", "state", "more"), list(rows(told)))
    if not told["healthy"]:
        sys.exit(1)


def look(target: Target) -> dict[str, Any]:
    """Everything that ``status`` tells. Raises ``Failure`` if etcd cannot be read."""

    async def work(client: EtcdClient) -> tuple[Survey, dict[str, Answer]]:
        picture = await take(client, target.keys, FAMILIES, deadline=target.deadline)
        return picture, await _ask_all(picture, target.deadline)

    picture, answers = target.run(work)
    return {"tenant": target.tenant, "revision": picture.revision, **standing(picture, answers)}


async def _ask_all(picture: Survey, deadline: float) -> dict[str, Answer]:
    addresses = {name: found.record.address if found.record else "" for name, found in picture.replicas.items()}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=deadline)) as session:
        found = await asyncio.gather(*(_ask(session, address) for address in addresses.values()))
    return dict(zip(addresses, found, strict=True))


async def _ask(session: aiohttp.ClientSession, address: str) -> Answer:
    if not address:
        return {"problem": "it announces no address"}
    try:
        async with session.get(f"http://{address}/v1/status", allow_redirects=False) as answer:
            if answer.status != 200:
                return {"problem": f"{address} answers {answer.status}"}
            told = await answer.json()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return {"problem": f"{address}: {error or type(error).__name__}"}
    return told if isinstance(told, Mapping) else {"problem": f"{address} answers with something else"}
