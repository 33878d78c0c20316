"""Two network namespaces with a wire between them: an app's and an owner's. Gone afterwards, whatever happens.

The test itself stays outside. What it serves in there (owners, etcd) has sockets that were made inside: a socket
belongs to the namespace of the thread that made it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

CLONE_NEWNET = 0x40000000
TOOLS = ("ip", "nft", "setpriv")
APP4, OWNER4 = "10.77.0.1", "10.77.0.2"
APP6, OWNER6 = "fd77::1", "fd77::2"
SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, env={**os.environ, "PATH": SBIN})


@dataclass(frozen=True)
class Namespace:
    name: str

    def command(self, *arguments: str, user: int | None = None) -> list[str]:
        """To run something in here, as this user and the group of the same number."""
        become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return ["ip", "netns", "exec", self.name, *become, *arguments]

    def run(self, *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments, user=user)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def socket(self, address: str, port: int) -> socket.socket:
        """A bound socket of this namespace."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            handle = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address, port))
                made.append(sock)
            except OSError as error:
                made.append(error)
            finally:
                os.close(handle)

        thread = threading.Thread(target=make)  # a thread of its own: its namespace dies with it
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]


@contextlib.contextmanager
def wired() -> Iterator[tuple[Namespace, Namespace]]:
    """The app's namespace and the owner's. Skips where that is not permitted."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=SBIN) is None]
    if missing:
        pytest.skip(f"network namespaces need {', '.join(missing)} (Debian: nftables, iproute2, util-linux)")
    token = secrets.token_hex(4)
    app, owner = Namespace(f"lh-app-{token}"), Namespace(f"lh-owner-{token}")
    with contextlib.ExitStack() as stack:
        for namespace in (app, owner):
            try:
                ip("netns", "add", namespace.name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
            stack.callback(ip, "netns", "del", namespace.name)
            ip("-n", namespace.name, "link", "set", "lo", "up")
        if app.run("nft", "list", "ruleset").returncode:
            pytest.skip("nftables are not permitted here")
        ip("-n", app.name, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", owner.name)
        for namespace, four, six in ((app, APP4, APP6), (owner, OWNER4, OWNER6)):
            ip("-n", namespace.name, "address", "add", f"{four}/24", "dev", "wire")
            ip("-n", namespace.name, "address", "add", f"{six}/64", "dev", "wire", "nodad")
            ip("-n", namespace.name, "link", "set", "wire", "up")
        yield app, owner
