"""Child processes of a run: started, frozen, thawed, killed by their pid, and never outliving us."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
HOST = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
_LOWEST, _HIGHEST = 12000, 30000
"""Below what the kernel gives to outgoing connections: a part that restarts finds its port free."""


class Child:
    """One process. It may be started again after it ended, with the same command."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.env = dict(env or {})
        self._command = list(command)
        self._process: asyncio.subprocess.Process | None = None
        self._meant = False

    async def start(self) -> None:
        """``fell`` is told of it only once it runs: nobody else must start it a second time meanwhile."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                preexec_fn=_die_with_parent(),
            )
        self._meant = False

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    @property
    def fell(self) -> bool:
        """It ended, and nobody here ended it."""
        return self._process is not None and self._process.returncode is not None and not self._meant

    @property
    def state(self) -> str:
        """The kernel's letter: ``R``, ``S``, ``T`` (stopped); empty when there is no process."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] if self.pid else ""
        except OSError:
            return ""

    async def freeze(self) -> str:
        """Stop it; its state when every thread stands still."""
        self._signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        async with asyncio.timeout(5):
            while any(state != "T" for state in _states(threads)):
                await asyncio.sleep(0.01)
        return self.state

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def kill(self) -> float:
        """End it as a power failure would. When it was asked for."""
        asked = time.monotonic()
        self._meant = True
        self._signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
        return asked

    async def stop(self, within: float = 6.0) -> None:
        """SIGTERM, and SIGKILL for whoever does not listen."""
        self._meant = True
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._process.wait()
            await self.kill()

    async def ended(self) -> int:
        """Wait for its end."""
        return await self._process.wait() if self._process is not None else 0

    def said(self, text: str) -> int:
        """How often its log has this text."""
        try:
            return self.log.read_text(errors="replace").count(text)
        except OSError:
            return 0

    def _signal(self, number: signal.Signals) -> None:
        if self.pid and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


class Ports:
    """Free ports that nobody gets by chance meanwhile."""

    def __init__(self) -> None:
        self._given: set[int] = set()
        self._choose = random.Random(os.getpid())

    def next(self) -> int:
        for _ in range(1000):
            port = self._choose.randrange(_LOWEST, _HIGHEST)
            with socket.socket() as probe:
                try:
                    probe.bind((HOST, port))
                except OSError:
                    continue
            if port not in self._given:
                self._given.add(port)
                return port
        raise OSError(f"no free port between {_LOWEST} and {_HIGHEST}")


def _states(threads: Path) -> Iterator[str]:
    for thread in threads.glob("*/stat"):
        with contextlib.suppress(OSError):
            yield thread.read_text().rpartition(") ")[2][0]


def _die_with_parent() -> Callable[[], None]:
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: little is safe between fork and exec

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_the_kernel
