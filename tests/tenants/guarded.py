"""A real etcd with authentication on, two tenants whose roles our own command applied, and a user for each part."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from grpclib.client import Channel

from leasehold.protocol.etcd import rpc_pb2 as rpc
from leasehold.protocol.etcd.config import EtcdConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.etcd.rpc_grpc import AuthStub
from tests.etcd_process import running_etcd

LEASEHOLD = Path(sys.executable).with_name("leasehold")
OURS, THEIRS = "ours", "ours-2"
"""The second begins like the first: prefixes have to end where a name ends."""
USERS = {
    "sidecar": ("sidecar",),
    "web-sidecar": ("sidecar/web",),
    "control-plane": ("control-plane", "rules"),
    "reader": ("reader",),
    "operator": ("operator", "rules"),
}


@dataclass
class Guarded:
    """The server, and how each user of each tenant gets in."""

    server: EtcdProcess
    folder: Path

    def config(self, user: str) -> EtcdConfig:
        return EtcdConfig([self.server.endpoint], username=user, password_file=str(self.password_file(user)))

    def password_file(self, user: str) -> Path:
        return self.folder / f"password-{user}"

    def leasehold(self, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Our command, as this user."""
        who = ("--user", user, "--password-file", str(self.password_file(user)))
        command = [str(LEASEHOLD), "--etcd", self.server.endpoint, *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@asynccontextmanager
async def guarded_etcd(folder: Path, extra: Sequence[str] = ()) -> AsyncIterator[Guarded]:
    async with running_etcd(folder, extra=["--bcrypt-cost", "4", *extra]) as [server]:
        guarded = Guarded(server, folder)
        address = urlsplit(server.endpoint)
        async with Channel(address.hostname, address.port) as channel:
            stub = AuthStub(channel)
            await _user(guarded, stub, "root", ["root"])
            await stub.AuthEnable(rpc.AuthEnableRequest())
        for tenant in (OURS, THEIRS):
            for narrowed in ((), ("--service", "web", "--owner", "blob-store")):
                applied = guarded.leasehold("root", "etcd-roles", "--tenant", tenant, "--apply", *narrowed)
                assert applied.returncode == 0, applied.stderr
        root = await _token(guarded, address.hostname or "", address.port or 0)
        async with Channel(address.hostname, address.port) as channel:
            for tenant in (OURS, THEIRS):
                for user, parts in USERS.items():
                    named = [f"leasehold/{tenant}/{part}" for part in parts]
                    await _user(guarded, AuthStub(channel), f"{tenant}.{user}", named, root)
        yield guarded


async def _token(guarded: Guarded, host: str, port: int) -> dict[str, str]:
    async with Channel(host, port) as channel:
        password = guarded.password_file("root").read_text()
        reply = await AuthStub(channel).Authenticate(rpc.AuthenticateRequest(name="root", password=password))
    return {"token": reply.token}


async def _user(
    guarded: Guarded, stub: AuthStub, name: str, roles: Sequence[str], metadata: dict[str, str] | None = None
) -> None:
    guarded.password_file(name).write_text(f"pw-of-{name}")
    await stub.UserAdd(rpc.AuthUserAddRequest(name=name, password=f"pw-of-{name}"), metadata=metadata)
    for role in roles:
        await stub.UserGrantRole(rpc.AuthUserGrantRoleRequest(user=name, role=role), metadata=metadata)
