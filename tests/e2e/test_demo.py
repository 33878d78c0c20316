"""The demo is the main job: it has to come out right, be over in time, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LEASEHOLD = (sys.executable, "-P", "-m", "leasehold.cli")
MARK = "LEASEHOLD_DEMO_TEST"


def processes_of(mark: str) -> list[str]:
    """Processes that inherited our mark in their environment, whoever their parent is by now."""
    return list(_marked(f"{MARK}={mark}".encode()))


def _marked(entry: bytes) -> Iterator[str]:
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and entry in (folder / "environ").read_bytes().split(b"\0"):
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()


async def start(tmp_path: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *LEASEHOLD, "demo", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, MARK: str(tmp_path), "TMPDIR": str(tmp_path)},
    )  # fmt: skip


async def until_gone(mark: str) -> None:
    """What the kernel was told to kill goes a moment later."""
    async with asyncio.timeout(10):
        while processes_of(mark):
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.etcd
@pytest.mark.timeout(150)
async def test_the_demo_collects_everything_and_touches_nothing_in_use(tmp_path: Path) -> None:
    process = await start(tmp_path, "--json", "--within", "100")
    out, story = await process.communicate()
    assert process.returncode == 0, story.decode()
    verdict = json.loads(out)
    assert verdict["ok"] is True
    assert (verdict["leaked"], verdict["wrongly_deleted"]) == (0, 0)
    assert verdict["created"] == verdict["swept"] + verdict["deleted_by_program"] + verdict["kept"]
    assert verdict["bystanders"] == 2
    assert verdict["swept"] > 10
    await until_gone(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.etcd
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    process = await start(tmp_path)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"control plane" not in await process.stdout.readline():
            pass
        while len(processes_of(str(tmp_path))) < 8:
            await asyncio.sleep(0.05)
    process.send_signal(number)
    async with asyncio.timeout(20):
        await process.communicate()
    assert process.returncode != 0
    await until_gone(str(tmp_path))
    assert number is signal.SIGKILL or list(tmp_path.iterdir()) == []
