"""A relay in front of an owner that really runs, and what of its calls was registered."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from leasehold.sidecar.capture.listener import Address, RelaySettings
from leasehold.sidecar.capture.upstream import UpstreamListener
from leasehold.sidecar.observe.matching import Matcher
from leasehold.sidecar.ports import Outcome
from tests.fakes.relay import CountingMetrics, ManualRegistrar, Rules, rules

STORE = """
owners:
  - name: store
    hosts: ["127.0.0.1:{port}"]
    endpoint: http://127.0.0.1:{port}
    delete: {{method: DELETE, path: "/v1/blobs/{{id}}", precondition: never-reused}}
rules:
  - name: post
    owner: store
    type: blob
    on: create
    match: {{method: POST, path: "/v1/blobs", status: [201]}}
    id: {{json: id}}
    held_by: process
  - name: put
    owner: store
    type: blob
    on: create
    match: {{method: PUT, path: "/v1/blobs/{{id}}", status: [200, 201]}}
    id: {{path: id}}
    held_by: process
    commit: before-request
  - name: get
    owner: store
    type: blob
    on: use
    match: {{method: GET, path: "/v1/blobs/{{id}}", status: [200]}}
    id: {{path: id}}
    held_by: process
  - name: delete
    owner: store
    type: blob
    on: delete
    match: {{method: DELETE, path: "/v1/blobs/{{id}}", status: [204]}}
    id: {{path: id}}
"""


@dataclass
class Relayed:
    """Where apps connect to, and what the relay told."""

    port: int
    registrar: ManualRegistrar
    metrics: CountingMetrics

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def seen(self) -> list[tuple[str, str]]:
        """The rule and the id of everything observed."""
        return [(str(one.rule.name), str(one.resource.id)) for one in self.registrar.observations]


@contextlib.asynccontextmanager
async def relay_to(port: int, text: str = STORE) -> AsyncIterator[Relayed]:
    """A relay whose registrar makes everything durable at once."""
    registrar, metrics = ManualRegistrar(Outcome.REGISTERED), CountingMetrics()
    view = Rules(Matcher.compile(rules(text.format(port=port))))
    relay = RelaySettings(registrar, view, metrics, drain_deadline=0.05)
    listener = UpstreamListener(Address("127.0.0.1", 0), Address("127.0.0.1", port), relay)
    _, listening = await listener.start()
    try:
        yield Relayed(listening, registrar, metrics)
    finally:
        await listener.close()
    assert (relay.budget.connections, relay.budget.held) == (0, 0), "whatever was taken is given back"


def program(name: str, package: str) -> str:
    """Where a program of Debian's is. Without it the test is skipped, but never in CI, which installs it."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is not None:
        return found
    why = f"{name} wanted (Debian: apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
