"""A full run with a secret of every kind: sweeps, refusals, a redirect, a bug report; and no output contains any."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web

from leasehold.protocol.etcd.process import free_ports
from leasehold.protocol.roles import Access, Grant
from leasehold.protocol.store import KeyRange
from tests.e2e.harness import Process, World, eventually, http_json, http_text, world
from tests.tenants.strict import StrictEtcd

pytestmark = [pytest.mark.etcd, pytest.mark.slow]
SECRETS = {name: f"sEcReT-{name}-{uuid4().hex}" for name in ("etcd", "bearer", "header", "client", "basic", "constant")}
KINDS = {
    "bearer": 'bearer_token_file: "{folder}/bearer"',
    "basic": 'auth: {{basic: {{username: gc, password_file: "{folder}/basic"}}}}',
    "oauth2": """auth:
      oauth2: {{token_url: "http://{sso}/token", client_id: gc, client_secret_file: "{folder}/client"}}""",
}
TOKEN = f"sEcReT-token-{uuid4().hex}"


class Places:
    """One server for all owners, their token server, and the place to which a redirect leads."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.blobs: dict[str, set[str]] = {}
        self.elsewhere = ""

    async def handle(self, request: web.Request) -> web.Response:
        here = request.headers["Host"]
        self.seen.append((here, f"{request.method} {request.path}", dict(request.headers)))
        if here == self.elsewhere:
            return web.Response(status=204)
        if request.path == "/token":
            return web.json_response({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300})
        kind = request.path.split("/")[1]
        if request.method == "POST":
            identity = uuid4().hex
            self.blobs.setdefault(kind, set()).add(identity)
            return web.json_response({"id": identity}, status=201)
        if kind == "away":
            return web.Response(status=307, headers={"Location": f"http://{self.elsewhere}/stolen"})
        if kind == "refuse":
            return web.Response(status=403, text="no")
        self.blobs[kind].discard(request.path.split("/")[-1])
        return web.Response(status=204)


@pytest.fixture
async def places() -> AsyncIterator[Places]:
    it = Places()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", it.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    for _ in range(2):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    first, second = (f"127.0.0.1:{address[1]}" for address in runner.addresses)
    it.elsewhere, it.here = second, first  # type: ignore[attr-defined]
    yield it
    await runner.cleanup()


def rules_for(here: str, folder: Path) -> str:
    owners, rules = [], []
    for name in ("bearer", "basic", "oauth2", "away", "refuse"):
        proof = KINDS.get(name, KINDS["bearer"]).format(folder=folder, sso=here)
        owners.append(f"""
  - name: {name}
    hosts: ["{name}.internal"]
    endpoint: http://{here}/{name}
    {proof}
    header_files: {{X-Header-File: "{folder}/header"}}
    headers: {{X-Constant: "{SECRETS["constant"]}"}}
    delete: {{path: "/blobs/{{id}}", precondition: never-reused}}""")
        rules.append(f"""
  - {{name: make-{name}, owner: {name}, type: blob, on: create, id: {{json: id}}, held_by: process, mode: sweep,
     grace: 2s, match: {{method: POST, path: "/{name}/blobs", status: [201]}}}}""")
    return "owners:" + "".join(owners) + "\nrules:" + "".join(rules) + "\n"


async def run(here: World, places: Places, folder: Path) -> str:
    """One life; everything that was printed, logged, served and reported."""
    at: str = places.here  # type: ignore[attr-defined]
    etcd = f'etcd: {{endpoints: ["{here.endpoint}"], username: me, password_file: {folder}/etcd}}'
    rules = here.write("rules.yaml", rules_for(at, folder))
    [port] = free_ports(1)
    program = await here.program(f"http://127.0.0.1:{port}")
    sidecar_yaml = here.write("sidecar.yaml", f"""
tenant: t
service: s
instance: one
{etcd}
lease: {{ttl: 3s}}
host: {{pid: {program.pid}}}
capture: [{{mode: upstream, listen: "127.0.0.1:{port}", to: "{at}"}}]
rules: {{etcd: true}}
journal: {folder}/journal
admin: {{listen: "127.0.0.1:0"}}
""")  # fmt: skip
    plane_yaml = here.write("plane.yaml", f"""
tenant: t
{etcd}
rules: {{file: {rules}}}
http: {{listen: "127.0.0.1:0"}}
""")  # fmt: skip
    plane = await here.script("leasehold-control-plane", "--config", str(plane_yaml), "--log-level", "debug")
    await plane.wait_ready()
    sidecar = await here.script("leasehold-sidecar", "--config", str(sidecar_yaml), "--log-level", "debug")
    await sidecar.wait_ready()
    await eventually("the rules are followed", lambda: rules_are_fine(sidecar))
    who = ("--user", "me", "--password-file", str(folder / "etcd"), "--tenant", "t")
    headers = {"Authorization": f"Bearer {SECRETS['bearer']}"}  # the app's own, which the sidecar sees go by
    for name in ("bearer", "basic", "oauth2", "away", "refuse"):
        answer = await program.call("POST", f"/{name}/blobs", body={}, headers={**headers, "Host": f"{name}.internal"})
        assert answer["status"] == 201, answer

    async def recorded() -> bool:
        return len(json.loads(await here.leasehold(*who, "get", "resources", "-o", "json"))) == 5

    await eventually("all are recorded", recorded, 30)
    await program.kill()
    await eventually("three are swept", lambda: not any(places.blobs[kind] for kind in KINDS), 60)
    await eventually(
        "two were refused", lambda: _asked(places, "DELETE /away") and _asked(places, "DELETE /refuse"), 60
    )
    printed = [
        await here.leasehold(*who, *command.split(), expect=None)
        for command in (
            "status",
            "doctor",
            "get sweeps",
            "get resources -o yaml",
            "shadow",
            "graph",
            "rules check rules.yaml",
        )
    ]
    for ready, paths in ((plane.ready["http"], ("metrics", "v1/status", "v1/resources", "v1/holders", "readyz")),
                         (sidecar.ready["admin"], ("metrics", "v1/status", "v1/holds", "readyz"))):  # fmt: skip
        printed += [await http_text(f"http://{ready}/{path}") for path in paths]
    report = folder / "report.tar"
    printed.append(await here.leasehold(
        *who, "bug-report", "--yes", "-o", str(report), "--config", str(sidecar_yaml), "--config", str(plane_yaml),
        "--config", str(rules), "--log", str(plane.log), "--log", str(sidecar.log), "--ask", sidecar.ready["admin"],
    ))  # fmt: skip

    printed.append(gzip.decompress(report.read_bytes()).decode("utf-8", "replace"))
    await sidecar.stop()
    await plane.stop()
    printed += [log.read_text() for log in folder.glob("leasehold*.log")]
    printed += [one.read_bytes().decode("utf-8", "replace") for one in (folder / "journal").rglob("*") if one.is_file()
                and one.name != "rules.json"]  # fmt: skip
    return "\n".join(printed)


async def rules_are_fine(sidecar: Process) -> bool:
    """Ready is said before the rules in etcd were read: a call in between is seen by no rule."""
    status = await http_json(f"http://{sidecar.ready['admin']}/v1/status")
    return status["rules"] == "fine"


def _asked(places: Places, what: str) -> bool:
    return any(call.startswith(what) for _, call, _ in places.seen)


@pytest.mark.timeout(240)
async def test_no_secret_of_any_kind_is_printed_logged_served_reported_or_sent_elsewhere(
    places: Places, tmp_path: Path
) -> None:
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(secret + "\n")

    users = {"me": [Grant(Access.READWRITE, KeyRange.under(b"/leasehold/1/t/"))]}
    async with StrictEtcd(users) as fake, world(tmp_path, fake.endpoint, "t") as here:
        everything = await run(here, places, tmp_path)
    assert "swept" in everything, "there is something to look through"
    leaked = [name for name, secret in {**SECRETS, "token": TOKEN}.items() if secret in everything]
    assert leaked == []
    assert b64encode(f"gc:{SECRETS['basic']}".encode()).decode() not in everything
    stolen = [call for at, call, _ in places.seen if at == places.elsewhere]
    assert stolen == [], "a redirect was followed"
    _each_owner_saw_only_its_own(places)


def _each_owner_saw_only_its_own(places: Places) -> None:
    own = {"basic": {"header", "constant", "basic"}, "oauth2": {"header", "constant"}, "token": set()}
    deletes = [(call, str(headers)) for _, call, headers in places.seen if not call.startswith("POST /b")]
    asked = [(call, text) for call, text in deletes if call.startswith("DELETE") or call == "POST /token"]
    assert len(asked) >= 6
    for call, text in asked:
        kind = call.split("/")[1]
        seen = {name for name, secret in SECRETS.items() if secret in text}
        assert seen <= own.get(kind, {"header", "constant", "bearer"}), (call, seen)
        assert "me" not in seen
        assert SECRETS["etcd"] not in text
        assert (TOKEN in text) == (kind == "oauth2"), call
