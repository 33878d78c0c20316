"""A bug report helps, is bounded, and gives no secret away, wherever one was planted."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from click.testing import CliRunner

from leasehold.cli.__main__ import main
from leasehold.cli.bugreport import redaction
from leasehold.cli.bugreport.gathering import LARGEST_PART_BYTES
from leasehold.protocol.etcd.process import EtcdProcess
from tests.fakes.etcd import FakeEtcd

SECRET = "xq7-planted"


def planted(n: object) -> str:
    """A secret that nothing else contains."""
    return f"{SECRET}-{n}-{uuid4().hex[:8]}"


OWNERS = """
owners:
  - name: blob-store
    hosts: ["blobs.internal:80"]
    endpoint: http://blobs.internal
    headers: {{X-Api-Key: "{key}", X-Trace: "{trace}"}}
    header_files: {{X-Other: {other_file}}}
    auth: {{oauth2: {{token_url: "https://sso.internal/token", client_id: gc, client_secret_file: {client_file}}}}}
    delete: {{path: "/v1/blobs/{{id}}", precondition: never-reused}}
rules:
  - name: create-blob
    owner: blob-store
    type: blob
    on: create
    match: {{method: POST, path: "/v1/blobs", status: [201]}}
    id: {{json: id}}
    held_by: process
"""


def opened(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        return {one.name.split("/", 1)[1]: tar.extractfile(one).read().decode() for one in tar}  # type: ignore[union-attr]


def report(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.etcd
async def test_no_planted_secret_leaves_whatever_kind_it_is_of(tmp_path: Path, real_etcd: EtcdProcess | None) -> None:
    if real_etcd is None:
        pytest.skip("no etcd here")
    secrets = [planted(n) for n in range(12)]
    for n, name in enumerate(("other", "client", "etcd-password", "bearer")):
        (tmp_path / name).write_text(secrets[n] + "\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text(OWNERS.format(key=secrets[4], trace=secrets[5], other_file=tmp_path / "other",
                                   client_file=tmp_path / "client"))  # fmt: skip
    config = tmp_path / "sidecar.yaml"
    config.write_text(f"""
etcd: {{endpoints: ["https://me:{secrets[6]}@etcd:2379"], username: me, password_file: etcd-password}}
about: {{note: "${{TOKEN:-{secrets[7]}}}"}}
tokens: [{{bearer_token_file: bearer}}]
something: {{api_key: {secrets[8]}, nested: [{{secret: {secrets[9]}}}]}}
""")
    broken = tmp_path / "broken.yaml"
    broken.write_text(f"password: [{secrets[10]}")
    log = tmp_path / "sidecar.log"
    log.write_text("\n".join(f'{{"event": "x", "detail": "seen {secret}"}}' for secret in secrets[:10])
                   + f"\nAuthorization: Bearer {secrets[11]}\nGET /x?access_token={secrets[11]}&id=7\n")  # fmt: skip
    target = ("--etcd", real_etcd.endpoint, "--tenant", f"t-{uuid4().hex[:8]}")
    await asyncio.to_thread(report, *target, "apply", "-f", str(rules))
    out = tmp_path / "r.tar.gz"
    told = await asyncio.to_thread(
        report, *target, "bug-report", "-o", str(out), "--yes", "--config", str(config), "--config", str(broken),
        "--config", str(rules), "--log", str(log), "--ask", "127.0.0.1:1",
    )  # fmt: skip
    inside = opened(out)
    everything = told + "".join(f"{name}{content}" for name, content in inside.items())
    assert SECRET not in everything, [secret for secret in secrets if secret in everything]
    assert "blob-store" in inside["rules.json"], "the document itself is there"
    assert "client_secret_file" in inside["rules.json"]
    assert "/v1/blobs/{id}" in inside["config/rules.yaml"]
    assert inside["logs/sidecar.log"].count("<redacted>") >= 10
    assert "expected YAML" in inside["missing.txt"]
    assert {"versions.json", "doctor.json", "status.json", "counts.json", "etcd-status.json"} <= set(inside)
    assert all(name in told for name in inside if name not in {"README", "missing.txt"}), "told before it was written"
    assert out.stat().st_mode & 0o077 == 0


def test_with_etcd_down_it_says_what_is_missing_and_gives_the_rest(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\nthree\n")
    out = tmp_path / "r.tar.gz"
    report("--etcd", "http://127.0.0.1:1", "--timeout", "1", "bug-report", "-o", str(out), "--yes", "--log", str(log),
           "--lines", "2", "--config", str(tmp_path / "none.yaml"))  # fmt: skip
    inside = opened(out)
    assert inside["logs/a.log"] == "two\nthree\n"
    for name in ("status.json", "rules.json", "counts.json", "etcd-members.json", "config/none.yaml"):
        assert f"{name}: " in inside["missing.txt"]
        assert name not in inside


async def test_a_part_that_answers_without_end_is_cut(tmp_path: Path) -> None:
    async def endless(_: web.Request) -> web.Response:
        return web.Response(body=b"leasehold_x 1\n" * 300_000)

    app = web.Application()
    app.router.add_get("/metrics", endless)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"127.0.0.1:{runner.addresses[0][1]}"
    out = tmp_path / "r.tar.gz"
    try:
        async with FakeEtcd() as fake:
            await asyncio.to_thread(
                report, "--etcd", fake.endpoint, "bug-report", "-o", str(out), "--yes", "--ask", address
            )
    finally:
        await runner.cleanup()
    inside = opened(out)
    [name] = [name for name in inside if name.endswith("/metrics")]
    assert len(inside[name].encode()) <= LARGEST_PART_BYTES


def test_where_it_cannot_be_written_it_says_where_and_why(tmp_path: Path) -> None:
    out = tmp_path / "none" / "r.tar.gz"
    arguments = ["--etcd", "http://127.0.0.1:1", "--timeout", "0.5", "bug-report", "-o", str(out), "--yes"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert f"leasehold: {out}: cannot be written: No such file or directory" in result.output


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer {}", "authorization=Basic {}", '"Authorization": "Bearer {}"', "Cookie: session={}",
        "x-api-key: {}", '{{"password": "{}"}}', "password={}&x=1", "https://user:{}@host/path", "client_secret={}",
        "AWS4-HMAC-SHA256 Credential={}", "X-Amz-Signature={}", "X-Amz-Security-Token={}&a=b", "refresh_token: '{}'",
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n{}",
        "${{DB_PASSWORD:-{}}}", "${{ANY:-{}}}",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_goes_and_its_name_stays(line: str) -> None:
    secret = planted("look")
    assert secret not in redaction.text(line.format(secret))
    assert "<redacted>" in redaction.text(line.format(secret))


@pytest.mark.parametrize(
    "spelling", [lambda s: s, lambda s: s.replace('"', '\\"'), lambda s: s.replace('"', "%22").replace("/", "%2F")]
)
def test_a_known_secret_is_found_as_url_and_json_spell_it(spelling: Callable[[str], str]) -> None:
    secret = 'ab"cd/ef-gh'
    assert spelling(secret) not in redaction.text(f"x {spelling(secret)} y", [secret])


@pytest.mark.parametrize(
    ("name", "value"),
    [("password_file", "/run/pw"), ("bearer_token_file", "/run/t"), ("token_url", "https://sso/token"),
     ("endpoint", "http://blobs/"), ("client_id", "gc"), ("username", "me"), ("hosts", ["a:1"]),
     ("secret_in_body", True), ("idempotency_key", {"header": "Idempotency-Key"})],
)  # fmt: skip
def test_what_is_no_secret_stays(name: str, value: object) -> None:
    assert redaction.document({name: value}) == {name: value}
