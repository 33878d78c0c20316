"""What the gRPC adapter really sends, and what it makes of the answers, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from msgspec.structs import replace

from leasehold.control_plane.owners.grpc import GrpcOwner
from leasehold.control_plane.owners.outcome import Answer, Verdict
from leasehold.protocol.rules import Auth, OAuth2, Owner, Tls, load_rules
from tests.fakes.token_server import TokenServer
from tests.fakes.grpc_owner import SERVICE, GrpcBlobs, descriptor_set, grpc_rules
from tests.unit.control_plane.world import blob

PLAIN_READ = f'{{grpc: {{service: {SERVICE}, method: GetBlob, request: {{name: "{{id}}"}}}}}}'


@pytest.fixture
def owner() -> Iterator[GrpcBlobs]:
    with GrpcBlobs() as it:
        yield it


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "blobs.pb"
    file.write_bytes(descriptor_set())
    return file


def document(endpoint: str, schema: Path, precondition: str = "if-match", **calls: str) -> Owner:
    text = grpc_rules(endpoint, schema, precondition=precondition, **calls)
    return load_rules(text, "rules.yaml", {}).owners[0]


class Caller:
    """One client, closed afterwards."""

    def __init__(self, described: Owner) -> None:
        self.client = GrpcOwner(described)

    async def answer(self, name: str, incarnation: str = "call:1", *, first: bool = True) -> Answer:
        async with asyncio.timeout(20):
            return await self.client.sweep(blob(name), incarnation, first=first)

    async def sweep(self, name: str, incarnation: str = "call:1", *, first: bool = True) -> tuple[Verdict, str]:
        answer = await self.answer(name, incarnation, first=first)
        return answer.verdict, answer.detail

    async def verdict(self, name: str, incarnation: str = "call:1", *, first: bool = True) -> Verdict:
        return (await self.answer(name, incarnation, first=first)).verdict


@contextlib.asynccontextmanager
async def calling(described: Owner) -> AsyncIterator[Caller]:
    caller = Caller(described)
    try:
        yield caller
    finally:
        await caller.client.close()


def plain(owner: GrpcBlobs) -> str:
    return f"http://{owner.address}"


async def test_a_conditional_delete_carries_the_etag_just_read(owner: GrpcBlobs, schema: Path) -> None:
    thing = owner.add("x", uid="u1")
    async with calling(document(plain(owner), schema)) as caller:
        assert await caller.sweep("x", "uid:u1") == (Verdict.GONE, "DeleteBlob OK, GetBlob NOT_FOUND")
    assert owner.requests[1].etag == thing.etag
    assert [method for method, _ in owner.ledger] == ["get", "delete", "get"]


async def test_another_uid_is_a_namesake_and_left_alone(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x", uid="new")
    async with calling(document(plain(owner), schema)) as caller:
        assert await caller.sweep("x", "uid:old") == (Verdict.REPLACED, "GetBlob OK: now uid:new")
    assert owner.deletes() == []


async def test_a_namesake_created_between_read_and_delete_survives(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x", uid="old")
    owner.before_delete = lambda name: owner.blobs.update({name: type(owner.blobs[name])("new")})
    async with calling(document(plain(owner), schema)) as caller:
        assert await caller.sweep("x", "uid:old") == (Verdict.REFUSED, "DeleteBlob ABORTED")
    assert owner.blobs["x"].uid == "new"


async def test_where_one_field_is_uid_and_etag_another_value_is_refused_and_not_forgotten(
    owner: GrpcBlobs, schema: Path
) -> None:
    thing = owner.add("x", uid="u1")
    recorded = thing.etag
    thing.version += 1
    read = PLAIN_READ.removesuffix("}") + ", incarnation: {grpc: {field: etag}}}"
    async with calling(document(plain(owner), schema, read=read)) as caller:
        for kind in ("uid", "etag"):
            assert await caller.verdict("x", f"{kind}:{recorded}") is Verdict.REFUSED
        assert owner.deletes() == []
        assert await caller.verdict("x", f"uid:{thing.etag}") is Verdict.GONE


@pytest.mark.parametrize("incarnation", ["call:1", "", "u1", "UID:u1", "uid"])
async def test_what_cannot_be_compared_is_never_deleted(owner: GrpcBlobs, schema: Path, incarnation: str) -> None:
    owner.add("x", uid="u1")
    async with calling(document(plain(owner), schema)) as caller:
        assert await caller.verdict("x", incarnation) in {Verdict.UNVERIFIABLE, Verdict.REPLACED}
    assert owner.deletes() == []


@pytest.mark.parametrize(("read", "why"), [("etag: {grpc: {field: etag}}", "compared"), ("", "ETag")])
async def test_without_a_sign_of_its_incarnation_nothing_is_deleted(
    owner: GrpcBlobs, schema: Path, read: str, why: str
) -> None:
    owner.add("x", uid="u1")
    read = PLAIN_READ.removesuffix("}") + f", {read or 'incarnation: {grpc: {field: number}}'}}}"
    async with calling(document(plain(owner), schema, read=read)) as caller:
        verdict, detail = await caller.sweep("x", "uid:u1")
    assert verdict is Verdict.UNVERIFIABLE
    assert why in detail
    assert owner.deletes() == []


async def test_what_is_not_there_is_found_out_without_a_delete(owner: GrpcBlobs, schema: Path) -> None:
    async with calling(document(plain(owner), schema)) as caller:
        assert await caller.sweep("x", "uid:u1") == (Verdict.ABSENT, "GetBlob NOT_FOUND")
    assert owner.deletes() == []


async def test_never_reused_ids_are_deleted_plainly_and_confirmed(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x")
    async with calling(document(plain(owner), schema, "never-reused")) as caller:
        assert await caller.verdict("x") is Verdict.GONE
        assert owner.requests[0].etag == ""
        assert await caller.sweep("x") == (Verdict.ABSENT, "DeleteBlob NOT_FOUND")
        owner.ledger.clear()
        assert await caller.verdict("x", first=False) is Verdict.ABSENT
    assert owner.deletes() == [], "a repeat looks first"


async def test_deleted_but_still_there_is_not_gone(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x")
    owner.lies = True
    async with calling(document(plain(owner), schema, "never-reused")) as caller:
        assert await caller.verdict("x") is Verdict.PENDING


async def test_a_method_that_returns_an_operation_has_only_promised(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x")
    purge = f'{{service: {SERVICE}, method: PurgeBlob, request: {{name: "{{id}}"}}}}'
    described = document(plain(owner), schema, "never-reused", delete=purge)
    async with calling(replace(described, read=None)) as caller:
        assert await caller.sweep("x") == (Verdict.PENDING, "PurgeBlob OK")
        assert await caller.verdict("x") is Verdict.ABSENT
    owner.add("x")
    async with calling(described) as caller:
        assert await caller.verdict("x") is Verdict.GONE, "a read says so"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, Verdict.REFUSED),
        (grpc.StatusCode.ABORTED, Verdict.REFUSED),
        (grpc.StatusCode.PERMISSION_DENIED, Verdict.MISCONFIGURED),
        (grpc.StatusCode.UNIMPLEMENTED, Verdict.MISCONFIGURED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Verdict.WAIT),
        (grpc.StatusCode.UNAVAILABLE, Verdict.UNKNOWN),
        (grpc.StatusCode.INTERNAL, Verdict.UNKNOWN),
    ],
)
async def test_the_owners_status_is_what_counts(
    owner: GrpcBlobs, schema: Path, code: grpc.StatusCode, verdict: Verdict
) -> None:
    owner.add("x")
    owner.answers.append((code, ()))
    async with calling(document(plain(owner), schema, "never-reused")) as caller:
        assert await caller.sweep("x") == (verdict, f"DeleteBlob {code.name}")
    assert owner.deletes() == ["x"], "asked once"
    assert "x" in owner.blobs


@pytest.mark.parametrize("method", ["DropBlob", "CreateBlob"])
async def test_what_the_descriptor_set_does_not_have_is_not_sent(owner: GrpcBlobs, schema: Path, method: str) -> None:
    owner.add("x")
    delete = f'{{service: {SERVICE}, method: {method}, request: {{name: "{{id}}"}}}}'
    async with calling(document(plain(owner), schema, "never-reused", delete=delete)) as caller:
        verdict, detail = await caller.sweep("x")
    assert verdict is Verdict.MISCONFIGURED
    assert str(schema) in detail
    assert owner.ledger == []


async def test_being_told_to_wait_tells_how_long(owner: GrpcBlobs, schema: Path) -> None:
    delay = b"\x0a\x02\x08\x11"  # RetryInfo {retry_delay {seconds: 17}}
    kind = b"type.googleapis.com/google.rpc.RetryInfo"
    detail = b"\x0a" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(delay)]) + delay
    details = b"\x08\x08\x1a" + bytes([len(detail)]) + detail
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    owner.answers += [
        (exhausted, (("grpc-status-details-bin", details),)),
        (exhausted, (("grpc-retry-pushback-ms", "2500"),)),
        (exhausted, ()),
    ]
    async with calling(document(plain(owner), schema, "never-reused")) as caller:
        told = [await caller.answer("x") for _ in range(3)]
    assert [(answer.verdict, answer.retry_after) for answer in told] == [
        (Verdict.WAIT, 17), (Verdict.WAIT, 2.5), (Verdict.WAIT, None),
    ]  # fmt: skip


async def test_ids_stay_in_their_field_and_arrive_as_they_are(owner: GrpcBlobs, schema: Path) -> None:
    names = ["a/b", "ä ö", "../x", "{etag}", "x" * 900]
    async with calling(document(plain(owner), schema, "never-reused")) as caller:
        for name in names:
            owner.add(name)
            assert await caller.verdict(name) is Verdict.GONE
    assert owner.deletes() == names


@pytest.mark.parametrize("name", ["a/b", ".", "..", "-"])
async def test_ids_that_would_leave_their_segment_of_a_name_are_never_sent(
    owner: GrpcBlobs, schema: Path, name: str
) -> None:
    delete = f'{{service: {SERVICE}, method: DeleteBlob, request: {{name: "projects/p/blobs/{{id}}"}}}}'
    async with calling(document(plain(owner), schema, "never-reused", delete=delete)) as caller:
        assert await caller.verdict(name) is Verdict.UNVERIFIABLE
        assert owner.ledger == []
        owner.add("projects/p/blobs/x")
        assert await caller.verdict("x") is Verdict.GONE


async def test_nested_fields_constants_and_metadata_go_along(owner: GrpcBlobs, schema: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    delete = (
        f"{{service: {SERVICE}, method: DeleteBlob, metadata: {{X-Routing: here}}, "
        'request: {name: "{id}", options: {force: true, reason: "unheld: {id}"}, number: "7"}}'
    )
    with pytest.raises(Exception, match="exactly once"):
        document(plain(owner), schema, "never-reused", delete=delete)
    described = document(plain(owner), schema, "never-reused", delete=delete.replace(": {id}", ""), read=PLAIN_READ)
    described = replace(described, headers={"X-Team": "storage"}, bearer_token_file=str(token))
    owner.add("x")
    async with calling(described) as caller:
        assert await caller.verdict("x") is Verdict.GONE
        token.write_text("two\n")
        os.utime(token, (1, 1))
        await caller.verdict("x")
        token.unlink()
        assert await caller.verdict("x") is Verdict.MISCONFIGURED
    request = owner.requests[0]
    assert (request.options.force, request.options.reason, request.number) == (True, "unheld", 7)
    assert owner.seen_metadata[0].items() >= {"x-routing": "here", "x-team": "storage"}.items()
    assert [seen["authorization"] for seen in owner.seen_metadata] == ["Bearer one", "Bearer one", "Bearer two"]


@pytest.mark.parametrize("token", [b"two\nlines", b"\xff\xfe", "schlüssel".encode()])
async def test_a_secret_that_cannot_be_sent_is_for_an_operator_to_mend(
    owner: GrpcBlobs, schema: Path, tmp_path: Path, token: bytes
) -> None:
    (tmp_path / "token").write_bytes(token)
    described = replace(document(plain(owner), schema), bearer_token_file=str(tmp_path / "token"))
    async with calling(described) as caller:
        assert await caller.verdict("x") is Verdict.MISCONFIGURED
    assert owner.ledger == []


async def test_without_a_safe_delete_or_a_descriptor_set_nothing_is_sent(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x")
    async with calling(document(plain(owner), schema, "none")) as caller:
        assert await caller.verdict("x") is Verdict.MISCONFIGURED
    described = document(plain(owner), schema, "never-reused")
    whole = schema.read_bytes()
    async with calling(described) as caller:
        for content in (b"\xff", b"", None):
            schema.write_bytes(content) if content is not None else schema.unlink()
            assert await caller.verdict("x") is Verdict.MISCONFIGURED
        assert owner.ledger == []
        schema.write_bytes(whole)
        assert await caller.verdict("x") is Verdict.GONE, "it is read again"


async def test_an_owner_that_is_down_is_unknown_and_found_again(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x")
    async with calling(document(plain(owner), schema, "never-reused")) as caller:
        owner.stop()
        assert await caller.verdict("x") is Verdict.UNKNOWN
        with GrpcBlobs(owner.blobs, port=owner.port):
            assert await caller.verdict("x") is Verdict.GONE
        assert await caller.verdict("x") is Verdict.UNKNOWN, "it went down under an open connection"


async def test_the_owner_is_told_the_deadline_and_a_hanging_one_is_cut_off(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x")
    owner.hang = threading.Event()
    described = document(plain(owner), schema, "never-reused", more="limits: {timeout: 2s}")  # a busy owner hears of it
    async with calling(described) as caller:
        with pytest.raises(TimeoutError):
            await caller.verdict("x")
    [seconds] = owner.seen_seconds
    assert seconds is not None
    assert seconds <= 2
    async with calling(document(plain(owner), schema, "never-reused")) as caller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await caller.client.sweep(blob("x"), "call:1", first=True)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0, "grpclib's way of waking up did not reach us"
        owner.hang.set()
        owner.hang = None
        owner.add("y")
        assert await caller.verdict("y") is Verdict.GONE
    assert owner.peers[2] != owner.peers[1], "the connection that said nothing is not used again"


async def test_an_answer_that_is_too_large_is_not_read(owner: GrpcBlobs, schema: Path) -> None:
    owner.add("x", "u1")
    owner.large = 2 * 1024 * 1024
    async with calling(document(plain(owner), schema)) as caller:
        assert await caller.verdict("x", "uid:u1") is Verdict.UNKNOWN
    assert owner.deletes() == []


async def test_a_delete_is_never_repeated_behind_our_back(schema: Path) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Refuse every stream in the way that invites to try again."""
        writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        await reader.readexactly(24)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == 1:
                    heard.append(head[5:9])
                    writer.write(b"\x00\x00\x04\x03\x00" + head[5:9] + b"\x00\x00\x00\x07")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with calling(document(f"http://127.0.0.1:{port}", schema, "never-reused")) as caller:
            assert await caller.verdict("a") is Verdict.UNKNOWN
            assert len(heard) == 1, "each attempt is numbered, and written before it is made"
            assert await caller.verdict("a") is Verdict.UNKNOWN
            assert len(heard) == 2


@contextlib.asynccontextmanager
async def scripted(*answer: tuple[list[tuple[str, str]] | bytes, bool]) -> AsyncIterator[str]:
    """An HTTP/2 server that answers every stream with these headers and data, each with or without END_STREAM, and
    hangs up if the last had none. Its endpoint."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        peer.initiate_connection()
        while True:
            writer.write(peer.data_to_send())
            data = await reader.read(65536)
            if not data:
                break
            for event in peer.receive_data(data):
                if not isinstance(event, StreamEnded):
                    continue
                for part, end in answer:
                    if isinstance(part, bytes):
                        peer.send_data(event.stream_id, part, end_stream=end)
                    else:
                        peer.send_headers(event.stream_id, part, end_stream=end)
                if not answer[-1][1]:
                    writer.write(peer.data_to_send())
                    writer.close()
                    return
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


HEAD = [(":status", "200"), ("content-type", "application/grpc")]
EMPTY = b"\0\0\0\0\0"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ([(HEAD, False), (EMPTY, False), ([("grpc-status", "0")], True)], Verdict.GONE),
        ([(HEAD, False), (EMPTY, False)], Verdict.UNKNOWN),
        ([(HEAD, False)], Verdict.UNKNOWN),
        ([(HEAD, False), (EMPTY[:3], False)], Verdict.UNKNOWN),
        ([(HEAD, False), ([("grpc-status", "0")], True)], Verdict.UNKNOWN),
        ([(HEAD, False), (EMPTY, False), ([("grpc-status", "99")], True)], Verdict.UNKNOWN),
        ([(HEAD, False), (EMPTY, False), ([("x", "y")], True)], Verdict.UNKNOWN),
        ([(HEAD, False), (b"\1" + EMPTY[1:], False), ([("grpc-status", "0")], True)], Verdict.UNKNOWN),
        ([(HEAD, False), (EMPTY, False), ([("grpc-status", "0"), ("x-bin", "a")], True)], Verdict.UNKNOWN),
        ([([*HEAD, ("grpc-status", "5")], True)], Verdict.ABSENT),
        ([([(":status", "404")], True)], Verdict.MISCONFIGURED),
        ([([(":status", "404")], False), (b"no such route", True)], Verdict.MISCONFIGURED),
        ([([(":status", "403")], True)], Verdict.MISCONFIGURED),
        ([([(":status", "307"), ("location", "/x")], True)], Verdict.UNKNOWN),
        ([([(":status", "503")], True)], Verdict.UNKNOWN),
        ([([(":status", "200"), ("content-type", "text/html")], False), (b"fine", True)], Verdict.UNKNOWN),
    ],
)
async def test_only_a_whole_answer_with_its_status_means_anything(
    schema: Path, answer: list[tuple[list[tuple[str, str]] | bytes, bool]], verdict: Verdict
) -> None:
    """A gateway's 404 says nothing of the resource, and an answer that was cut short nothing at all."""
    async with scripted(*answer) as endpoint:
        described = replace(document(endpoint, schema, "never-reused"), read=None)
        async with calling(described) as caller:
            assert await caller.verdict("x") is verdict


async def test_an_http_server_that_knows_no_grpc_is_never_taken_for_a_success(schema: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with calling(document(f"http://127.0.0.1:{port}", schema, "never-reused")) as caller:
            assert await caller.verdict("a") is Verdict.UNKNOWN


async def test_mutual_tls_and_a_certificate_nobody_vouches_for(schema: Path, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    client, server = authority.issue_cert("collector"), authority.issue_cert("owner.internal")
    pem = tmp_path / "client.pem"
    client.private_key_and_cert_chain_pem.write_to_path(str(pem))
    chain = b"".join(part.bytes() for part in server.cert_chain_pems)
    credentials = grpc.ssl_server_credentials(
        [(server.private_key_pem.bytes(), chain)], authority.cert_pem.bytes(), require_client_auth=True
    )
    tls = Tls(ca=str(tmp_path / "ca.pem"), cert=str(pem), key=str(pem), server_name="owner.internal")
    with GrpcBlobs(credentials=credentials) as owner:
        described = document(f"https://{owner.address}", schema, "never-reused")
        owner.add("x")
        async with calling(replace(described, tls=replace(tls, ca=str(tmp_path / "stranger.pem")))) as caller:
            assert await caller.verdict("x") is Verdict.MISCONFIGURED
        async with calling(replace(described, tls=replace(tls, ca=str(tmp_path)))) as caller:
            assert await caller.verdict("x") is Verdict.MISCONFIGURED, "a file that cannot be read is ours to mend"
        async with calling(replace(described, tls=replace(tls, server_name="other.internal"))) as caller:
            assert await caller.verdict("x") is Verdict.MISCONFIGURED
        async with calling(replace(described, tls=replace(tls, cert=None, key=None))) as caller:
            assert await caller.verdict("x") is Verdict.UNKNOWN, "TLS 1.3 tells after the handshake"
        assert owner.ledger == []
        async with calling(replace(described, tls=tls)) as caller:
            assert await caller.verdict("x") is Verdict.GONE
            whole = pem.read_bytes()
            pem.write_bytes(b"not a certificate")
            os.utime(pem, (1, 1))
            assert await caller.verdict("x") is Verdict.MISCONFIGURED
            pem.write_bytes(whole)
            os.utime(pem, (2, 2))
            assert await caller.verdict("x") is Verdict.ABSENT, "the files are read again"


async def test_tls_without_h2_is_not_spoken_to(schema: Path, tmp_path: Path) -> None:
    import ssl

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            heard.append(await reader.read(3))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        described = document(f"https://127.0.0.1:{port}", schema, "never-reused")
        async with calling(replace(described, tls=Tls(ca=str(tmp_path / "ca.pem")))) as caller:
            verdict, detail = await caller.sweep("x")
    assert verdict is Verdict.MISCONFIGURED
    assert "ALPN" in detail


async def test_a_token_that_is_turned_away_is_fetched_anew_once(
    owner: GrpcBlobs, schema: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s")
    owner.add("x")
    owner.answers = [(grpc.StatusCode.UNAUTHENTICATED, ())]
    async with TokenServer("s") as server:
        auth = Auth(oauth2=OAuth2(f"{server.address}/token", "me", str(tmp_path / "secret")))
        async with calling(replace(document(plain(owner), schema, "never-reused"), auth=auth)) as caller:
            assert await caller.verdict("x") is Verdict.GONE
            owner.answers = [(grpc.StatusCode.UNAUTHENTICATED, ())] * 2
            assert await caller.verdict("x") is Verdict.MISCONFIGURED
    seen = [metadata["authorization"] for metadata in owner.seen_metadata]
    assert seen[:2] == ["Bearer token-1", "Bearer token-2"]
    assert seen[-1] == "Bearer token-3"
    assert len(server.asked) == 3
