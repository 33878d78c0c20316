"""boto3 and an S3 that checks signatures: what was signed arrives as it was signed, through the relay too."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest
from moto.server import ThreadedMotoServer

from tests.integration.clients.relaying import relay_to

S3_RULES = """
owners:
  - name: s3
    hosts: ["127.0.0.1:{port}"]
    endpoint: http://127.0.0.1:{port}
    delete: {{method: DELETE, path: "/bucket/{{+id}}", precondition: never-reused}}
rules:
  - name: multipart
    owner: s3
    type: object
    on: create
    match: {{method: POST, path: "/bucket/{{+key}}", status: [200]}}
    id: {{path: key}}
    held_by: process
  - name: put
    owner: s3
    type: object
    on: create
    match: {{method: PUT, path: "/bucket/{{+key}}", status: [200]}}
    id: {{path: key}}
    held_by: process
    commit: before-request
  - name: delete
    owner: s3
    type: object
    on: delete
    match: {{method: DELETE, path: "/bucket/{{+key}}", status: [204]}}
    id: {{path: key}}
"""
KEYS = ["a", "folder/b c.txt", "f/ü+&=.bin"]
PART = 5 * 1024 * 1024


@pytest.fixture
def s3() -> Iterator[int]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield port
    _tell(port, "reset-auth", "inf")
    _tell(port, "reset")  # moto's state is the process's
    server.stop()


def _tell(port: int, what: str, value: str = "") -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/{what}", value.encode(), method="POST")
    request.add_header("Content-Type", "text/plain")
    urllib.request.urlopen(request, timeout=10).close()


def client(service: str, port: int, key: str = "nobody", secret: str = "nothing") -> Any:
    config = botocore.config.Config(
        s3={"addressing_style": "path"}, retries={"max_attempts": 0, "mode": "standard"}, proxies={}
    )
    return boto3.client(
        service, endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=config,
        aws_access_key_id=key, aws_secret_access_key=secret,
    )  # fmt: skip


def somebody(port: int) -> tuple[str, str]:
    """A user who may do everything, in a moto that checks from here on."""
    iam = client("iam", port)
    client("s3", port).create_bucket(Bucket="bucket")
    iam.create_user(UserName="app")
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="app", PolicyName="all", PolicyDocument=policy)
    made = iam.create_access_key(UserName="app")["AccessKey"]
    _tell(port, "reset-auth", "0")
    return made["AccessKeyId"], made["SecretAccessKey"]


def work(s3: Any) -> list[object]:
    """What an app does in a day, and all that it is told."""
    told: list[object] = []
    for n, key in enumerate(KEYS):
        told.append(s3.put_object(Bucket="bucket", Key=key, Body=key.encode() * 1000 * n)["ETag"])
        got = (
            s3.get_object(Bucket="bucket", Key=key, Range="bytes=0-9999")
            if n
            else s3.get_object(Bucket="bucket", Key=key)
        )
        told.append((got["ETag"], got["ContentLength"], hashlib.sha256(got["Body"].read()).hexdigest()))
        told.append(s3.head_object(Bucket="bucket", Key=key)["ContentLength"])
    upload = s3.create_multipart_upload(Bucket="bucket", Key="large")["UploadId"]
    parts = []
    for number, body in enumerate((b"1" * PART, b"2" * 1000), 1):
        done = s3.upload_part(Bucket="bucket", Key="large", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"ETag": done["ETag"], "PartNumber": number})
    told.append(parts)
    done = s3.complete_multipart_upload(Bucket="bucket", Key="large", UploadId=upload, MultipartUpload={"Parts": parts})
    told.append(done["ETag"])
    told.append(hashlib.sha256(s3.get_object(Bucket="bucket", Key="large")["Body"].read()).hexdigest())
    told.append([(one["Key"], one["ETag"], one["Size"]) for one in s3.list_objects_v2(Bucket="bucket")["Contents"]])
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3.get_object(Bucket="bucket", Key="missing")
    told.append(caught.value.response["Error"]["Code"])
    for key in (*KEYS, "large"):
        s3.delete_object(Bucket="bucket", Key=key)
    told.append(s3.list_objects_v2(Bucket="bucket")["KeyCount"])
    return told


async def test_signed_calls_are_told_alike_and_what_was_created_is_registered(s3: int) -> None:
    key, secret = await asyncio.to_thread(somebody, s3)
    direct = await asyncio.to_thread(work, client("s3", s3, key, secret))
    async with relay_to(s3, S3_RULES) as relayed:
        assert await asyncio.to_thread(work, client("s3", relayed.port, key, secret)) == direct
    created = [id_ for rule, id_ in relayed.seen if rule != "delete"]
    assert created[: len(KEYS)] == KEYS
    assert created[-1] == "large"
    assert [id_ for rule, id_ in relayed.seen if rule == "delete"] == [*KEYS, "large"]


async def test_a_signature_that_is_wrong_is_still_refused(s3: int) -> None:
    """Or the test above would show nothing."""
    key, _ = await asyncio.to_thread(somebody, s3)
    async with relay_to(s3, S3_RULES) as relayed:
        with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
            await asyncio.to_thread(work, client("s3", relayed.port, key, "another secret"))
        assert relayed.seen == []
        assert relayed.registrar.retracted == [call for _, call, *_ in relayed.registrar.intents]
