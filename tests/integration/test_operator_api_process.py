"""The control plane as a process says where its operator API is, and serves it until it ends."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from leasehold.cli.processes import start_daemon
from leasehold.protocol.etcd.process import EtcdProcess
from tests.integration.operator_world import token_file

pytestmark = pytest.mark.etcd


async def test_a_process_serves_its_api_at_the_addresses_it_tells(
    real_etcd: EtcdProcess | None, tmp_path: Path
) -> None:
    if real_etcd is None:
        pytest.skip("no etcd here")
    token_file(tmp_path)
    tenant = f"t-{uuid4().hex[:8]}"
    (tmp_path / "control-plane.yaml").write_text(
        f"tenant: {tenant}\netcd: {{endpoints: ['{real_etcd.endpoint}']}}\nrules: {{etcd: true}}\n"
        "http: {listen: '127.0.0.1:0'}\n"
        "operator: {listen: '127.0.0.1:0', http: '127.0.0.1:0', tokens: tokens}\n"
    )
    log = tmp_path / "log"
    child = await start_daemon(
        "control plane",
        [sys.executable, "-m", "leasehold.control_plane", "--config", str(tmp_path / "control-plane.yaml")],
        log=log,
    )
    try:
        assert child.ready["operator"].startswith("127.0.0.1:")
        url = f"http://{child.ready['operator_http']}/v1/operator"
        headers = {"Authorization": "Bearer vera-token"}
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.get(f"{url}/WhoAmI") as answer:
                known = await answer.json()
            assert (known["who"], known["role"], known["tenant"]) == ("vera", "viewer", tenant)
            # A watch that is open does not keep it from ending.
            async with http.get(f"{url}/Watch") as watch:
                assert (await watch.content.readline()).startswith(b"event:")
                assert await child.stop() == 0, log.read_text()
    finally:
        await child.kill()
