"""When etcd is away, when input is bad, when configuration is wrong: the application never pays for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from leasehold.protocol.etcd.process import EtcdProcess
from tests.e2e.conftest import free_port
from tests.e2e.harness import World, eventually, http_json, http_text
from tests.e2e.owner import Owner, rules
from tests.e2e.test_collecting import pair, settled

pytestmark = [pytest.mark.etcd, pytest.mark.slow]
OUTAGE_SECONDS = float(os.environ.get("LEASEHOLD_TEST_OUTAGE_SECONDS", "8"))


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_an_etcd_outage_fails_no_call_and_loses_no_registration(
    here: World, owner: Owner, etcd: EtcdProcess, how: str
) -> None:
    await here.control_plane(here.write("rules.yaml", rules(owner, grace="4s")))
    program, _ = await pair(here, owner, rules(owner, extra_create="hold_deadline: 200ms", grace="4s"))
    before = await program.create()
    if how == "frozen":
        etcd.signal(signal.SIGSTOP)
    else:
        await etcd.kill()
    during = []
    ends = asyncio.get_running_loop().time() + OUTAGE_SECONDS
    while asyncio.get_running_loop().time() < ends:
        during.append(await program.create())
    assert len(during) > 3
    if how == "frozen":
        etcd.signal(signal.SIGCONT)
    else:
        await etcd.start()
    expected = dict.fromkeys([before, *during], "held")

    async def all_held() -> bool:
        return await here.resources() == expected

    await eventually(f"all {len(expected)} are registered", all_held, 30)
    await asyncio.sleep(6)  # a wrong sweep would happen now
    assert set(owner.blobs) == set(expected)
    assert owner.deletes() == []


async def test_an_unavailable_store_rejects_before_the_owner_sees_anything(
    here: World, owner: Owner, etcd: EtcdProcess
) -> None:
    strict = "commit: before-request\n    on_unavailable: reject\n    hold_deadline: 500ms"
    text = rules(owner, extra_create=strict)
    program, _ = await pair(here, owner, text)
    assert (await program.call("POST", "/v1/blobs", body={}))["status"] == 201
    seen = len(owner.ledger)
    etcd.signal(signal.SIGSTOP)
    answer = await program.call("POST", "/v1/blobs", body={})
    etcd.signal(signal.SIGCONT)
    assert answer["status"] == 503
    assert int(answer["headers"]["retry-after"]) >= 1
    assert len(owner.ledger) == seen

    async def works_again() -> bool:
        return (await program.call("POST", "/v1/blobs", body={}))["status"] == 201

    await eventually("creations work again", works_again)


BAD_ANSWERS = [
    b"not json", b"", b"{}", b'{"id": null}', b'{"id": ""}', b'{"id": true}', b'{"id": 1.5}', b'{"id": ["a"]}',
    b'{"id": {"a": 1}}', b'{"id": "a/b"}', b'{"id": ".."}', b'{"id": "a\\u0000b"}', b'{"id": "\\ud800"}',
    b'{"id": "\xff\xfe"}', b'{"id": "' + b"x" * 4096 + b'"}', b'["id"]', b'{"id": "a', b"\x00\x01\x02",
    b'{"id": "a\\r\\nb"}', b"[" * 10000,
]  # fmt: skip


async def test_ids_that_make_no_sense_register_nothing_and_harm_nothing(here: World, owner: Owner) -> None:
    program, sidecar = await pair(here, owner, rules(owner))
    for body in BAD_ANSWERS:
        owner.next_ids.append(body)
        answer = await program.call("POST", "/v1/blobs", body={})
        assert answer["status"] == 201, (body, answer)
        assert answer["body"] == body.decode("utf-8", "replace")
    good = await program.create()
    owner.next_ids.append({"id": 12345})
    await program.call("POST", "/v1/blobs", body={})
    assert set(await here.resources()) == {good, "12345"}
    metrics = await http_text(f"http://{sidecar.ready['admin']}/metrics")
    unusable = [line for line in metrics.splitlines() if "unusable" in line and "_total{" in line]
    assert sum(float(line.split()[-1]) for line in unusable) == len(BAD_ANSWERS), unusable


@pytest.mark.parametrize(
    "path",
    ["/v1/blobs/..%2f..%2fetc", "/v1/blobs/%ff%fe", "/v1/blobs/%00", "/v1/blobs/%2e%2e", "/v1/blobs/" + "y" * 4096],
)
async def test_paths_that_make_no_sense_register_nothing_and_harm_nothing(here: World, owner: Owner, path: str) -> None:
    program, _ = await pair(here, owner, rules(owner))
    answer = await program.call("PUT", path, body={})
    assert answer["status"] in {201, 400, 404}
    assert await here.resources() in ({}, {"../../etc": "held"})
    assert len(await program.create()) == 32


async def test_bytes_that_are_no_http_pass_as_they_are(here: World, owner: Owner) -> None:
    received = bytearray()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            received.extend(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = free_port()
    to = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    program = await here.program(f"http://127.0.0.1:{port}")
    file = here.write("rules.yaml", rules(owner))
    await here.sidecar(pid=program.pid, to=to, rules=file, listen=port)
    for junk in (
        b"\x16\x03\x01\x02\x00 not really TLS",
        b"GET \r\n\r\n\r\nxx",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        os.urandom(4096),
    ):
        received.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(junk)
        writer.write_eof()
        back = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert bytes(received) == junk
        assert back == junk
    server.close()


async def test_a_sidecar_starts_without_etcd_and_says_so(here: World, owner: Owner, etcd: EtcdProcess) -> None:
    await etcd.kill()
    program, sidecar = await pair(here, owner, rules(owner, extra_create="hold_deadline: 200ms"))
    blob = await program.create()
    ready = await http_json(f"http://{sidecar.ready['admin']}/readyz")
    assert ready["status"] == "degraded"
    assert ready["reasons"]
    await etcd.start()

    async def registered() -> bool:
        return await here.resources() == {blob: "held"}

    await eventually("registered once etcd is there", registered)


@pytest.mark.parametrize("name", ["leasehold-sidecar", "leasehold-control-plane"])
async def test_a_bad_configuration_lists_every_mistake_and_exits_with_78(here: World, name: str) -> None:
    config = here.write(
        "bad.yaml", "tenant: 'a b'\netcd: {endpoints: [], deadline: soon}\nnonsense: 1\nrules: {file: missing.yaml}\n"
    )
    process = await here.script(name, "--config", str(config))
    async with asyncio.timeout(20):
        code = await process._process.wait()
    said = process.log.read_text()
    assert code == 78, said
    for part in ("tenant", "etcd.endpoints", "nonsense"):
        assert part in said
    assert "Traceback" not in said
    missing = await here.script(name, "--config", str(here.folder / "nowhere.yaml"))
    assert await missing._process.wait() == 78


async def test_serving_processes_stop_within_five_seconds_of_sigterm(
    here: World, owner: Owner, etcd: EtcdProcess
) -> None:
    control_plane = await here.control_plane(here.write("rules.yaml", rules(owner)))
    program, sidecar = await pair(here, owner, rules(owner))
    await program.create()
    assert await sidecar.stop() == 0
    assert await control_plane.stop() == 0
    # And also when etcd does not answer.
    control_plane = await here.control_plane(here.write("rules.yaml", rules(owner)))
    _, sidecar = await pair(here, owner, rules(owner), "b")
    etcd.signal(signal.SIGSTOP)
    assert await sidecar.stop() == 0
    assert await control_plane.stop() == 0
    etcd.signal(signal.SIGCONT)


async def test_rules_in_etcd_are_applied_without_a_restart(here: World, owner: Owner) -> None:
    port = free_port()
    program = await here.program(f"http://127.0.0.1:{port}")
    config = here.write(
        "sidecar.yaml",
        f"""
tenant: {here.tenant}
service: maker
etcd: {{endpoints: ["{here.endpoint}"]}}
host: {{pid: {program.pid}}}
capture: [{{mode: upstream, listen: "127.0.0.1:{port}", to: "{owner.address}"}}]
rules: {{etcd: true}}
journal: {here.folder}/journal
admin: {{listen: "127.0.0.1:0"}}
""",
    )
    sidecar = await here.script("leasehold-sidecar", "--config", str(config))
    await sidecar.wait_ready()
    await program.create()
    assert await here.resources() == {}
    await here.leasehold("apply", "-f", str(here.write("rules.yaml", rules(owner))))

    async def applied() -> bool:
        blob = await program.create()
        return blob in await here.resources()

    await eventually("the new rules are in use", applied)
    for blob in await here.resources():
        await program.call("DELETE", f"/v1/blobs/{blob}")
    await settled(here)
    answer = json.loads(await here.leasehold("get", "rules", "-o", "json"))
    assert {rule["name"] for rule in answer} == {"create-blob", "put-blob", "use-blob", "delete-blob"}
