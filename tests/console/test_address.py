"""What the address says is what is shown: after a reload, with the back button, and without a mouse."""

from __future__ import annotations

from functools import partial

import pytest
from playwright.async_api import Browser, Route

from tests.console.browser import Screen, screen
from tests.console.conftest import base
from tests.console.scene import MANY, abandoned, crowd
from tests.integration.operator_world import Face
from tests.unit.control_plane.world import World, blob, eventually

pytestmark = pytest.mark.etcd
PROBES = (
    "<img src=x onerror=tellBreach('ran')>",
    "\"><script>tellBreach('ran')</script>",
    "javascript:tellBreach('ran')",
    "{{7*7}}${7*7}'`--",
    "a/../b?c#d%2Fe",
    "\u202egpj.exe\u0007",
)


async def test_a_filter_survives_a_reload_and_the_back_button(here: World, face: Face, ada: Screen) -> None:
    await abandoned(here, face, "a-1", "a-2", "b-1")
    held = await here.hand.attach("alive")
    await here.hand.register(held, "a-3", grace_class="3600s")
    await ada.open("#/resources")
    await ada.page.locator("caption", has_text="4 resources").wait_for()
    await ada.page.locator("#filter-text").fill("a-")
    await ada.page.keyboard.press("Enter")
    await ada.page.locator("caption", has_text="3 resources").wait_for()
    await ada.page.locator("#filter-state-held").check()
    await ada.page.locator("caption", has_text="1 resource,").wait_for()
    assert "text=a-" in ada.page.url
    assert "state=held" in ada.page.url
    await ada.page.reload()
    await ada.page.locator("caption", has_text="1 resource,").wait_for()
    assert await ada.page.locator("#filter-text").input_value() == "a-"
    assert await ada.page.locator("#filter-state-held").is_checked()
    await ada.page.go_back()
    await ada.page.locator("caption", has_text="3 resources").wait_for()
    assert not await ada.page.locator("#filter-state-held").is_checked()
    await ada.page.locator("th a", has_text="Resource").click()
    await ada.page.locator("th[aria-sort=descending]").wait_for()
    await eventually("sorted", lambda: _first(ada, "store/blob/a-3"))


async def _first(it: Screen, text: str) -> bool:
    return (await it.rows())[:1] == [text]


async def test_all_can_be_done_without_a_mouse(here: World, face: Face, ada: Screen) -> None:
    await abandoned(here, face, "one", "two")
    await ada.open()
    await ada.heading("Overview")
    press = ada.page.keyboard.press
    await ada.page.reload()
    await ada.heading("Overview")
    await press("Tab")
    for _ in range(40):
        if await ada.page.evaluate("document.activeElement.id") == "nav-resources":
            break
        await press("Tab")
    await press("Enter")
    await ada.heading("Resources")
    await ada.row("two")
    await press("/")
    await ada.page.keyboard.type("two")
    await press("Enter")
    await ada.page.locator("caption", has_text="1 resource,").wait_for()
    await ada.page.locator(".scroll").focus()
    await press("ArrowDown")
    await press("Enter")
    await ada.heading("two")
    await ada.page.get_by_role("button", name="Pin", exact=True).wait_for()
    for _ in range(60):
        if await ada.page.evaluate("document.activeElement.textContent") == "Pin":
            break
        await press("Tab")
    await press("Enter")
    await ada.page.keyboard.type("needed for case 9")
    await press("Tab")
    for _ in range(5):
        if await ada.page.evaluate("document.activeElement.type") == "submit":
            break
        await press("Tab")
    await press("Enter")
    await ada.said("Pin: done")
    assert await here.hand.there(here.keys.pin(blob("two")))


async def test_ids_that_look_like_markup_or_hide_something_do_nothing_and_are_told_apart(
    here: World, face: Face, ada: Screen
) -> None:
    await abandoned(here, face, *PROBES, holder="<b>gone</b>")
    await ada.open("#/resources")
    await eventually("all are shown", lambda: _count(ada, len(PROBES)))
    assert any("\\u202egpj.exe\\u0007" in row for row in await ada.rows())
    for n in range(len(PROBES)):
        await ada.open("#/resources")
        await eventually("all are shown", lambda: _count(ada, len(PROBES)))
        await ada.page.locator("tbody tr").nth(n).locator("a").first.click()
        await ada.page.locator(".why li").first.wait_for()
        assert await ada.deed("Pin", "<script>tellBreach('why')</script>")
        await ada.page.locator(".stands .tag").first.wait_for()
    for place in ("#/holders", "#/owners", "#/audit", "#/overview", "#/<img src=x onerror=tellBreach('hash')>", "#/%"):
        await ada.open(place)
        await ada.page.locator("main:not([aria-busy])").wait_for()
    assert await ada.page.locator("main img, main script, main b").count() == 0


async def _count(it: Screen, count: int) -> bool:
    return len(await it.rows()) == count


async def test_an_address_that_changes_while_the_page_begins_is_the_one_that_is_shown(
    here: World, face: Face, ada: Screen
) -> None:
    async def slowly(route: Route) -> None:
        await ada.page.evaluate("location.hash = '#/resources'")
        await ada.page.evaluate("new Promise((done) => setTimeout(done))")
        await route.continue_()

    await ada.page.route("**/v1/operator/Overview", slowly)
    await ada.open("#/holders")
    await ada.heading("Resources")
    await ada.page.locator("caption", has_text="0 resources").wait_for()


async def test_a_lost_stream_is_said_and_taken_up_again(here: World, face: Face, browser: Browser) -> None:
    async with screen(browser, base(face), token="vera-token") as vera:
        vera.expected.append("ERR_INTERNET_DISCONNECTED")
        vera.expected.append("ERR_")
        await vera.open("#/resources")
        await vera.page.locator("#live", has_text="Live").wait_for()
        await vera.page.route("**/v1/operator/Watch", lambda route: route.abort())
        await vera.page.evaluate("location.hash = '#/resources?owner=store'")
        await vera.page.locator("#live.stale", has_text="Stale since").wait_for()
        await vera.page.unroute("**/v1/operator/Watch")
        await abandoned(here, face, "meanwhile")
        await vera.row("meanwhile")
        await vera.page.locator("#live:not(.stale)", has_text="Live").wait_for()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_of_a_hundred_thousand_resources_one_page_is_shown_and_no_more(
    here: World, face: Face, ada: Screen
) -> None:
    await crowd(here, face)
    await ada.open("#/resources")
    await ada.page.locator("#range", has_text=f"1 to 100 of {MANY:,}").wait_for()
    nodes = "document.getElementsByTagName('*').length"
    least = await ada.page.evaluate(nodes)
    assert least < 2500
    for n in range(1, 4):
        await ada.page.locator("#next-page").click()
        await ada.page.locator("#range", has_text=f"{n}01 to {n + 1}00 of").wait_for()
        assert len(await ada.rows()) == 100
        assert await ada.page.evaluate(nodes) <= least + 50, "what was shown before is gone"
    await ada.page.go_back()
    await ada.page.locator("#range", has_text="201 to 300 of").wait_for()
    await ada.page.locator("#filter-text").fill("r-7-04711")
    await ada.page.keyboard.press("Enter")
    await ada.page.locator("caption", has_text="1 resource,").wait_for()
    assert await ada.rows() == ["store/blob/r-7-04711"]
    assert await ada.page.evaluate(nodes) < 500


async def test_the_browser_enforces_the_policy_and_the_tests_hear_of_it(here: World, face: Face, ada: Screen) -> None:
    await ada.open()
    await ada.heading("Overview")
    ada.expected += ["breach", "Content Security Policy", "Trusted", "Refused"]
    tried = {
        "require-trusted-types-for": "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "connect-src": "await fetch('http://127.0.0.2:9/')",
        "style-src-attr": "document.body.setAttribute('style', 'color: red')",
    }
    for directive, script in tried.items():
        await ada.page.evaluate(f"(async () => {{ try {{ {script} }} catch {{ }} }})()")
        await eventually(directive, partial(heard, ada, directive))
    assert await ada.page.locator("body > b").count() == 0


def heard(it: Screen, directive: str) -> bool:
    return any(one.startswith(f"breach: {directive}") for one in it.complaints)
