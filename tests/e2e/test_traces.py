"""One trace tells a resource's life, one correlation id names it in every log, and no secret is in any of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import free_port
from tests.e2e.harness import Process, Program, World, eventually
from tests.e2e.owner import Owner, rules
from tests.e2e.test_collecting import gone, settled
from tests.fakes.otlp import Collector

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
pytestmark = [pytest.mark.etcd, pytest.mark.slow]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as it:
        yield it


async def parts(here: World, owner: Owner, more: str = "", **options: str) -> tuple[Program, Process, Process]:
    text = rules(owner, extra_owner=options.pop("extra_owner", ""))
    plane = await here.control_plane(here.write("rules.yaml", text), more=more, **options)
    port = free_port()
    program = await here.program(f"http://127.0.0.1:{port}")
    sidecar = await here.sidecar(
        pid=program.pid, to=owner.address, rules=here.write("rules-a.yaml", text), listen=port, more=more, **options
    )
    return program, sidecar, plane


async def create(program: Program, **headers: str) -> str:
    answer = await program.call("POST", "/v1/blobs", body={"content": "x"}, headers=headers)
    assert answer["status"] == 201
    identity: str = json.loads(answer["body"])["id"]
    return identity


async def test_one_trace_leads_from_the_apps_call_to_the_delete_at_the_owner(
    here: World, owner: Owner, collector: Collector
) -> None:
    program, sidecar, plane = await parts(here, owner, f"tracing: {{endpoint: '{collector.url}'}}")
    blob = await create(program, traceparent=f"00-{TRACE}-{SPAN}-01")
    await program.kill()
    await gone(owner, blob)
    await settled(here)
    names = {"leasehold.registered", "leasehold.expired", "leasehold.condemned", "leasehold.swept", "DELETE"}
    await eventually("all spans arrived", lambda: collector.of(TRACE).keys() >= names)
    spans = collector.of(TRACE)
    registered, expired, condemned = (spans[f"leasehold.{name}"] for name in ("registered", "expired", "condemned"))
    swept, delete = spans["leasehold.swept"], spans["DELETE"]
    assert (registered.service, delete.service) == ("leasehold-sidecar", "leasehold-control-plane")
    assert registered.parent == SPAN, "the app's own span"
    assert {one.parent for one in (expired, condemned, swept)} == {registered.span_id}
    assert expired.links == [registered.span_id]
    assert condemned.links == [expired.span_id]
    assert swept.links == [condemned.span_id]
    assert delete.parent == swept.span_id
    assert owner.traces[f"/v1/blobs/{blob}"] == f"00-{TRACE}-{delete.span_id}-01", "what the owner was told"
    assert {one.attributes["leasehold.resource"] for one in spans.values()} == {f"blob-store/blob/{blob}"}
    times = [one.span.start_time_unix_nano for one in (registered, expired, condemned, delete)]
    assert times == sorted(times)
    assert await plane.stop() == await sidecar.stop() == 0


async def test_a_trace_that_the_app_does_not_sample_is_continued_and_told_to_nobody(
    here: World, owner: Owner, collector: Collector
) -> None:
    program, _, _ = await parts(here, owner, f"tracing: {{endpoint: '{collector.url}'}}")
    silent = await create(program, traceparent=f"00-{TRACE}-{SPAN}-00")
    told = await create(program)
    await program.kill()
    await gone(owner, silent)
    await gone(owner, told)
    await eventually("the other one is told", lambda: [one for one in collector.spans if one.name == "leasehold.swept"])
    assert collector.of(TRACE) == {}
    assert owner.traces[f"/v1/blobs/{silent}"].startswith(f"00-{TRACE}-")
    assert owner.traces[f"/v1/blobs/{silent}"].endswith("-00")
    assert len({one.trace_id for one in collector.spans}) == 1, "without a trace of the app's it has one of its own"


async def test_without_tracing_the_owner_is_still_told_the_apps_trace(here: World, owner: Owner) -> None:
    program, _, _ = await parts(here, owner)
    blob, plain = await create(program, traceparent=f"00-{TRACE}-{SPAN}-01"), await create(program)
    await program.kill()
    await gone(owner, blob)
    await gone(owner, plain)
    assert owner.traces == {f"/v1/blobs/{blob}": f"00-{TRACE}-{SPAN}-01", f"/v1/blobs/{plain}": ""}


async def test_a_collector_of_traces_that_is_down_changes_nothing(
    here: World, owner: Owner, collector: Collector
) -> None:
    collector.down = True
    program, sidecar, plane = await parts(here, owner, f"tracing: {{endpoint: '{collector.url}', timeout: 1s}}")
    blobs = [await create(program) for _ in range(5)]
    await program.kill()
    for blob in blobs:
        await gone(owner, blob)
    await settled(here)
    assert await plane.stop() == await sidecar.stop() == 0


def lines(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.log.read_text().splitlines()]


SECRETS = ("Bearer-of-the-app", "key-in-a-query", "cookie-of-the-app", "secret-of-ours", "etcd-never-sees")


async def test_every_line_says_whose_it_is_and_a_life_has_one_correlation_id_and_no_secret(
    here: World, owner: Owner, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("secret-of-ours")
    program, sidecar, plane = await parts(
        here, owner, log_level="debug",
        extra_owner=f"headers: {{X-Ours: etcd-never-sees}}\n    bearer_token_file: {secret}",
    )  # fmt: skip
    private = {"Authorization": "Bearer-of-the-app", "Cookie": "cookie-of-the-app"}
    answer = await program.call(
        "POST", "/v1/blobs?key=key-in-a-query", body={"content": "x"}, headers={**private, "X-Request-ID": "req-17"}
    )
    blob = json.loads(answer["body"])["id"]
    traced = await create(program, **private, traceparent=f"00-{TRACE}-{SPAN}-01")
    plain = await create(program)
    await program.kill()
    for one in (blob, traced, plain):
        await gone(owner, one)
    await settled(here)
    assert await plane.stop() == await sidecar.stop() == 0
    told = lines(sidecar) + lines(plane)
    assert {line["tenantId"] for line in told} == {here.tenant}
    found: dict[str, set[str]] = {}
    for line in told:
        if "resource" in line:
            found.setdefault(line["resource"].rpartition("/")[2], set()).add(line["correlationId"])
    assert (found[blob], found[traced]) == ({"req-17"}, {TRACE})
    assert len(found[plain]) == 1
    assert "" not in found[plain]
    for name in ("registered", "condemned", "sweep_sent", "owner_called", "swept"):
        about = [line for line in told if line["event"] == name]
        assert {line["resource"].rpartition("/")[2] for line in about} == {blob, traced, plain}, name
        if name in {"registered", "owner_called"}:
            assert all(line["latencyMs"] >= 0 for line in about)
    texts = sidecar.log.read_text() + plane.log.read_text()
    assert [secret for secret in SECRETS if secret in texts] == []
