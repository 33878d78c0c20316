"""The operator API before a real etcd and a real control plane: what it says is so, and what it does takes place."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import trustme

from leasehold import v1
from leasehold.control_plane.core.lifecycle import State
from leasehold.control_plane.operator.access import Role
from leasehold.control_plane.operator.config import OperatorConfig
from leasehold.protocol.etcd.process import EtcdProcess
from leasehold.protocol.keyspace import Family
from tests.integration.operator_world import Face, facing
from tests.unit.control_plane.world import World, blob, eventually, rules, state, world

pytestmark = pytest.mark.etcd
LONG = "3600s"


def name(text: str) -> dict[str, str]:
    return {"owner": "store", "type": "blob", "id": text}


@pytest.fixture
async def here(real_etcd: EtcdProcess | None) -> AsyncIterator[World]:
    if real_etcd is None:
        pytest.skip("no etcd here")
    async with world(real_etcd.endpoint) as it:
        yield it


@pytest.fixture
async def face(here: World, tmp_path: Path) -> AsyncIterator[Face]:
    async with facing(here, rules(here.owner, grace=LONG), tmp_path) as it:
        yield it


async def condemned(here: World, face: Face, *names: str) -> None:
    holder = await here.hand.attach("gone")
    for one in names:
        here.owner.add(one)
    await here.hand.register(holder, *names, grace_class=LONG)
    await here.hand.retire(holder)
    await eventually("in grace", lambda: all(state(face.plane, one) is State.IN_GRACE for one in names))


async def test_both_ways_give_the_same_answers(here: World, face: Face) -> None:
    holder = await here.hand.attach("a")
    await here.hand.register(holder, "x", "y/z", grace_class=LONG)
    await eventually("held", lambda: state(face.plane, "y/z") is State.HELD)
    asked: list[tuple[str, Any, dict[str, Any]]] = [
        ("WhoAmI", v1.WhoAmIRequest(), {}),
        ("ListResources", v1.ListResourcesRequest(page_size=1), {"pageSize": 1}),
        ("ListResources", v1.ListResourcesRequest(filter=v1.ResourceFilter(text="Y/")), {"filter": {"text": "Y/"}}),
        ("GetResource", v1.GetResourceRequest(name=v1.ResourceName(**name("y/z"))), {"name": name("y/z")}),
        ("Why", v1.WhyRequest(name=v1.ResourceName(**name("x"))), {"name": name("x")}),
        ("Graph", v1.GraphRequest(), {}),
        ("ListHolders", v1.ListHoldersRequest(status="alive"), {"status": "alive"}),
        ("ListOwners", v1.ListOwnersRequest(), {}),
        ("ListSweeps", v1.ListSweepsRequest(), {}),
        ("ListTombstones", v1.ListTombstonesRequest(), {}),
        ("ShadowReport", v1.ShadowReportRequest(), {}),
        ("GetRules", v1.GetRulesRequest(), {}),
        ("ListAudit", v1.ListAuditRequest(), {}),
    ]
    for method, message, body in asked:
        over_grpc = (await face.rpc(method, message, "vera")).to_dict(include_default_values=True)
        over_http = await face.ok(method, body, "vera")
        for answer in (over_grpc, over_http):
            for lists in [answer, *(one for one in answer.values() if isinstance(one, dict))]:
                lists.pop("revision", None)  # etcd goes on between two calls
        assert over_http == over_grpc, method


async def test_a_get_answers_as_the_post_does(here: World, face: Face) -> None:
    holder = await here.hand.attach("a")
    await here.hand.register(holder, "x", "y", grace_class=LONG)
    await eventually("held", lambda: state(face.plane, "y") is State.HELD)
    status, answer = await face.get("ListResources", **{"filter.states": "held", "pageSize": "1"})
    assert (status, answer["total"]) == (200, 2)
    assert [one["name"]["id"] for one in answer["resources"]] == ["x"]
    assert answer["resources"][0]["heldBy"] == [holder]
    following = answer["nextPageToken"]
    _, answer = await face.get("ListResources", **{"filter.states": "held", "page_size": "1", "page_token": following})
    assert [one["name"]["id"] for one in answer["resources"]] == ["y"]
    assert answer["nextPageToken"] == ""


async def test_the_overview_counts_and_remembers(here: World, face: Face) -> None:
    await condemned(here, face, "x", "y")
    answer = (await face.ok("Overview", {"history": True}))["overview"]
    assert answer["total"]["inGrace"] == 2
    assert answer["types"][0]["owner"] == "store"
    assert answer["types"][0]["counts"]["resources"] == 2
    assert answer["armed"]
    assert answer["synced"]
    await eventually("a point of history", lambda: face.plane.operator._lists._history)  # type: ignore[union-attr]


async def test_a_resource_has_its_timeline_and_a_countdown(here: World, face: Face) -> None:
    await condemned(here, face, "x")
    found = await face.ok("GetResource", {"name": name("x")})
    assert [one["what"] for one in found["timeline"]] == ["created", "held", "condemned", "epoch-opened"]
    assert found["countdown"]["waitingFor"] == "grace"
    assert 3000 < found["countdown"]["secondsLeft"] <= 3600
    why = await face.ok("Why", {"name": name("x")})
    assert why["sentences"][0] == "store/blob/x is in-grace."


async def test_a_pin_is_there_and_audited_or_neither_is(here: World, face: Face) -> None:
    await condemned(here, face, "x")
    await face.ok("Pin", {"name": name("x"), "why": "evidence"}, "otto")
    found = await face.ok("GetResource", {"name": name("x")})
    assert found["pin"] == {"who": "otto", "why": "evidence"}
    (entry,) = (await face.ok("ListAudit"))["entries"]
    assert (entry["who"], entry["method"], entry["why"], entry["about"]) == (
        "otto", "Pin", "evidence", ["store/blob/x"],
    )  # fmt: skip
    assert (await face.post("Pin", {"name": name("nowhere"), "why": "evidence"}))[0] == 404
    assert (await face.post("Pin", {"name": name("x"), "why": " "}))[0] == 400
    assert await here.hand.count(Family.AUDIT) == 1
    await face.ok("Unpin", {"name": name("x"), "why": "done"}, "otto")
    assert await here.hand.count(Family.PINS) == 0
    status, answer = await face.post("Unpin", {"name": name("x"), "why": "again"})
    assert (status, answer["code"]) == (400, "FAILED_PRECONDITION")


async def test_what_is_restored_begins_its_grace_anew(here: World, face: Face) -> None:
    await condemned(here, face, "x")
    before = await here.hand.get(here.keys.tombstone(blob("x")))
    await face.ok("Restore", {"name": name("x"), "why": "not yet"}, "otto")

    async def anew() -> bool:
        now = await here.hand.get(here.keys.tombstone(blob("x")))
        return now is not None and before is not None and now.mod_revision > before.mod_revision

    await eventually("condemned anew", anew)


async def test_a_living_holders_hold_is_released_only_by_force(here: World, face: Face) -> None:
    holder = await here.hand.attach("a")
    await here.hand.register(holder, "x", grace_class=LONG)
    await eventually("held", lambda: state(face.plane, "x") is State.HELD)
    asked = {"name": name("x"), "holder": holder, "why": "it leaks"}
    status, answer = await face.post("Release", asked)
    assert (status, answer["code"]) == (400, "FAILED_PRECONDITION")
    assert "is alive" in answer["message"]
    await face.ok("Release", {**asked, "force": True})
    await eventually("condemned", lambda: state(face.plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    assert (await face.post("Release", {**asked, "holder": "nobody"}))[0] == 404


async def test_sweep_now_shortens_the_wait_and_nothing_else(here: World, face: Face) -> None:
    await condemned(here, face, "x", "y")
    began = time.monotonic()
    assert (await face.ok("SweepNow", {"name": name("x"), "why": "disk is full"}))["graceSeconds"] == 1
    await eventually("x is swept", lambda: "x" not in here.owner.things)
    assert time.monotonic() - began >= 1, "a whole epoch all the same"
    assert "y" in here.owner.things
    assert state(face.plane, "y") is State.IN_GRACE


async def test_a_holder_that_comes_back_undoes_a_haste(here: World, face: Face) -> None:
    await condemned(here, face, "x")
    await face.ok("TripBrake", {"why": "so that it waits"})
    await eventually("braked", lambda: face.plane.brake.why_not)
    await face.ok("SweepNow", {"name": name("x"), "why": "disk is full"})
    told = await face.ok("GetResource", {"name": name("x")})
    assert told["resource"]["hastened"]
    assert told["countdown"]["waitingFor"] == "brake"
    assert "ada shortened its grace to 1s: disk is full." in (await face.ok("Why", {"name": name("x")}))["sentences"]
    await eventually("hastened", lambda: face.plane.index.entry(blob("x")).grace_class == "1s")  # type: ignore[union-attr]
    b = await here.hand.attach("b")
    assert await here.hand.acquire(b, "x")
    await eventually("held", lambda: state(face.plane, "x") is State.HELD)
    await here.hand.retire(b)
    await face.ok("ArmBrake", {"why": "go on"})
    await eventually("condemned again", lambda: state(face.plane, "x") in {State.CONDEMNED, State.IN_GRACE})
    entry = face.plane.index.entry(blob("x"))
    assert entry is not None
    assert entry.grace_class == LONG
    assert not face.plane.index.hastes.hastened(entry)


async def test_what_is_held_or_pinned_cannot_be_hastened(here: World, face: Face) -> None:
    holder = await here.hand.attach("a")
    await here.hand.register(holder, "held", grace_class=LONG)
    await condemned(here, face, "kept")
    await face.ok("Pin", {"name": name("kept"), "why": "evidence"})
    for one in ("held", "kept"):
        status, answer = await face.post("SweepNow", {"name": name(one), "why": "now"})
        assert (status, answer["code"]) == (400, "FAILED_PRECONDITION"), one
    assert await here.hand.count(Family.HASTES) == 0


async def test_bulk_is_a_dry_run_until_the_count_comes_back(here: World, face: Face) -> None:
    await condemned(here, face, "x", "y")
    asked: dict[str, Any] = {"filter": {"owner": "store"}, "why": "disk is full"}
    shown = await face.ok("SweepNowMany", asked)
    assert shown["dryRun"]
    assert shown["count"] == 2
    assert shown["matched"] == ["store/blob/x", "store/blob/y"]
    assert await here.hand.count(Family.HASTES) == 0
    status, answer = await face.post("SweepNowMany", {**asked, "confirmCount": 3})
    assert (status, answer["code"]) == (400, "FAILED_PRECONDITION")
    assert "2 fit now, not 3" in answer["message"]
    assert await here.hand.count(Family.HASTES) == 0
    assert (await face.post("SweepNowMany", {"why": "all"}))[0] == 400, "a filter that says nothing"
    done = await face.ok("SweepNowMany", {**asked, "confirmCount": 2})
    assert (done["done"], done["refused"], done["dryRun"]) == (2, [], False)
    await eventually("both are swept", lambda: not here.owner.things)


async def test_the_holds_of_a_vanished_holder_are_released_together(here: World, face: Face) -> None:
    a, b = await here.hand.attach("a"), await here.hand.attach("b")
    await here.hand.register(a, "x", "y", grace_class=LONG)
    for one in ("x", "y"):
        assert await here.hand.acquire(b, one)
    await here.hand.retire(a)
    await eventually("it ended", lambda: face.plane.index.holder(a).status == "ended")  # type: ignore[union-attr]
    asked = {"filter": {"owner": "store"}, "why": "tidy"}
    assert (await face.ok("ReleaseMany", asked))["matched"] == [f"store/blob/x by {a}", f"store/blob/y by {a}"]
    assert (await face.ok("ReleaseMany", {**asked, "confirmCount": 2}))["done"] == 2
    assert state(face.plane, "x") is State.HELD, "b has it still"


async def test_what_is_purged_is_forgotten_and_left_to_its_owner(here: World, tmp_path: Path) -> None:
    async with facing(here, rules(here.owner), tmp_path) as face:
        here.owner.lie = 403
        holder = await here.hand.attach("a")
        here.owner.add("x")
        await here.hand.register(holder, "x")
        await here.hand.retire(holder)
        await eventually("quarantined", lambda: state(face.plane, "x") is State.QUARANTINED)
        (sweep,) = (await face.ok("ListSweeps", {"state": "quarantined"}))["sweeps"]
        assert sweep["sweep"]["attempt"] == 1
        asked = {"filter": {"owner": "store"}, "why": "the bucket is gone"}
        assert (await face.ok("PurgeQuarantine", asked))["matched"] == ["store/blob/x"]
        assert await here.hand.count(Family.SWEEPS) == 1
        assert (await face.ok("PurgeQuarantine", {**asked, "confirmCount": 1}))["done"] == 1
        for family in (Family.RESOURCES, Family.HOLDS, Family.TOMBSTONES, Family.SWEEPS):
            assert await here.hand.count(family) == 0, family
        assert await here.hand.count(Family.GRAVES) == 1
        assert "x" in here.owner.things


async def test_what_refers_to_others_is_not_purged_for_what_stays_may_need_them(here: World, tmp_path: Path) -> None:
    async with facing(here, rules(here.owner), tmp_path) as face:
        here.owner.lie = 403
        holder = await here.hand.attach("a")
        here.owner.add("x")
        await here.hand.register(holder, "needed")
        await here.hand.register(holder, "x", references=(blob("needed"),))
        await here.hand.retire(holder)
        await eventually("quarantined", lambda: state(face.plane, "x") is State.QUARANTINED)
        asked = {"filter": {"owner": "store"}, "why": "the bucket is gone", "confirmCount": 1}
        told = await face.ok("PurgeQuarantine", asked)
        assert "refers to others" in str(told)
        assert await here.hand.count(Family.SWEEPS) == 1


async def test_the_brake_trips_and_arms(here: World, face: Face) -> None:
    told = await face.ok("TripBrake", {"why": "half the cluster is gone"}, "otto")
    assert (told["armed"], told["who"], told["why"]) == (False, "otto", "half the cluster is gone")
    await eventually("braked", lambda: face.plane.brake.why_not)
    told = await face.ok("BrakeStatus")
    assert (told["armed"], told["cause"]) == (False, "operator")
    assert (await face.post("ArmBrake", {"why": "back"}, "otto"))[0] == 403
    await face.ok("ArmBrake", {"why": "back"})
    await eventually("armed", lambda: not face.plane.brake.why_not)


async def test_rules_are_checked_and_applied(here: World, face: Face) -> None:
    document = f"owners:\n- {{name: other, hosts: ['o:80'], endpoint: '{here.owner.address}'}}\nrules: []\n"
    steps = (await face.ok("CheckRules", {"document": document}))["steps"]
    assert steps == [{"what": "owner", "name": "other", "verdict": "created"}]
    assert [one["name"] for one in (await face.ok("GetRules"))["owners"]] == ["store"]
    assert (await face.post("ApplyRules", {"document": document}))[0] == 400, "no why"
    await face.ok("ApplyRules", {"document": document, "why": "ticket 7"})
    assert [one["name"] for one in (await face.ok("GetRules"))["owners"]] == ["other", "store"]
    status, answer = await face.post("CheckRules", {"document": "owners: [{nam: x}]\nrules: 7"})
    assert status == 400
    assert len(answer["details"]) > 1
    status, answer = await face.post("CheckRules", {"document": "owners: [{name: '${HOME}'}]"})
    assert status == 400
    assert "/root" not in json.dumps(answer)


async def test_a_watch_tells_the_overview_and_what_changes(here: World, face: Face) -> None:
    headers = {"Authorization": "Bearer vera-token"}
    async with face.http.get(f"{face.url}/Watch", headers=headers, params={"overviewSeconds": "1"}) as answer:
        assert answer.content_type == "text/event-stream"
        seen: list[dict[str, Any]] = []

        async def read_until(what: str) -> dict[str, Any]:
            async with asyncio.timeout(20):
                async for line in answer.content:
                    if line.startswith(b"data: "):
                        seen.append(json.loads(line[6:]))
                        if seen[-1][what] is not None:
                            return seen[-1][what]
            raise AssertionError(seen)

        await read_until("overview")
        holder = await here.hand.attach("a")
        await here.hand.register(holder, "x", grace_class=LONG)
        changed = await read_until("changed")
        assert (changed["name"]["id"], changed["state"]) == ("x", "held")
        overview = await read_until("overview")
        assert overview["total"]["held"] == 1
    await eventually("nobody watches any more", lambda: face.plane.index.touched is None)


async def test_a_watch_over_grpc_tells_the_same(here: World, face: Face) -> None:
    call = face.channel.unary_stream(
        "/leasehold.v1.Operator/Watch", request_serializer=bytes, response_deserializer=v1.WatchResponse.parse
    )(v1.WatchRequest(), metadata=[("authorization", "Bearer vera-token")], timeout=20)
    assert (await call.read()).overview is not None
    holder = await here.hand.attach("a")
    await here.hand.register(holder, "x", grace_class=LONG)
    while (told := await call.read()).changed is None:
        pass
    assert told.changed.name.id == "x"
    call.cancel()
    await eventually("nobody watches any more", lambda: face.plane.index.touched is None)


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        ("ListResources", {"pageSize": "ten"}, "pageSize: expected a whole number"),
        ("ListResources", {"page_size": 5000}, "page_size: expected 1 to 1000, got 5000"),
        ("ListResources", {"pageToken": "!"}, "page_token: expected one from an earlier answer"),
        ("ListResources", {"orderBy": "colour"}, "order_by: expected one of name"),
        ("ListResources", {"colour": "red"}, "colour: no such field; expected filter"),
        ("ListResources", {"filter": {"states": ["hold"]}}, "states: expected one of held"),
        ("ListResources", {"filter": {"states": "held"}}, "filter.states: expected a list"),
        ("ListResources", {"filter": {"pinned": 1}}, "filter.pinned: expected true or false"),
        ("ListResources", [], "request: expected an object"),
        ("GetResource", {}, "name: expected owner, type and id"),
        ("Pin", {"name": {"owner": "store", "type": "blob", "id": 7}, "why": "x"}, "name.id: expected a string"),
        ("ListHolders", {"status": "dead"}, "status: expected one of alive"),
    ],
)
async def test_nonsense_is_refused_with_its_field(face: Face, method: str, body: Any, said: str) -> None:
    status, answer = await face.post(method, body)
    assert (status, answer["code"]) == (400, "INVALID_ARGUMENT")
    assert said in answer["message"]


async def test_nonsense_over_grpc_is_refused_as_well(face: Face) -> None:
    metadata = [("authorization", "Bearer ada-token")]
    for garbage in (b"\xff" * 20, b"\x0a\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x08"):
        call = face.channel.unary_unary("/leasehold.v1.Operator/Pin", request_serializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(garbage, metadata=metadata, timeout=10)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, (garbage, caught.value.details())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await face.rpc("ListResources", v1.ListResourcesRequest(order_by="colour"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "order_by: expected one of name" in (caught.value.details() or "")


async def test_what_a_foreign_page_could_send_is_refused(face: Face) -> None:
    asked = json.dumps({"why": "x"})
    status, _ = await face.post("TripBrake", data=asked, headers={"Content-Type": "text/plain"})
    assert status == 415
    status, answer = await face.post("TripBrake", {"why": "x"}, headers={"Origin": "https://evil.example"})
    assert (status, answer["code"]) == (403, "PERMISSION_DENIED")
    ours = face.url.removesuffix("/v1/operator")
    assert (await face.post("TripBrake", {"why": "x"}, headers={"Origin": ours}))[0] == 200
    assert (await face.get("TripBrake", why="x"))[0] == 405


async def test_a_page_of_a_known_origin_may_call_and_read(face: Face) -> None:
    for origin, allowed in (("https://console.example", True), ("https://evil.example", False)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with face.http.options(f"{face.url}/Pin", headers=asked) as answer:
            assert (answer.status == 204) is allowed
            assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        headers = {"Origin": origin, "Authorization": "Bearer vera-token"}
        async with face.http.get(f"{face.url}/Overview", headers=headers) as answer:
            assert (answer.status == 200) is allowed
            assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)


async def test_bodies_that_are_too_large_or_no_json_are_refused(face: Face) -> None:
    json_type = {"Content-Type": "application/json"}
    assert (await face.post("CheckRules", {"document": "x" * 1_100_000}))[0] == 413
    assert (await face.post("Pin", data="{", headers=json_type))[0] == 400
    assert (await face.post("Pin", data="[" * 200_000, headers=json_type))[0] == 400
    assert (await face.post("Pin", data=b"\xff\xfe", headers=json_type))[0] == 400
    assert (await face.post("Nonsense", {}))[0] == 501


async def test_nobody_gets_in_without_a_token_and_none_beyond_their_role(face: Face) -> None:
    assert (await face.post("Overview", {}, who=None))[0] == 401
    assert (await face.post("Overview", {}, who="mallory"))[0] == 401
    assert (await face.post("Pin", {"name": name("x"), "why": "y"}, who="vera"))[0] == 403
    assert (await face.post("ApplyRules", {"document": "", "why": "y"}, who="otto"))[0] == 403
    for who, code in ((None, grpc.StatusCode.UNAUTHENTICATED), ("mallory", grpc.StatusCode.UNAUTHENTICATED)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await face.rpc("Overview", v1.OverviewRequest(), who)
        assert caught.value.code() is code
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await face.rpc("ArmBrake", v1.ArmBrakeRequest(why="x"), "vera")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "ArmBrake needs the role admin" in (caught.value.details() or "")
    status, _ = await face.post("Overview", {}, headers={"Leasehold-Tenant": "another"})
    assert status == 404


async def test_on_loopback_without_tokens_the_caller_is_local(here: World) -> None:
    async with facing(here, rules(here.owner), None) as face:
        known = (await face.post("WhoAmI", {}, who=None))[1]
        assert (known["who"], known["role"], known["knownBy"]) == ("local", "admin", "loopback")
        status, _ = await face.post("WhoAmI", {}, who=None, headers={"Host": "evil.example"})
        assert status == 403, "a name that was made to point here"


async def test_a_client_certificate_says_who_asks(here: World, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "api.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "api.pem")
    client = authority.issue_cert("ops@example.org", common_name="ops-laptop")
    config = OperatorConfig(
        ("127.0.0.1", 0), ("127.0.0.1", 0), cert=tmp_path / "api.pem", key=tmp_path / "api.key",
        client_ca=tmp_path / "ca.pem", subjects={"ops-laptop": Role.OPERATOR}, loopback=True,
    )  # fmt: skip
    plane = await here.leading(rules(here.owner), operator=config)
    assert plane.operator is not None
    await plane.operator.open()
    assert plane.operator.grpc is not None
    assert plane.operator.http is not None
    try:
        proof = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(), client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()
        )
        who_am_i = ("/leasehold.v1.Operator/WhoAmI", bytes, v1.WhoAmIResponse.parse)
        async with grpc.aio.secure_channel(f"127.0.0.1:{plane.operator.grpc[1]}", proof) as channel:
            known = await channel.unary_unary(*who_am_i)(v1.WhoAmIRequest(), timeout=10)
        assert (known.who, known.role, known.known_by) == ("ops-laptop", "operator", "certificate")
        stranger = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{plane.operator.grpc[1]}", stranger) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(*who_am_i)(v1.WhoAmIRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        client.configure_cert(context)
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"https://127.0.0.1:{plane.operator.http[1]}/v1/operator/WhoAmI", ssl=context) as answer,
        ):
            assert (await answer.json())["who"] == "ops-laptop"
    finally:
        await plane.operator.close()
