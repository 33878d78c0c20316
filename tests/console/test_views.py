"""Every view, in both themes: whole, readable to everybody, and with nothing for the browser to complain about."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.async_api import Browser, Page

from tests.console.browser import THEMES, Screen, screen
from tests.console.conftest import base
from tests.console.scene import abandoned, everything
from tests.integration.operator_world import Face
from tests.unit.control_plane.world import World

pytestmark = [pytest.mark.etcd, pytest.mark.timeout(300)]
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
AXE_SHA256 = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"
VIEWS = {
    "resources": "#/resources?text=e&order=-state",
    "held": "#/resource/store/blob/bundle",
    "in-grace": "#/resource/store/blob/leaked%2F03",
    "quarantined": "#/resource/store/blob/stuck%2F1",
    "holders": "#/holders?order=-resources",
    "owners": "#/owners",
    "sweeps": "#/sweeps?owner=store",
    "brake": "#/brake",
    "audit": "#/audit",
    # Late, so that it has some history to show.
    "overview": "#/overview",
    "nowhere": "#/nowhere",
    "unknown": "#/resource/store/blob/nothing-of-this-name",
}


async def settled(page: Page) -> None:
    """What was asked for is shown."""
    await page.locator("main h1").wait_for()
    await page.locator("main:not([aria-busy])").wait_for()
    await page.locator("#live", has_text="Live").wait_for()


async def audited(page: Page) -> list[str]:
    """What axe finds wrong, each with where."""
    source = AXE.read_text()
    assert hashlib.sha256(source.encode()).hexdigest() == AXE_SHA256, "another axe than was looked at"
    await page.evaluate(source)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found: dict[str, Any] = await page.evaluate(f"axe.run(document, {{runOnly: {tags!r}}})")
    assert found["passes"], "axe looked at nothing"
    return [f"{one['id']}: {one['help']}: {[n['html'][:160] for n in one['nodes']]}" for one in found["violations"]]


@pytest.mark.parametrize("theme", THEMES)
async def test_every_view_is_accessible_and_the_browser_has_nothing_to_complain_about(
    here: World, face: Face, browser: Browser, theme: str
) -> None:
    await everything(here, face)
    wrong = {}
    async with screen(browser, base(face), token="ada-token", **THEMES[theme]) as ada:
        ada.expected.append("404")
        for name, place in VIEWS.items():
            await ada.open("#/nowhere")
            await ada.open(place)
            await settled(ada.page)
            await ada.shot(f"{name}-{theme}")
            if found := await audited(ada.page):
                wrong[name] = found
        await ada.open(VIEWS["in-grace"])
        await ada.page.get_by_role("button", name="Unpin", exact=True).click()
        await ada.page.locator("dialog").wait_for()
        await ada.shot(f"deed-{theme}")
        wrong["deed"] = await audited(ada.page)
    async with screen(browser, base(face), **THEMES[theme]) as stranger:
        stranger.expected.append("401")
        await stranger.open()
        await stranger.heading("Sign in")
        await stranger.shot(f"sign-in-{theme}")
        wrong["sign-in"] = await audited(stranger.page)
    assert not any(wrong.values()), wrong


async def test_the_theme_follows_the_system_until_a_person_chooses_and_the_choice_stays(
    here: World, face: Face, browser: Browser
) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    async with screen(browser, base(face), token="vera-token", color_scheme="dark") as vera:
        await vera.open()
        await vera.heading("Overview")
        dark = await vera.page.evaluate(ground)
        await vera.page.locator("#theme").click()
        assert await vera.page.locator("#theme").inner_text() == "Theme: light"
        light = await vera.page.evaluate(ground)
        assert light != dark
        await vera.page.reload()
        await vera.heading("Overview")
        assert await vera.page.evaluate(ground) == light


async def test_it_is_usable_on_a_narrow_screen(here: World, face: Face, ada: Screen) -> None:
    await abandoned(here, face, "x")
    await ada.page.set_viewport_size({"width": 390, "height": 800})
    for place in VIEWS.values():
        if "nothing" not in place:
            await ada.open(place.replace("bundle", "x").replace("leaked%2F03", "x").replace("stuck%2F1", "x"))
            await settled(ada.page)
            wide = await ada.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390, place
