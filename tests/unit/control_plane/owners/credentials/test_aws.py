"""AWS signatures: against a verifier of our own, written after the specification, and against moto's S3."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from aiohttp import web
from msgspec.structs import replace

from leasehold.control_plane.owners.credentials import NoCredential, Outgoing
from leasehold.control_plane.owners.credentials.aws import AwsSignature, strictly_encoded
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.rules import Auth, Aws, DeleteCall, Precondition, ReadCall
from leasehold.protocol.rules import Owner as OwnerDocument
from tests.unit.control_plane.owners.test_http import Caller

ID, KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def keys(tmp_path: Path) -> Aws:
    (tmp_path / "id").write_text(f"{ID}\n")
    (tmp_path / "key").write_text(f"{KEY}\n")
    return Aws("eu-central-1", "s3", str(tmp_path / "id"), str(tmp_path / "key"))


def described(address: str, aws: Aws, precondition: Precondition = Precondition.NEVER_REUSED) -> OwnerDocument:
    return OwnerDocument(
        "store", ("store:80",), address, DeleteCall("/media/{+id}", precondition=precondition),
        ReadCall("/media/{+id}", "HEAD"), auth=Auth(aws=aws),
    )  # fmt: skip


def signature(request: web.Request, body: bytes, *, service: str) -> str:
    """What AWS Signature Version 4 says of a request, from its raw parts."""
    raw = request.headers["Authorization"]
    parts = dict(part.strip().split("=", 1) for part in raw.removeprefix("AWS4-HMAC-SHA256 ").split(","))
    names = parts["SignedHeaders"].split(";")
    assert {"host", "x-amz-date"} <= set(names)
    path = quote(unquote(request.raw_path), safe="-._~/")
    if service != "s3":
        path = quote(path, safe="-._~/")
    canonical = "\n".join(
        (request.method, path, "", *(f"{name}:{' '.join(request.headers[name].split())}" for name in names), "",
         parts["SignedHeaders"], hashlib.sha256(body).hexdigest())
    )  # fmt: skip
    _, day, region, named, end = parts["Credential"].split("/")
    assert named == service
    key = f"AWS4{KEY}".encode()
    for part in (day, region, named, end):
        key = hmac.digest(key, part.encode(), "sha256")
    scope = "/".join((day, region, named, end))
    text = "\n".join(
        ("AWS4-HMAC-SHA256", request.headers["X-Amz-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    assert hmac.new(key, text.encode(), "sha256").hexdigest() == parts["Signature"], canonical
    return parts["SignedHeaders"]


class Store:
    """Answers only what is signed well."""

    def __init__(self) -> None:
        self.signed: list[tuple[str, str, str]] = []
        self.wrong: list[str] = []
        self.service = "s3"

    async def answer(self, request: web.Request) -> web.Response:
        try:
            names = signature(request, await request.read(), service=self.service)
        except (AssertionError, KeyError) as error:
            self.wrong.append(repr(error))
            return web.Response(status=403)
        self.signed.append((request.method, unquote(request.raw_path), names))
        return web.Response(status=204, headers={"ETag": '"1"'})


@pytest.fixture
async def store() -> AsyncIterator[tuple[Store, str]]:
    it = Store()
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", it.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield it, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("name", ["plain", "a/b c", "ä+ö", "a:b@c=d&e", "100%", "a~b!c'(d)*e,f;g$h", "%2F"])
@pytest.mark.parametrize("service", ["s3", "execute-api"])
async def test_every_id_gets_a_signature_that_fits_what_is_sent(
    store: tuple[Store, str], keys: Aws, name: str, service: str
) -> None:
    it, address = store
    it.service = service
    document = described(address, replace(keys, service=service))
    async with Caller(replace(document, headers={"X-Team": "two  words"})) as caller:
        verdict, detail = await caller.sweep(name, first=False)
    assert it.wrong == []
    assert verdict is Verdict.PENDING, detail
    assert it.signed[0][:2] == ("HEAD", f"/media/{name}")
    assert it.signed[1][:2] == ("DELETE", f"/media/{name}")
    assert "x-team" in it.signed[1][2].split(";")


async def test_the_condition_is_signed_too(store: tuple[Store, str], keys: Aws) -> None:
    it, address = store
    async with Caller(described(address, keys, Precondition.IF_MATCH)) as caller:
        await caller.sweep("x", 'etag:"1"')
    assert it.wrong == []
    assert "if-match" in it.signed[1][2].split(";")
    assert "x-amz-content-sha256" in it.signed[1][2].split(";")


async def test_changed_keys_and_a_session_token_are_taken_up(
    store: tuple[Store, str], keys: Aws, tmp_path: Path
) -> None:
    it, address = store
    (tmp_path / "session").write_text("session-1")
    (tmp_path / "key").write_text("old")
    async with Caller(described(address, replace(keys, session_token_file=str(tmp_path / "session")))) as caller:
        assert await caller.sweep("x") == (Verdict.MISCONFIGURED, "DELETE 403")
        (tmp_path / "key").write_text(KEY)
        assert (await caller.sweep("x"))[0] is Verdict.PENDING
    assert "x-amz-security-token" in it.signed[0][2].split(";")


async def test_without_files_botocore_looks_where_it_always_does(
    store: tuple[Store, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    it, address = store
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    async with Caller(described(address, Aws("eu-central-1"))) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.PENDING
    assert it.wrong == []


async def test_no_keys_anywhere_is_for_an_operator_to_mend(
    monkeypatch: pytest.MonkeyPatch, store: tuple[Store, str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with Caller(described(store[1], Aws("eu-central-1"))) as caller:
        verdict, detail = await caller.sweep("x")
    assert (verdict, "botocore found no AWS credentials" in detail) == (Verdict.MISCONFIGURED, True)
    assert store[0].signed == store[0].wrong == []


async def test_an_installation_without_botocore_says_what_to_install(
    keys: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(NoCredential, match=r"leasehold\[aws\]"):
        await AwsSignature(keys).prove(Outgoing("GET", "http://h/x", {}))


async def test_botocore_never_keeps_the_event_loop_waiting(keys: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(self: object) -> dict[str, str]:
        asked.set()
        assert go_on.wait(20)
        return {}

    monkeypatch.setattr(AwsSignature, "_sign", lambda self, request: slow(self))
    signer = AwsSignature(keys)
    waiting = asyncio.create_task(signer.prove(Outgoing("GET", "http://h/x", {})))
    while not asked.is_set():
        await asyncio.sleep(0)  # would never end if the thread had the loop
    go_on.set()
    await waiting
    await signer.close()
    with pytest.raises(NoCredential, match="closing"):
        await signer.prove(Outgoing("GET", "http://h/x", {}))


def test_strict_encoding_changes_no_meaning() -> None:
    assert strictly_encoded("http://h:1/b/a+b:c%20d%2Fe") == "http://h:1/b/a%2Bb%3Ac%20d%2Fe"
    assert strictly_encoded("http://h") == "http://h"
    assert strictly_encoded("http://h/") == "http://h/"


# --- a real S3 API -------------------------------------------------------------------------------------------------


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any, Any]]:
    """Its address, and the keys of a user who may use S3. It checks signatures and policies from then on."""
    import boto3
    from moto import settings
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    given = {"endpoint_url": address, "region_name": "us-east-1"}
    root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
    iam = boto3.client("iam", **given, **root)
    iam.create_user(UserName="collector")
    allowed = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="collector", PolicyName="s3", PolicyDocument=allowed)
    made = iam.create_access_key(UserName="collector")["AccessKey"]
    s3 = boto3.client(
        "s3", **given, aws_access_key_id=made["AccessKeyId"], aws_secret_access_key=made["SecretAccessKey"]
    )
    s3.create_bucket(Bucket="media")
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    yield address, s3, made
    server.stop()


async def test_what_boto3_put_into_a_bucket_is_deleted_with_a_signature_that_moto_checks(
    moto: tuple[str, Any, Any], tmp_path: Path
) -> None:
    address, s3, made = moto
    await asyncio.to_thread(s3.put_object, Bucket="media", Key="films/one", Body=b"x")
    (tmp_path / "id").write_text(made["AccessKeyId"])
    (tmp_path / "key").write_text("not-the-key")
    aws = Aws("us-east-1", "s3", str(tmp_path / "id"), str(tmp_path / "key"))
    async with Caller(described(address, aws)) as caller:
        assert await caller.sweep("films/one") == (Verdict.MISCONFIGURED, "DELETE 403")
        listed = await asyncio.to_thread(s3.list_objects_v2, Bucket="media")
        assert [found["Key"] for found in listed["Contents"]] == ["films/one"]
        (tmp_path / "key").write_text(made["SecretAccessKey"])
        verdict, detail = await caller.sweep("films/one")
        assert verdict is Verdict.GONE, detail
    listed = await asyncio.to_thread(s3.list_objects_v2, Bucket="media")
    assert listed["KeyCount"] == 0
