"""OAuth2 client credentials against a real token server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace
from structlog.testing import capture_logs

from leasehold.control_plane.owners.credentials import NoCredential, Outgoing
from leasehold.control_plane.owners.credentials.oauth2 import ClientCredentials
from leasehold.control_plane.owners.outcome import Answer, Fetched, Verdict
from leasehold.protocol.configuration import Seconds
from leasehold.protocol.rules import Auth, OAuth2, ReadCall
from tests.fakes.token_server import TokenServer
from tests.unit.control_plane.owners.test_http import Caller, document
from tests.unit.control_plane.world import Owner

PLAIN = Outgoing("DELETE", "http://store/v1/x", {})


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    async with TokenServer() as it:
        yield it


@pytest.fixture
def described(server: TokenServer, tmp_path: Path) -> OAuth2:
    (tmp_path / "secret").write_text(server.secret + "\n")
    return OAuth2(f"{server.address}/token", "col:lector", str(tmp_path / "secret"), scope="blobs.delete")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def told(credential: ClientCredentials) -> str:
    return (await credential.prove(PLAIN)).headers["Authorization"]


async def refused(credential: ClientCredentials) -> NoCredential:
    with pytest.raises(NoCredential) as caught:
        await credential.prove(PLAIN)
    return caught.value


async def test_the_client_is_named_as_the_standard_says(server: TokenServer, described: OAuth2) -> None:
    expected = {"grant_type": "client_credentials", "scope": "blobs.delete", "client_id": "col:lector",
                "client_secret": server.secret}  # fmt: skip
    assert await told(ClientCredentials(described)) == "Bearer token-1"
    in_body = replace(described, secret_in_body=True, parameters={"audience": "blobs"})
    assert await told(ClientCredentials(in_body)) == "Bearer token-2"
    assert server.asked == [expected, expected | {"audience": "blobs"}]


@pytest.mark.parametrize(("lifetime", "good_for"), [(3600, 3570), (100, 80), (None, 270), ("600", 570)])
async def test_a_token_is_kept_until_shortly_before_it_expires(
    server: TokenServer, described: OAuth2, lifetime: object, good_for: float
) -> None:
    server.lifetime, clock = lifetime, Clock()
    credential = ClientCredentials(described, clock)
    assert await told(credential) == "Bearer token-1"
    clock.now = good_for - 0.01
    assert await told(credential) == "Bearer token-1"
    clock.now = good_for
    assert await told(credential) == "Bearer token-2"
    assert len(server.asked) == 2


async def test_many_who_wait_are_served_by_one_fetch_though_some_give_up(
    server: TokenServer, described: OAuth2
) -> None:
    server.gate.clear()
    credential = ClientCredentials(described)
    waiting = [asyncio.create_task(told(credential)) for _ in range(50)]
    while not server.asked:
        await asyncio.sleep(0)
    for one in waiting[:10]:  # the first of them began the fetch
        one.cancel()
    server.gate.set()
    assert await asyncio.gather(*waiting[10:]) == ["Bearer token-1"] * 40
    assert len(server.asked) == 1


async def test_a_token_server_that_hangs_has_a_deadline(server: TokenServer, described: OAuth2) -> None:
    server.gate.clear()
    error = await refused(ClientCredentials(replace(described, timeout=Seconds(0.05))))
    assert (error.verdict, str(error)) == (Verdict.UNKNOWN, "the token server gave no answer within 0.05 s")


@pytest.mark.parametrize(
    ("answer", "verdict", "said"),
    [
        ({"status": 400, "text": '{"error": "invalid_scope"}'}, Verdict.MISCONFIGURED, "answered 400 invalid_scope"),
        ({"status": 401, "text": "s3cret/+"}, Verdict.MISCONFIGURED, "the token server answered 401"),
        ({"status": 401, "text": '{"error": "s3cret/+"}'}, Verdict.MISCONFIGURED, "the token server answered 401"),
        ({"status": 302, "headers": {"Location": "/else"}}, Verdict.MISCONFIGURED, "the token server answered 302"),
        ({"status": 500}, Verdict.UNKNOWN, "the token server answered 500"),
        ({"status": 503, "headers": {"Retry-After": "7"}}, Verdict.WAIT, "the token server answered 503"),
        ({"text": "s3cret/+"}, Verdict.MISCONFIGURED, "expected a bearer token"),
        ({"text": '{"access_token": "a b", "token_type": "bearer"}'}, Verdict.MISCONFIGURED, "expected a bearer"),
        ({"text": '{"access_token": "t", "token_type": "mac"}'}, Verdict.MISCONFIGURED, "expected a bearer"),
        ({"text": '{"access_token": "t", "token_type": "bearer", "expires_in": -1}'}, Verdict.MISCONFIGURED, "with a"),
        ({"text": '{"access_token": "t", "token_type": "bearer", "expires_in": NaN}'}, Verdict.MISCONFIGURED, "with"),
        ({"text": "x" * 100_000}, Verdict.UNKNOWN, "token server: ValueError"),
    ],
)
async def test_what_the_token_server_says_decides_and_is_not_repeated(
    server: TokenServer, described: OAuth2, answer: dict[str, object], verdict: Verdict, said: str
) -> None:
    server.answers.append(web.Response(**answer))  # type: ignore[arg-type]
    credential = ClientCredentials(described)
    with capture_logs() as logs:
        error = await refused(credential)
    assert error.verdict is verdict
    assert said in str(error)
    assert "s3cret" not in f"{error!r} {error.__cause__!r} {logs} {vars(credential)!r}"
    assert error.retry_after == (7 if verdict is Verdict.WAIT else None)
    assert await told(credential) == "Bearer token-1", "a failure is not remembered"


async def test_a_token_server_that_is_away_is_no_mistake_of_the_document(described: OAuth2) -> None:
    gone = replace(described, token_url="http://127.0.0.1:1/token")
    assert (await refused(ClientCredentials(gone))).verdict is Verdict.UNKNOWN
    unreadable = replace(described, token_url="https://127.0.0.1:1/token", ca="/nowhere/ca.pem")
    assert (await refused(ClientCredentials(unreadable))).verdict is Verdict.MISCONFIGURED


async def test_closing_ends_a_fetch(server: TokenServer, described: OAuth2) -> None:
    server.gate.clear()
    credential = ClientCredentials(described)
    waiting = asyncio.create_task(refused(credential))
    while not server.asked:
        await asyncio.sleep(0)
    await credential.close()
    assert (await waiting).verdict is Verdict.UNKNOWN


# --- with the owner ------------------------------------------------------------------------------------------------


@pytest.fixture
async def caller(server: TokenServer, described: OAuth2) -> AsyncIterator[Caller]:
    async with Owner() as owner:
        one = replace(document(owner, "never-reused"), endpoint=server.address, auth=Auth(oauth2=described), read=None)
        async with Caller(one) as it:
            yield it


async def test_a_token_that_the_owner_turns_away_is_fetched_anew_once(server: TokenServer, caller: Caller) -> None:
    assert await caller.sweep("a") == (Verdict.GONE, "DELETE 204")
    server.valid = "revoked"
    assert await caller.sweep("b") == (Verdict.GONE, "DELETE 204")
    assert [token for _, token in server.seen] == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_a_question_is_proven_like_a_delete_and_turned_away_once(server: TokenServer, caller: Caller) -> None:
    await caller.sweep("a")
    server.valid = "revoked"
    found = await caller.client.fetch("/v1/any?label=ours")
    assert isinstance(found, Fetched)
    assert found.status == 204
    assert server.seen[1:] == [("GET", "Bearer token-1"), ("GET", "Bearer token-2")]


async def test_a_question_without_a_token_is_not_sent(server: TokenServer, caller: Caller) -> None:
    server.answers.append(web.Response(status=503, headers={"Retry-After": "7"}))
    assert await caller.client.fetch("/v1/any") == Answer(Verdict.WAIT, "the token server answered 503", 7.0)
    assert server.seen == []


async def test_an_owner_that_turns_fresh_tokens_away_is_misconfigured(server: TokenServer, caller: Caller) -> None:
    server.valid = "other"
    before = server._token

    async def never_valid(request: web.Request) -> web.Response:
        answer = await before(request)
        server.valid = "other"
        return answer

    server._token = never_valid  # type: ignore[method-assign]
    server.answers = [web.json_response({"access_token": f"t{n}", "token_type": "bearer"}) for n in range(4)]
    assert await caller.sweep("a") == (Verdict.MISCONFIGURED, "DELETE 401")
    assert len(server.seen) == 2
    assert len(server.asked) == 2


async def test_many_that_are_turned_away_together_need_one_fresh_token(server: TokenServer, caller: Caller) -> None:
    await caller.sweep("a")
    server.valid = "revoked"
    verdicts = await asyncio.gather(*(caller.sweep(f"x{n}") for n in range(8)))
    assert {verdict for verdict, _ in verdicts} == {Verdict.GONE}
    assert len(server.asked) == 2


async def test_what_is_said_of_a_call_without_a_token_shows_no_secret(server: TokenServer, caller: Caller) -> None:
    server.answers.append(web.json_response({"error": "invalid_client"}, status=401))
    assert await caller.sweep("a") == (Verdict.MISCONFIGURED, "the token server answered 401 invalid_client")
    assert server.seen == []


async def test_a_read_is_proven_like_a_delete(server: TokenServer, described: OAuth2) -> None:
    async with Owner() as owner:
        one = replace(
            document(owner, "never-reused"), endpoint=server.address, auth=Auth(oauth2=described),
            read=ReadCall("/v1/{id}"),
        )  # fmt: skip
        async with Caller(one) as caller:
            assert (await caller.sweep("a", first=False))[0] is Verdict.PENDING
    assert {token for _, token in server.seen} == {"Bearer token-1"}
    assert len(server.asked) == 1
