"""What the HTTP adapter really sends, and what it makes of the answers, against a real server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from msgspec.structs import replace

from leasehold.control_plane.owners.http import HttpOwner, extract
from leasehold.control_plane.owners.outcome import Verdict
from leasehold.protocol.rules import Owner as OwnerDocument
from leasehold.protocol.rules import Source, VerifyCall
from tests.unit.control_plane.world import Owner, blob, rules


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    async with Owner() as it:
        yield it


class Caller:
    """One client, closed afterwards."""

    def __init__(self, document: OwnerDocument) -> None:
        self.client = HttpOwner(document)

    async def sweep(self, name: str, incarnation: str = "call:1", *, first: bool = True) -> tuple[Verdict, str]:
        answer = await self.client.sweep(blob(name), incarnation, first=first)
        return answer.verdict, answer.detail

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()


def document(owner: Owner, precondition: str = "if-match", **changes: object) -> OwnerDocument:
    return replace(rules(owner, precondition=precondition).owners[0], **changes)


async def test_a_conditional_delete_carries_the_etag_just_read(owner: Owner) -> None:
    thing = owner.add("x", uid="u1")
    async with Caller(document(owner)) as caller:
        assert await caller.sweep("x", "uid:u1") == (Verdict.GONE, "DELETE 204, GET 404")
    assert owner.seen_headers[1]["If-Match"] == thing.etag
    assert [method for method, _, _ in owner.ledger] == ["GET", "DELETE", "GET"]


async def test_another_uid_is_a_namesake_and_left_alone(owner: Owner) -> None:
    owner.add("x", uid="new")
    async with Caller(document(owner)) as caller:
        assert (await caller.sweep("x", "uid:old"))[0] is Verdict.REPLACED
    assert owner.deletes() == []


async def test_another_etag_may_be_the_same_thing_changed_by_somebody_and_is_refused(owner: Owner) -> None:
    thing = owner.add("x", uid="u1")
    recorded = thing.etag
    thing.version += 1
    async with Caller(document(owner)) as caller:
        assert (await caller.sweep("x", f"etag:{recorded}"))[0] is Verdict.REFUSED
        assert owner.deletes() == []
        assert (await caller.sweep("x", f"etag:{thing.etag}"))[0] is Verdict.GONE


@pytest.mark.parametrize("incarnation", ["call:1", "", "u1", "UID:u1", "uid"])
async def test_what_cannot_be_compared_is_never_deleted(owner: Owner, incarnation: str) -> None:
    owner.add("x", uid="u1")
    async with Caller(document(owner)) as caller:
        assert (await caller.sweep("x", incarnation))[0] in {Verdict.UNVERIFIABLE, Verdict.REPLACED}
    assert owner.deletes() == []


async def test_a_namesake_created_between_read_and_delete_survives(owner: Owner) -> None:
    owner.add("x", uid="old")
    owner.before_delete = lambda name: owner.things.update({name: type(owner.things[name])("new")})
    async with Caller(document(owner)) as caller:
        assert (await caller.sweep("x", "uid:old"))[0] is Verdict.REFUSED
    assert owner.things["x"].uid == "new"


async def test_what_is_not_there_is_found_out_without_a_delete(owner: Owner) -> None:
    async with Caller(document(owner)) as caller:
        assert (await caller.sweep("x", "uid:u1"))[0] is Verdict.ABSENT
    assert owner.deletes() == []


async def test_never_reused_ids_are_deleted_plainly_and_confirmed(owner: Owner) -> None:
    owner.add("x")
    async with Caller(document(owner, "never-reused")) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.GONE
        assert "If-Match" not in owner.seen_headers[0]
        assert (await caller.sweep("x"))[0] is Verdict.ABSENT
        owner.ledger.clear()
        assert (await caller.sweep("x", first=False))[0] is Verdict.ABSENT
    assert owner.deletes() == [], "a repeat looks first"


async def test_deleted_but_still_there_is_not_gone(owner: Owner) -> None:
    owner.add("x")
    owner.lie = 204
    async with Caller(document(owner, "never-reused")) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.PENDING
    owner.lie = 202
    async with Caller(document(owner, "never-reused")) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.PENDING


async def test_an_accepted_delete_is_polled(owner: Owner) -> None:
    owner.add("x")
    owner.lie = 202
    loop = asyncio.get_running_loop()
    owner.before_delete = lambda name: loop.call_later(0.1, owner.things.pop, name) and None
    async with Caller(document(owner, "never-reused")) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.GONE


async def test_without_a_safe_delete_nothing_is_sent(owner: Owner) -> None:
    owner.add("x")
    async with Caller(document(owner, "none")) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.MISCONFIGURED
    assert owner.ledger == []


@pytest.mark.parametrize("name", ["../admin", "a/../b", "a//b", ".", ".."])
async def test_ids_that_would_leave_their_place_are_never_sent(owner: Owner, name: str) -> None:
    async with Caller(document(owner, "never-reused")) as caller:
        assert (await caller.sweep(name))[0] is Verdict.UNVERIFIABLE
    assert owner.ledger == []


@pytest.mark.parametrize("name", ["a/b", "ä ö", "a%2fb", "a?b=c#d", "a;b", "x" * 900])
async def test_ids_arrive_as_they_are(owner: Owner, name: str) -> None:
    owner.add(name)
    async with Caller(document(owner, "never-reused")) as caller:
        assert (await caller.sweep(name))[0] is Verdict.GONE
    assert owner.deletes() == [name]


async def test_redirects_are_not_followed(owner: Owner) -> None:
    owner.add("x")
    owner.answers.append(web.Response(status=307, headers={"Location": f"{owner.address}/v1/other"}))
    async with Caller(document(owner, "never-reused")) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.MISCONFIGURED
    assert owner.deletes() == ["x"]


async def test_a_dead_owner_is_unknown_and_a_hanging_one_is_cut_off(owner: Owner) -> None:
    async with Caller(document(owner, "never-reused", endpoint="http://127.0.0.1:1")) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.UNKNOWN
    owner.hang = True
    async with Caller(document(owner, "never-reused")) as caller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await caller.sweep("x")


async def test_being_told_to_wait_tells_how_long(owner: Owner) -> None:
    owner.answers.append(web.Response(status=429, headers={"Retry-After": "17"}))
    async with Caller(document(owner, "never-reused")) as caller:
        answer = await caller.client.sweep(blob("x"), "call:1", first=True)
    assert (answer.verdict, answer.retry_after) == (Verdict.WAIT, 17)


async def test_a_changed_token_is_taken_up_and_headers_go_along(owner: Owner, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    described = document(owner, "never-reused", bearer_token_file=str(token), headers={"X-Team": "storage"})
    async with Caller(described) as caller:
        await caller.sweep("x")
        token.write_text("two\n")
        os.utime(token, (1, 1))
        await caller.sweep("x")
        assert [seen["Authorization"] for seen in owner.seen_headers] == ["Bearer one", "Bearer two"]
        assert owner.seen_headers[0]["X-Team"] == "storage"
        token.unlink()
        assert (await caller.sweep("x"))[0] is Verdict.MISCONFIGURED
    assert len(owner.ledger) == 2, "without its secret nothing is sent"


async def test_mutual_tls_and_a_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    import ssl

    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    client = authority.issue_cert("collector")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("owner.internal").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    owner = Owner()
    app = web.Application()
    app.add_routes([web.delete("/v1/{id}", owner._delete), web.get("/v1/{id}", owner._get)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    endpoint = f"https://127.0.0.1:{runner.addresses[0][1]}"
    from leasehold.protocol.rules import Tls

    pem = str(tmp_path / "client.pem")
    tls = Tls(ca=str(tmp_path / "ca.pem"), cert=pem, key=pem, server_name="owner.internal")
    try:
        owner.address = "http://unused:1"
        owner.add("x")
        async with Caller(document(owner, "never-reused", endpoint=endpoint, tls=tls)) as caller:
            assert (await caller.sweep("x"))[0] is Verdict.GONE
        wrong = replace(tls, ca=str(tmp_path / "stranger.pem"))
        async with Caller(document(owner, "never-reused", endpoint=endpoint, tls=wrong)) as caller:
            assert (await caller.sweep("x"))[0] is Verdict.MISCONFIGURED
    finally:
        await runner.cleanup()


def test_an_incarnation_is_found_where_the_source_says_or_not_at_all() -> None:
    json = Source(json="meta.uid")
    assert extract(json, {}, b'{"meta": {"uid": "u"}}') == "u"
    assert extract(json, {}, b'{"meta": {"uid": 7}}') == "7"
    for body in (b"", b"[]", b'{"meta": {"uid": null}}', b'{"meta": {"uid": true}}', b'{"meta": {"uid": ""}}', b"\xff"):
        assert extract(json, {}, body) is None
    assert extract(Source(header="X-Uid"), {"X-Uid": "u"}, b"") == "u"
    assert extract(Source(header="X-Uid"), {}, b"") is None
    assert extract(Source(header="Location", pattern="/v/{id}"), {"Location": "/v/u"}, b"") == "u"
    assert extract(Source(header="Location", pattern="/v/{id}"), {"Location": "/w/u"}, b"") is None


@pytest.mark.parametrize("token", [b"two\nlines", b"\xff\xfe"])
async def test_a_secret_that_cannot_be_sent_is_for_an_operator_to_mend(
    owner: Owner, tmp_path: Path, token: bytes
) -> None:
    (tmp_path / "token").write_bytes(token)
    async with Caller(document(owner, "never-reused", bearer_token_file=str(tmp_path / "token"))) as caller:
        assert (await caller.sweep("x"))[0] is Verdict.MISCONFIGURED
    assert owner.ledger == []


async def test_a_delete_is_never_repeated_behind_our_back(owner: Owner) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.readline():
            while (await reader.readline()).strip():
                pass
            heard.append(request.split()[1])
            if request.split()[1] == b"/v1/b":
                break  # it may have been done, it may be done later: nobody knows
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        described = document(owner, "never-reused", endpoint=f"http://127.0.0.1:{port}", read=None)
        async with Caller(described) as caller:
            assert (await caller.sweep("a"))[0] is Verdict.GONE
            assert (await caller.sweep("b"))[0] is Verdict.UNKNOWN
    assert heard == [b"/v1/a", b"/v1/b"], "each attempt is numbered, and written before it is made"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (True, Verdict.IN_USE),
        (False, Verdict.NOT_IN_USE),
        (None, Verdict.UNKNOWN),
        (404, Verdict.UNKNOWN),
        (403, Verdict.MISCONFIGURED),
        (503, Verdict.WAIT),
    ],
)
async def test_an_owner_is_asked_whether_something_is_in_use(owner: Owner, said: object, verdict: Verdict) -> None:
    owner.used["a/b"] = said
    async with Caller(document(owner)) as caller:
        answer = await caller.client.verify(blob("a/b"), VerifyCall("/in-use/{+id}", json="used"))
    assert answer.verdict is verdict
    assert answer.detail.startswith("verify: GET ")


async def test_a_question_that_fails_is_no_answer(owner: Owner) -> None:
    call = VerifyCall("/in-use/{id}", json="used")
    async with Caller(document(owner, endpoint="http://127.0.0.1:1")) as caller:
        assert (await caller.client.verify(blob("x"), call)).verdict is Verdict.UNKNOWN
    async with Caller(document(owner)) as caller:
        assert (await caller.client.verify(blob(".."), call)).verdict is Verdict.UNVERIFIABLE
    assert owner.ledger == []
