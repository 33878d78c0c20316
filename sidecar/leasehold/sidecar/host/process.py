"""The host as a process: the kernel tells at once when it ends (``pidfd``), whoever its parent is.

Its identity is the pid, its start time and the machine's boot, so that a recycled pid is nobody's continuation. How it
ended only a parent may know; that it ended is certain.
"""

from __future__ import annotations

import asyncio
import os
import select
from pathlib import Path

from leasehold.protocol.records import Ending

_START_TIME = 19
"""Field 22 of ``/proc/<pid>/stat``, counted from after the command's closing parenthesis (field 3 is 0)."""


class ProcessHost:
    """A ``Host`` that is one process. It never starts again: a new process has a new sidecar configuration."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self._pid = pid
        self._proc = proc
        self._pidfd = -1
        self._asked = False

    async def started(self) -> str | None:
        """The running process, or ``None`` when it has ended, or another has begun under its pid meanwhile.

        Raises ``OSError`` for one that lives but may not be looked at: to take it for dead would end its holds.
        """
        if self._asked:
            return None
        self._asked = True
        try:
            self._pidfd = os.pidfd_open(self._pid)
        except ProcessLookupError:
            return None
        identity = ""
        try:
            identity = self._identity()
        except OSError:
            if not _readable(self._pidfd):
                raise
        if _readable(self._pidfd):
            # It ended since; what was read may belong to a successor of its pid.
            os.close(self._pidfd)
            return None
        return identity

    async def ended(self, *, resumed: bool) -> Ending:
        del resumed
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(self._pidfd, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        return Ending.EXITED

    def _identity(self) -> str:
        stat = (self._proc / str(self._pid) / "stat").read_text(encoding="utf-8", errors="replace")
        # The command may contain anything, parentheses and spaces included: count from its end.
        start_time = stat[stat.rindex(")") + 2 :].split()[_START_TIME]
        boot = (self._proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{self._pid}.{start_time}.{boot[:8]}"


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
