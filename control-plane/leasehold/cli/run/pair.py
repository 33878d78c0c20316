"""A program and the sidecar that speaks for it.

The order matters. The program's pid must exist before the sidecar can watch it, and the sidecar must serve before the
program may call anybody: so the program waits at a gate (``gate.py``), the sidecar starts, the gate opens. At the end
the sidecar outlives the program for a moment, so that it can report how its host ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from leasehold.cli.processes import Child, DidNotStart, dying_with_us, start_daemon
from leasehold.cli.run.configuration import derived, environment, proxy_address

if TYPE_CHECKING:
    from aiohttp import ClientSession

GATE = Path(__file__).with_name("gate.py")
REPORT_SECONDS = 5.0
"""How long a sidecar may take to report its host's end before we stop it anyway: then its lease tells, later."""


class Program:
    """A program at its gate, or past it. Its pid is that of the program from the very beginning."""

    def __init__(self, process: asyncio.subprocess.Process, gate: int) -> None:
        self.process = process
        self._gate = gate

    @property
    def pid(self) -> int:
        return self.process.pid

    def open(self, env: Mapping[str, str]) -> None:
        """Let it go, with this environment."""
        with contextlib.suppress(BrokenPipeError), os.fdopen(self._gate, "wb") as pipe:
            self._gate = -1
            pipe.write(json.dumps(dict(env)).encode())

    async def abandon(self) -> None:
        """It never started, and shall not."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
        await self.process.wait()


async def at_gate(
    arguments: Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    session: bool = False,
    death: signal.Signals = signal.SIGTERM,
) -> Program:
    """Start the gate for a program. ``session``: away from our terminal."""
    inner, outer = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(GATE), str(inner), *arguments,
            stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(inner,), start_new_session=session,
            preexec_fn=dying_with_us(death),
        )  # fmt: skip
    except BaseException:
        os.close(outer)
        raise
    finally:
        os.close(inner)
    return Program(process, outer)


async def beside(
    program: Program,
    text: str,
    source: Path,
    folder: Path,
    *,
    log: Path | None,
    name: str,
    log_level: str,
    death: signal.Signals,
) -> Child:
    """Start the sidecar for a program at its gate, from a configuration's text, and wait until it serves.

    Raises ``DidNotStart`` or ``BadConfiguration``; the program is then still at its gate.
    """
    config = folder / f"{name}.yaml"
    variables = {"HOSTNAME": socket.gethostname(), **os.environ}  # as the sidecar itself has them
    config.write_text(derived(text, source, program.pid, variables))
    arguments = [sys.executable, "-P", "-m", "leasehold.sidecar", "--config", str(config), "--log-level", log_level]
    return await start_daemon(f"sidecar {name}", arguments, log=log, death=death)


def let_go(program: Program, sidecar: Child, env: Mapping[str, str]) -> None:
    """Open the gate: the program's environment is ``env``, with its HTTP going through the sidecar.

    Raises ``DidNotStart`` when the sidecar does not say where that is.
    """
    proxy = proxy_address(sidecar.ready)
    if proxy is None:
        raise DidNotStart(f"{sidecar.name} did not say where its forward proxy listens: {sidecar.ready}", None)
    program.open(environment(env, proxy))


async def until_reported(sidecar: Child, deadline: float = REPORT_SECONDS) -> bool:
    """Wait until the sidecar has reported its host's end and has nothing left to write. Bounded; ``False`` if not."""
    admin = sidecar.ready.get("admin")
    if admin is None:
        return False
    import aiohttp  # here: a quarter of a second that the program need not wait for

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline), aiohttp.ClientSession() as session:
            while sidecar.running:
                if await _has_reported(session, f"http://{admin}/v1/status"):
                    return True
                await asyncio.sleep(0.05)
    return False


async def _has_reported(session: ClientSession, url: str) -> bool:
    from aiohttp import ClientError

    try:
        async with session.get(url) as answer:
            state = await answer.json()
    except (ClientError, ValueError):
        return False
    return state.get("host") != "alive" and not state.get("ends_to_tell") and not state["journal"]["pending"]
