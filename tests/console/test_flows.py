"""What operators do, done by hand in a real Chromium, before a real control plane and a real etcd."""

from __future__ import annotations

import shlex

import click
import pytest
from playwright.async_api import Browser

from leasehold.cli.__main__ import main
from leasehold.control_plane.core.lifecycle import State
from tests.console.browser import Screen, screen
from tests.console.conftest import base
from tests.console.scene import abandoned
from tests.integration.operator_world import Face, facing
from tests.unit.control_plane.world import World, blob, eventually, rules, state

pytestmark = pytest.mark.etcd


async def test_an_abandoned_resource_is_found_explained_pinned_and_restored(
    here: World, face: Face, ada: Screen
) -> None:
    await abandoned(here, face, "alpha", "beta")
    await ada.open()
    await ada.heading("Overview")
    await ada.page.locator(".figures a.in-grace").click()
    await ada.row("beta")
    await ada.page.get_by_role("link", name="store/blob/alpha").click()
    await ada.heading("alpha")
    await ada.page.locator(".why li", has_text="svc@gone~1").first.wait_for()
    await ada.page.locator("#countdown", has_text="The sweep comes in").wait_for()
    command = await ada.deed("Pin", "evidence for 'case 9'")
    assert shlex.split(command)[-4:] == ["pin", "store/blob/alpha", "--why", "evidence for 'case 9'"]
    await ada.page.locator(".stands .tag", has_text="pinned").wait_for()
    assert await here.hand.there(here.keys.pin(blob("alpha")))
    await ada.deed("Unpin", "the case is closed")
    await ada.page.locator(".stands .tag").wait_for(state="detached")
    before = (await face.ok("GetResource", {"name": {"owner": "store", "type": "blob", "id": "beta"}}))["resource"]
    await ada.open("#/resource/store/blob/beta")
    await ada.deed("Restore", "needed again")
    await ada.said("Restore: done")

    async def condemned_anew() -> bool:
        found = await face.ok("GetResource", {"name": {"owner": "store", "type": "blob", "id": "beta"}})
        return int(found["resource"]["tombstoneRevision"]) not in {0, int(before["tombstoneRevision"])}

    await eventually("its grace started anew", condemned_anew)
    await ada.open("#/audit")
    await ada.row("needed again")
    assert [one["method"] for one in (await face.ok("ListAudit"))["entries"]] == ["Restore", "Unpin", "Pin"]


async def test_nothing_is_done_without_a_reason_nor_with_a_wrong_count(here: World, face: Face, ada: Screen) -> None:
    await abandoned(here, face, "x")
    await ada.open("#/resource/store/blob/x")
    await ada.page.get_by_role("button", name="Sweep now", exact=True).click()
    dialog = ada.page.get_by_role("dialog")
    confirm = dialog.locator("button[type=submit]")
    await confirm.click()
    await dialog.get_by_role("alert").filter(has_text="Expected a reason").wait_for()
    await dialog.locator("textarea").fill("the disk is full")
    await dialog.locator("input[name=count]").fill("2")
    await confirm.click()
    await dialog.get_by_role("alert").filter(has_text="Expected 1").wait_for()
    await ada.page.keyboard.press("Escape")
    await dialog.wait_for(state="detached")
    assert (await face.ok("ListAudit"))["entries"] == []
    await ada.deed("Sweep now", "the disk is full", 1)
    await eventually("it is gone at its owner", lambda: "x" not in here.owner.things)


async def test_the_brake_is_tripped_and_armed_and_everybody_sees_it_at_once(
    here: World, face: Face, browser: Browser, ada: Screen
) -> None:
    await abandoned(here, face, "x", "y")
    async with screen(browser, base(face), token="vera-token") as vera:
        await vera.open()
        await vera.page.locator("header .chip.armed").wait_for()
        await ada.open("#/brake")
        await ada.deed("Trip the brake", "half the cluster is unreachable")
        await vera.page.locator("header .chip.braked").wait_for()
        await vera.page.locator("section.brake", has_text="half the cluster is unreachable").wait_for()
        await ada.page.locator("dd", has_text="half the cluster is unreachable").wait_for()
        assert not (await face.ok("BrakeStatus"))["armed"]
        await ada.deed("Arm the brake", "the network is back", 2)
        await vera.page.locator("header .chip.armed").wait_for()
    assert (await face.ok("BrakeStatus"))["armed"]


async def test_a_quarantined_resource_is_seen_with_its_answer_and_purged_by_the_count(
    here: World, face: Face, ada: Screen
) -> None:
    here.owner.lie = 403
    await abandoned(here, face, "x")
    await face.ok("SweepNow", {"name": {"owner": "store", "type": "blob", "id": "x"}, "why": "test"})
    await ada.open()
    await ada.page.locator("#nav-sweeps").click()
    await eventually("quarantined", lambda: state(face.plane, "x") is State.QUARANTINED)
    await ada.row("403")
    await ada.page.locator("#nav-owners").click()
    await ada.page.locator("td", has_text="1 × ").wait_for()
    await ada.page.locator("#nav-sweeps").click()
    purge = ada.page.get_by_role("button", name="Purge", exact=True)
    assert await purge.is_disabled(), "without a filter it would mean everything"
    await ada.page.locator("#filter-owner").select_option("store")
    await ada.page.locator("button:enabled", has_text="Purge").wait_for()
    await ada.deed("Purge", "its owner is gone for good", 1)
    await ada.said("Purge: 1 of 1 forgotten")
    await ada.page.locator("tbody", has_text="None.").wait_for()


async def test_many_are_swept_only_with_a_filter_and_by_the_count(here: World, face: Face, ada: Screen) -> None:
    await abandoned(here, face, "a-1", "a-2", "b-1")
    await ada.open("#/resources")
    await ada.row("b-1")
    assert await ada.page.get_by_role("button", name="Sweep now", exact=True).is_disabled()
    await ada.page.locator("#filter-text").fill("a-")
    await ada.page.keyboard.press("Enter")
    await ada.page.locator("caption", has_text="2 resources").wait_for()
    await ada.deed("Sweep now", "the disk is full", 2)
    await eventually("both are gone", lambda: set(here.owner.things) == {"b-1"})


async def test_a_viewer_may_look_and_not_do(here: World, face: Face, browser: Browser) -> None:
    await abandoned(here, face, "x")
    async with screen(browser, base(face), token="vera-token") as vera:
        await vera.open("#/resource/store/blob/x")
        pin = vera.page.get_by_role("button", name="Pin", exact=True)
        await pin.wait_for()
        assert await pin.is_disabled()
        assert await pin.get_attribute("title") == "needs the role operator"
        await vera.open("#/resources?text=x")
        await vera.row("x")
        assert await vera.page.locator(".many").count() == 0


async def test_a_token_is_asked_for_kept_in_the_tab_alone_and_forgotten_on_signing_out(
    here: World, face: Face, browser: Browser
) -> None:
    async with screen(browser, base(face)) as it:
        it.expected.append("401")
        await it.open("#/holders")
        await it.heading("Sign in")
        await it.page.locator("#token").fill("nobody's")
        await it.page.keyboard.press("Enter")
        await it.page.get_by_role("alert").filter(has_text="not known here").wait_for()
        await it.page.locator("#token").fill("otto-token")
        await it.page.keyboard.press("Enter")
        await it.heading("Holders")
        await it.page.locator("#who", has_text="otto, operator").wait_for()
        assert await it.page.evaluate("[Object.keys(sessionStorage), Object.keys(localStorage), document.cookie]") == [
            ["leasehold-token"], [], "",
        ]  # fmt: skip
        await it.page.reload()
        await it.heading("Holders")
        other = await it.page.context.new_page()
        await other.goto(f"{it.url}/console/")
        await other.get_by_role("heading", name="Sign in").wait_for()
        await it.page.locator("#sign-out").click()
        await it.heading("Sign in")
        assert await it.page.evaluate("sessionStorage.length") == 0


async def test_each_command_that_is_shown_is_one_that_the_command_line_takes(
    here: World, face: Face, ada: Screen
) -> None:
    await abandoned(here, face, "it's $(odd) `one`", "-x")
    held = await here.hand.attach("alive")
    await here.hand.register(held, "held", grace_class="3600s")
    shown = set()
    for place in ("resources?state=in-grace&owner=store", "resource/store/blob/-x", "brake"):
        await ada.open(f"#/{place}")
        await ada.page.locator("main:not([aria-busy]) code").first.wait_for()
        shown |= set(await ada.page.locator("code").evaluate_all("all => all.map((one) => one.dataset.exact)"))
    await ada.open("#/resources?text=odd")
    await ada.page.locator("tbody a").first.click()
    shown.add(await ada.deed("Pin", "-- 'why' $(not)"))
    await ada.deed("Unpin", "over")
    await ada.open("#/resource/store/blob/held")
    shown.add(await ada.deed("Release by force", "its host is gone", 1))
    words = [shlex.split(line) for line in shown]
    assert {line[3] for line in words} == {"get", "why", "pin", "restore", "sweep-now", "release", "brake"}
    for name, *arguments in words:
        assert name == "leasehold"
        taken(main, arguments)
    assert ["pin", "store/blob/it's $(odd) `one`", "--why", "-- 'why' $(not)"] in [line[3:] for line in words]


def taken(command: click.Command, arguments: list[str]) -> None:
    """Raises ``click.UsageError`` for what this command does not know."""
    context = command.make_context(command.name, arguments)
    if isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, context._protected_args + context.args)
        assert found is not None
        taken(found, rest)


async def test_a_deed_whose_outcome_nobody_knows_is_not_told_as_a_failure(here: World, face: Face, ada: Screen) -> None:
    await abandoned(here, face, "x")
    ada.expected.append("ERR_FAILED")
    await ada.open("#/resource/store/blob/x")
    await ada.page.route("**/v1/operator/Pin", lambda route: route.abort())
    await ada.page.get_by_role("button", name="Pin", exact=True).click()
    dialog = ada.page.get_by_role("dialog")
    await dialog.locator("textarea").fill("evidence")
    await dialog.locator("button[type=submit]").click()
    await dialog.get_by_role("alert").filter(has_text="look before you repeat it").wait_for()
    await ada.page.unroute("**/v1/operator/Pin")
    await dialog.locator("button[type=submit]").click()
    await ada.said("Pin: done")


async def test_what_changes_is_shown_without_asking(here: World, face: Face, ada: Screen) -> None:
    await ada.open()
    await ada.page.locator(".figures", has_text="in-grace").wait_for()
    await abandoned(here, face, "x", "y")
    await ada.page.locator(".figures div", has=ada.page.locator("a.in-grace"), has_text="2").wait_for()
    await ada.page.get_by_role("img", name="2 in-grace; the axis goes up to 2").wait_for()
    await ada.page.locator("polyline.in-grace").wait_for()
    await ada.page.get_by_role("link", name="store/blob", exact=True).click()
    await ada.row("store/blob/x")
    await here.hand.acquire(await here.hand.attach("b"), "x")
    await ada.page.locator("tbody tr", has_text="store/blob/x").locator(".state.held").wait_for()


async def test_without_tokens_nobody_signs_in_on_loopback(here: World, browser: Browser) -> None:
    async with (
        facing(here, rules(here.owner, grace="3600s"), None) as face,
        screen(browser, base(face)) as it,
    ):
        await it.open("")
        await it.heading("Overview")
        await it.page.locator("#who", has_text="local, admin").wait_for()
        assert await it.page.locator("#sign-out").count() == 0


async def test_leaving_a_view_calls_off_what_was_being_asked(here: World, face: Face, ada: Screen) -> None:
    await abandoned(here, face, "x")
    await ada.open("#/resources")
    await ada.page.get_by_role("link", name="store/blob/x").click()
    await ada.page.get_by_role("button", name="Pin", exact=True).click()
    await ada.page.get_by_role("dialog").wait_for()
    await ada.page.go_back()
    await ada.heading("Resources")
    assert await ada.page.get_by_role("dialog").count() == 0
    assert (await face.ok("ListAudit"))["entries"] == []
