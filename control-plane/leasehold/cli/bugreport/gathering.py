"""Asks everybody for what goes into a report. Whoever does not answer is missing from it, with the reason.

Bounds: ``LARGEST_PART_BYTES`` of each part, ``MOST_PARTS`` parts, and the deadline of the command for each call. Keys
are counted, never copied: ids are other people's names.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import platform
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import click
import yaml

from leasehold.cli.bugreport import redaction
from leasehold.cli.doctor.command import examine
from leasehold.cli.inspect.status import look
from leasehold.cli.render import structured
from leasehold.cli.target import Target
from leasehold.protocol.errors import LeaseholdError
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.keyspace import Family

LARGEST_PART_BYTES = 1024 * 1024
MOST_PARTS = 64
MOST_COUNTED = 100_000
"""Keys of one family; of more it is said that there are more."""
LARGEST_SECRET_BYTES = 65536
_CUT = "\n... cut: longer than a report may be\n"


@dataclass(slots=True)
class Report:
    """``parts`` by their name in the archive; ``missing``: what could not be had, and why."""

    parts: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)

    def add(self, name: str, content: str) -> None:
        if len(self.parts) >= MOST_PARTS:
            self.missing[name] = f"expected at most {MOST_PARTS} parts"
        else:
            self.parts[name] = content

    def redacted(self) -> Iterator[tuple[str, bytes]]:
        """Every part as it may leave, and no larger than it may be."""
        for name, content in self.parts.items():
            clean = redaction.text(content, self.secrets).encode("utf-8", "replace")
            if len(clean) > LARGEST_PART_BYTES:
                clean = clean[: LARGEST_PART_BYTES - len(_CUT)] + _CUT.encode()
            yield name, clean

    def told_missing(self) -> dict[str, str]:
        return {name: redaction.text(why, self.secrets) for name, why in self.missing.items()}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command was told to look at."""

    configs: Sequence[Path] = ()
    logs: Sequence[Path] = ()
    parts: Sequence[str] = ()
    lines: int = 1000


def gather(target: Target, wishes: Wishes) -> Report:
    """Everything that can be had. Raises nothing for what cannot."""
    report = Report()
    report.secrets |= _content(target.password_file)
    for path in wishes.configs:
        _config(report, path)
    _try(report, "versions.json", _versions)
    _try(report, "status.json", lambda: look(target))
    addresses = list(wishes.parts)
    asyncio.run(_from_etcd(report, target, addresses))
    asyncio.run(_from_parts(report, dict.fromkeys(addresses), target.deadline))
    for path in wishes.logs:
        _try(report, f"logs/{path.name}", lambda path=path: _last_lines(path, wishes.lines))  # type: ignore[misc]
    return report


def _try(report: Report, name: str, make: Callable[[], object]) -> None:
    try:
        made = make()
    except (LeaseholdError, click.ClickException, OSError, ValueError) as error:
        report.missing[name] = str(getattr(error, "message", error)) or type(error).__name__
    else:
        report.add(name, made if isinstance(made, str) else _json(made))


async def _try_to(report: Report, name: str, make: Callable[[], Awaitable[object]]) -> None:
    try:
        made = await make()
    except (LeaseholdError, aiohttp.ClientError, OSError, ValueError) as error:
        report.missing[name] = str(error) or type(error).__name__
    else:
        report.add(name, made if isinstance(made, str) else _json(made))


# --- etcd -------------------------------------------------------------------------------------------------------


async def _from_etcd(report: Report, target: Target, addresses: list[str]) -> None:
    async def documents() -> object:
        found = {family.value: await _documents(client, target, family) for family in (Family.OWNERS, Family.RULES)}
        _learn(report, found)
        return redaction.document(found)

    async def replicas() -> object:
        told = await _documents(client, target, Family.REPLICAS)
        addresses.extend(str(one["address"]) for one in told if isinstance(one, Mapping) and one.get("address"))
        return told

    async def counts() -> object:
        return {family.value: await _count(client, target, family) for family in Family}

    async with target.connect() as client:
        await _try_to(report, "doctor.json", lambda: examine(target))
        await _try_to(report, "etcd-status.json", lambda: client.status(deadline=target.deadline))
        await _try_to(report, "etcd-members.json", lambda: client.members(deadline=target.deadline))
        await _try_to(report, "rules.json", documents)
        await _try_to(report, "replicas.json", replicas)
        await _try_to(report, "counts.json", counts)


async def _documents(client: EtcdClient, target: Target, family: Family) -> list[Any]:
    found = await client.read(target.keys.family(family), deadline=target.deadline)
    return [_parsed(item.value) for item in found.items]


def _parsed(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return "(not JSON, left out)"


async def _count(client: EtcdClient, target: Target, family: Family) -> str:
    count = 0
    pages = client.pages(target.keys.family(family), deadline=target.deadline)
    async for page in pages:
        count += len(page.items)
        if count >= MOST_COUNTED:
            await pages.aclose()
            return f"{count} or more"
    return str(count)


# --- the parts themselves ---------------------------------------------------------------------------------------


async def _from_parts(report: Report, addresses: Mapping[str, None], deadline: float) -> None:
    timeout = aiohttp.ClientTimeout(total=deadline)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        for address in list(addresses)[:MOST_PARTS]:
            for path in ("metrics", "readyz", "v1/status"):
                name = f"parts/{''.join(c if c.isalnum() or c in '.-' else '_' for c in address)}/{path}"

                async def asked(url: str = f"http://{address}/{path}") -> str:
                    async with session.get(url, allow_redirects=False) as answer:
                        return (await answer.content.read(LARGEST_PART_BYTES)).decode("utf-8", "replace")

                await _try_to(report, name, asked)


# --- this machine -----------------------------------------------------------------------------------------------


def _versions() -> object:
    wanted = ("leasehold", "aiohttp", "grpclib", "protobuf", "msgspec", "uvloop", "hpack", "httptools")
    packages = {}
    for name in wanted:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return {"packages": packages, "python": platform.python_version(), "platform": platform.platform()}


def _config(report: Report, path: Path) -> None:
    def read() -> object:
        try:
            found = yaml.safe_load(_bounded(path))
        except (yaml.YAMLError, RecursionError) as error:
            # Not the parser's words: they quote the file.
            raise ValueError(f"{path}: expected YAML; left out, since nothing can be redacted in it") from error
        _learn(report, found, path.parent)
        return yaml.safe_dump(redaction.document(found), sort_keys=False, allow_unicode=True)

    _try(report, f"config/{path.name}", read)


def _learn(report: Report, found: Any, folder: Path = Path()) -> None:
    report.secrets.update(redaction.secrets_in(found))
    for file in redaction.secret_files_in(found):
        report.secrets |= _content(str(folder / file))


def _content(file: str | None) -> set[str]:
    """A secret's text, to be looked for. A file that cannot be read has nothing that could be found."""
    if file is None:
        return set()
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(LARGEST_SECRET_BYTES).decode("utf-8", "ignore")
    except OSError:
        return set()
    return {content.strip(), *content.split()}


def _bounded(path: Path) -> str:
    with path.open("rb") as opened:
        content = opened.read(LARGEST_PART_BYTES + 1)
    if len(content) > LARGEST_PART_BYTES:
        raise ValueError(f"{path}: expected at most {LARGEST_PART_BYTES} bytes")
    return content.decode("utf-8", "replace")


def _last_lines(path: Path, lines: int) -> str:
    with path.open("rb") as opened:
        opened.seek(0, 2)
        opened.seek(max(opened.tell() - LARGEST_PART_BYTES, 0))
        last = deque(opened.read(LARGEST_PART_BYTES).splitlines(), maxlen=lines)
    return b"\n".join(last).decode("utf-8", "replace") + "\n"


def _json(value: object) -> str:
    return json.dumps(structured(value), indent=2, ensure_ascii=False) + "\n"
