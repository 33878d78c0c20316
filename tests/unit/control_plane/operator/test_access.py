"""Who is let in, and who is asked to wait."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from grpclib.const import Status

from leasehold.control_plane.kubernetes.api_server import ApiError
from leasehold.control_plane.operator.access import FAILURES, Access, Caller, Credentials, Role, Token
from leasehold.control_plane.operator.kubernetes import REMEMBERED_SECONDS, KubernetesTokens
from leasehold.control_plane.operator.problem import Problem
from leasehold.control_plane.operator.tokens import BadTokens, TokenFile, parse_tokens


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep_until(self, instant: float) -> None:
        self.time = max(self.time, instant)


def token(who: str, role: Role = Role.OPERATOR, tenant: str = "default") -> Token:
    return Token(who, role, tenant, hashlib.sha256(f"{who}-token".encode()).digest())


async def refused(access: Access, found: Credentials) -> Status:
    with pytest.raises(Problem) as caught:
        await access.identify(found)
    return caught.value.status


async def test_a_token_is_known_by_its_digest_in_its_tenant_only() -> None:
    access = Access("default", Clock(), tokens=lambda: [token("a"), token("b", tenant="*"), token("c", tenant="other")])
    assert await access.identify(Credentials("p", "a-token")) == Caller("a", Role.OPERATOR, "token", "p")
    assert (await access.identify(Credentials("p", "b-token"))).who == "b"
    assert await refused(access, Credentials("p", "c-token")) is Status.PERMISSION_DENIED
    assert await refused(access, Credentials("p", "d-token")) is Status.UNAUTHENTICATED
    assert await refused(access, Credentials("p")) is Status.UNAUTHENTICATED


async def test_on_loopback_no_proof_is_needed_unless_one_is_configured() -> None:
    assert (await Access("default", Clock(), loopback=True).identify(Credentials("p"))).who == "local"
    assert await refused(Access("default", Clock(), loopback=False), Credentials("p")) is Status.UNAUTHENTICATED
    proven = Access("default", Clock(), loopback=True, tokens=lambda: [token("a")])
    assert await refused(proven, Credentials("p")) is Status.UNAUTHENTICATED


async def test_a_certificates_subject_has_its_role() -> None:
    access = Access("default", Clock(), subjects={"ops": Role.ADMIN})
    assert (await access.identify(Credentials("p", subject="ops"))).role is Role.ADMIN
    assert await refused(access, Credentials("p", subject="else")) is Status.UNAUTHENTICATED


async def test_who_fails_too_often_waits_but_a_right_token_gets_in() -> None:
    clock = Clock()
    access = Access("default", clock, tokens=lambda: [token("a")])
    for _ in range(FAILURES):
        assert await refused(access, Credentials("p", "wrong")) is Status.UNAUTHENTICATED
    assert await refused(access, Credentials("p", "wrong")) is Status.RESOURCE_EXHAUSTED
    assert (await access.identify(Credentials("p", "a-token"))).who == "a"
    assert await refused(access, Credentials("q", "wrong")) is Status.UNAUTHENTICATED
    clock.time = 61
    assert await refused(access, Credentials("p", "wrong")) is Status.UNAUTHENTICATED


class Api:
    """A fake API server that knows one token."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.down = False
        self.audiences: list[str] = []

    async def create(self, path: str, thing: Any) -> dict[str, Any]:
        self.asked.append((path, thing))
        if self.down:
            raise ApiError("down")
        user = {"username": "system:serviceaccount:ops:bot", "groups": ["ops", "all"]}
        good = thing["spec"]["token"] == "good"
        return {"status": {"authenticated": good, "user": user, "audiences": self.audiences}}


async def test_kubernetes_is_asked_once_in_a_while_and_the_highest_role_counts() -> None:
    api, clock = Api(), Clock()
    tokens = KubernetesTokens(api, clock, {"system:serviceaccount:ops:bot": Role.VIEWER, "group:ops": Role.OPERATOR})
    access = Access("default", clock, reviewer=tokens)
    for _ in range(3):
        known = await access.identify(Credentials("p", "good"))
        assert known == Caller("system:serviceaccount:ops:bot", Role.OPERATOR, "kubernetes", "p")
    assert len(api.asked) == 1
    clock.time = REMEMBERED_SECONDS + 1
    await access.identify(Credentials("p", "good"))
    assert len(api.asked) == 2
    assert await refused(access, Credentials("p", "bad")) is Status.UNAUTHENTICATED


async def test_kubernetes_out_of_reach_lets_nobody_in_and_is_not_remembered() -> None:
    api = Api()
    access = Access("default", Clock(), reviewer=KubernetesTokens(api, Clock(), {"group:ops": Role.ADMIN}))
    api.down = True
    assert await refused(access, Credentials("p", "good")) is Status.UNAVAILABLE
    api.down = False
    assert (await access.identify(Credentials("p", "good"))).role is Role.ADMIN


async def test_a_token_without_a_role_or_for_another_audience_is_no_proof() -> None:
    api = Api()
    access = Access("default", Clock(), reviewer=KubernetesTokens(api, Clock(), {"group:others": Role.ADMIN}))
    assert await refused(access, Credentials("p", "good")) is Status.UNAUTHENTICATED
    for answered, let_in in ([], False), (["else"], False), (["leasehold"], True):
        api.audiences = answered
        asked = KubernetesTokens(api, Clock(), {"group:ops": Role.ADMIN}, ("leasehold",))
        assert (await asked.review("good") is not None) is let_in


@pytest.mark.parametrize(
    "line", ["ci operator default", "ci root default sha256:" + "0" * 64, "ci admin default sha256:abc",
             "ci admin default md5:" + "0" * 64, "c/i admin default sha256:" + "0" * 64],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_its_line(line: str) -> None:
    with pytest.raises(BadTokens, match="line 2: expected"):
        parse_tokens(f"# comment\n{line}\n")


def test_a_file_is_read_again_and_one_with_a_mistake_lets_nobody_in(tmp_path: Any) -> None:
    file = tmp_path / "tokens"
    file.write_text("ci admin * sha256:" + "0" * 64)
    tokens = TokenFile(file)
    assert [one.who for one in tokens()] == ["ci"]
    file.write_text("ci admin")
    assert list(tokens()) == []
    file.write_text("cd viewer * sha256:" + "1" * 64)
    assert [one.who for one in tokens()] == ["cd"]
    file.unlink()
    assert list(tokens()) == []
