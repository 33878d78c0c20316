"""Processes we start: each in a session of its own, with a log, ended when asked and dead when we are.

A session of its own keeps the terminal's Ctrl-C away from it: we decide in which order things end. ``PR_SET_PDEATHSIG``
makes the kernel end it if we die without a word. Ending goes to the whole group, politely first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from leasehold.protocol.errors import LeaseholdError

READY_SECONDS = 30.0
STOP_SECONDS = 5.5
"""Ours promise to stop within 5 s of SIGTERM."""
_PR_SET_PDEATHSIG = 1


class DidNotStart(LeaseholdError):
    """A process ended before it was ready, or never was. ``status`` is its exit code, if it ended."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def dying_with_us(number: signal.Signals) -> Callable[[], None]:
    """To run between fork and exec: the kernel sends ``number`` when the thread that started it dies."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: little is safe between fork and exec

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))

    return ask_the_kernel


def send_signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal it, if it still runs.

    Not by the process's own ``send_signal``: that one polls, and where it finds the process dead it takes its exit code
    away from asyncio's watcher, which then makes one up (255).
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


class Child:
    """A process in a session of its own. ``ready`` is the line it said it is ready with, if it is a daemon."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path | None) -> None:
        self.name = name
        self.log = log
        self.ready: dict[str, Any] = {}
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """To the process alone. One that has ended is no error."""
        send_signal(self.process, number)

    def signal_group(self, number: signal.Signals) -> None:
        """To it and whatever it started. Gone is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def wait(self) -> int:
        return await self.process.wait()

    async def kill(self) -> None:
        """As a crash would: no warning."""
        self.signal_group(signal.SIGKILL)
        await self.wait()

    async def stop(self, patience: float = STOP_SECONDS) -> int:
        """Ask, wait, insist. Returns the exit code; one that has ended already is no error."""
        if self.running:
            self.send(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.wait()
        self.signal_group(signal.SIGKILL)
        return await self.wait()

    async def line(self, deadline: float) -> dict[str, Any] | None:
        """The next line of its output, as JSON; ``None`` when it ended or said something else.

        Raises ``TimeoutError``.
        """
        if self.process.stdout is None:
            raise ValueError(f"{self.name} was started without a pipe for its output")
        async with asyncio.timeout(deadline):
            said = await self.process.stdout.readline()
        with contextlib.suppress(json.JSONDecodeError):
            value = json.loads(said)
            return value if isinstance(value, dict) else None
        return None

    def told(self) -> str:
        """The end of its log, for messages."""
        if self.log is None:
            return ""
        try:
            return self.log.read_text(errors="replace")[-1500:].strip()
        except OSError:
            return ""


async def start(
    name: str,
    arguments: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    death: signal.Signals = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
) -> Child:
    """Start it, its output piped to us, its errors into ``log`` (default: to our own stderr)."""
    with log.open("ab") if log else contextlib.nullcontext() as stderr:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=env,
            start_new_session=True,
            preexec_fn=dying_with_us(death),
            pass_fds=pass_fds,
        )
    return Child(name, process, log)


async def start_daemon(
    name: str,
    arguments: Sequence[str],
    *,
    log: Path | None = None,
    death: signal.Signals = signal.SIGKILL,
    deadline: float = READY_SECONDS,
) -> Child:
    """Start what prints one ready line, and wait for that. Raises ``DidNotStart``; nothing is left running then."""
    child = await start(name, arguments, log=log, death=death)
    try:
        said = await child.line(deadline)
    except TimeoutError:
        await child.kill()
        raise DidNotStart(f"{name} was not ready after {deadline:g} s. {child.told()}", None) from None
    except asyncio.CancelledError:
        await child.kill()
        raise
    if said is None or said.get("event") != "ready":
        status = await child.stop()
        raise DidNotStart(f"{name} ended with exit code {status} before it was ready. {child.told()}", status)
    child.ready = said
    return child
