"""A real Kubernetes API server, from the folder that ``KUBEBUILDER_ASSETS`` names (the convention of envtest).

Where no release can be fetched, Go's module proxy has the parts: a main package that runs ``NewAPIServerCommand`` of
``k8s.io/kubernetes/cmd/kube-apiserver/app``, with the requirements of that module's ``go.mod`` and each of its local
replacements (``./staging/src/k8s.io/...``) replaced by the module published at ``v0.<minor>.<patch>``.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from leasehold.protocol.etcd.process import free_ports
from tests.etcd_process import running_etcd

TOKEN = "an-administrator"
START_SECONDS = 90.0
JSON, MERGE = "application/json", "application/merge-patch+json"


def assets() -> Path | None:
    """The folder, if there is a ``kube-apiserver`` in it."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nowhere")
    return folder if (folder / "kube-apiserver").exists() else None


class Cluster:
    """What a user with all rights may do."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.token_file, self.ca_file = url, folder / "token", folder / "apiserver.crt"
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, kind: str = JSON
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer. ``fieldValidation=Strict`` is what kubectl asks for."""
        if self._session is None:
            tls = ssl.create_default_context(cafile=str(self.ca_file))
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        strict = {} if method in {"GET", "DELETE"} else {"fieldValidation": "Strict"}
        async with self._session.request(
            method, self.url + path, params=strict, json=body, headers=headers, timeout=aiohttp.ClientTimeout(30)
        ) as response:
            answer = await response.json() if response.content_type == JSON else {}
            return response.status, answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


@asynccontextmanager
async def running_api_server(binaries: Path, folder: Path) -> AsyncIterator[Cluster]:
    """With an etcd of its own; nothing of either is left afterwards."""
    (folder / "etcd").mkdir()
    async with running_etcd(folder / "etcd") as [etcd]:
        [port] = free_ports(1)
        certificates = folder / "certificates"
        certificates.mkdir()
        (certificates / "token").write_text(TOKEN)
        (certificates / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (certificates / "accounts.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        log = (folder / "api-server.log").open("wb")
        process = await asyncio.create_subprocess_exec(
            binaries / "kube-apiserver",
            f"--etcd-servers={etcd.endpoint}", f"--secure-port={port}", f"--cert-dir={certificates}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount", "--authorization-mode=RBAC",
            f"--token-auth-file={certificates}/tokens.csv", "--service-account-issuer=https://localhost",
            f"--service-account-key-file={certificates}/accounts.key",
            f"--service-account-signing-key-file={certificates}/accounts.key",
            stdout=log, stderr=log,
        )  # fmt: skip
        cluster = Cluster(f"https://127.0.0.1:{port}", certificates)
        try:
            await _until_ready(cluster, process)
            yield cluster
        finally:
            await cluster.close()
            if process.returncode is None:
                process.kill()
            await process.wait()
            log.close()


async def _until_ready(cluster: Cluster, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None, "the API server ended by itself: see api-server.log"
            try:
                status, _ = await cluster.ask("GET", "/version")
                if status == 200:
                    return
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.2)  # its certificate is not written yet, or it does not listen yet
