"""An etcd process of our own, for ``leasehold demo`` and for the tests. Not for production: it does not fsync.

It listens on the loopback interface only, keeps its data in a folder the caller gives, and never outlives us: the
kernel kills it when the thread that started it dies (``PR_SET_PDEATHSIG``, Linux).
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from leasehold.protocol.errors import LeaseholdError
from leasehold.protocol.etcd.binary import EtcdBinary
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig, TlsConfig
from leasehold.protocol.store import MemberStatus

HOST = "127.0.0.1"
_PR_SET_PDEATHSIG = 1


class EtcdDidNotStart(LeaseholdError):
    """etcd ended, or did not serve in time. ``str()`` carries the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """How to run one member. ``cluster`` maps the names of all members to their peer ports; empty means alone."""

    client_port: int
    peer_port: int
    name: str = "leasehold"
    cluster: dict[str, int] = field(default_factory=dict)
    server_tls: TlsConfig | None = None
    """The member's own ``cert`` and ``key``; with ``ca`` it also demands certificates of its clients."""
    extra: Sequence[str] = ()

    @property
    def endpoint(self) -> str:
        """Where clients reach it."""
        return f"{'https' if self.server_tls else 'http'}://{HOST}:{self.client_port}"


class EtcdProcess:
    """One member. May be started again after it ended: its data stays in the folder."""

    def __init__(self, binary: EtcdBinary, folder: Path, options: EtcdOptions) -> None:
        self._binary = binary
        self._folder = folder
        self._log = folder / f"{options.name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self.options = options

    @property
    def endpoint(self) -> str:
        """Where clients reach it."""
        return self.options.endpoint

    @property
    def pid(self) -> int:
        """Of the process that runs now. Raises ``ProcessLookupError`` when there is none."""
        return self._running().pid

    async def start(self) -> None:
        """Start it and return at once; ``wait_until_serving`` waits."""
        die_with_parent = _die_with_parent()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._binary.path,
                *self._arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    async def wait_until_serving(self, *, deadline: float, client_tls: TlsConfig | None = None) -> MemberStatus:
        """Until it answers and knows a leader. Raises ``EtcdDidNotStart``."""
        until = monotonic() + deadline
        config = EtcdConfig(endpoints=[self.endpoint], tls=client_tls, deadline_seconds=1.0)
        async with EtcdClient(config) as etcd:
            while monotonic() < until:
                if self._process is None or self._process.returncode is not None:
                    break
                [status] = await etcd.status()
                if isinstance(status, MemberStatus) and status.leader_id:
                    return status
                await asyncio.sleep(0.05)
        raise EtcdDidNotStart(f"etcd at {self.endpoint} does not serve; it wrote: {self._tail()}")

    def signal(self, number: signal.Signals) -> None:
        """``SIGSTOP`` freezes it, ``SIGCONT`` wakes it up."""
        self._running().send_signal(number)

    async def kill(self) -> None:
        """End it as a power failure would."""
        process = self._running()
        process.kill()
        await process.wait()

    async def stop(self, *, patience: float = 5.0) -> None:
        """Ask it to end, and insist after ``patience`` seconds. One that does not run is no error."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            async with asyncio.timeout(patience):
                await process.wait()
        except TimeoutError:
            await self.kill()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            raise ProcessLookupError(f"etcd at {self.endpoint} does not run")
        return self._process

    def _arguments(self) -> list[str]:
        options = self.options
        peer = f"http://{HOST}:{options.peer_port}"
        cluster = options.cluster or {options.name: options.peer_port}
        arguments = [
            f"--name={options.name}",
            f"--data-dir={self._folder / options.name}",
            f"--listen-client-urls={options.endpoint}",
            f"--advertise-client-urls={options.endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            "--initial-cluster=" + ",".join(f"{name}=http://{HOST}:{port}" for name, port in cluster.items()),
            "--log-level=error",
            "--unsafe-no-fsync",
        ]
        tls = options.server_tls
        if tls is not None:
            arguments += [f"--cert-file={tls.cert}", f"--key-file={tls.key}"]
            if tls.ca is not None:
                arguments += [f"--trusted-ca-file={tls.ca}", "--client-cert-auth"]
        return [*arguments, *options.extra]

    def _tail(self) -> str:
        try:
            return self._log.read_text(errors="replace")[-2000:] or "nothing"
        except OSError:
            return "nothing"


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now. Somebody may by the time they are used; then etcd says so and ends."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind((HOST, 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def _die_with_parent() -> Callable[[], None]:
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: little is safe between fork and exec

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_the_kernel
