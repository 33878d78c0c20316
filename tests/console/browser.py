"""A real Chromium, driven as a person would, and all that it complains about."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

SHOTS = Path(os.environ.get("LEASEHOLD_SHOTS") or Path(__file__).parents[2] / "build" / "console-shots")
"""Where pictures of the views are kept, to look at; git ignores it."""
PATIENCE_MS = 15_000
"""Only bounds a failure."""


def chromium() -> str:
    """Skips where there is none; in CI that is a failure."""
    found = os.environ.get("LEASEHOLD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing = "no chromium here (apt-get install chromium, or LEASEHOLD_CHROMIUM=/path): the console is NOT tested"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        # Its own sandbox cannot be had as root in a container; what is opened is ours.
        browser = await driver.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Screen:
    """One person's tab. ``complaints``: errors and warnings of the console, uncaught ones, and breaches of the CSP."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of complaints that a test provokes."""

    async def open(self, place: str = "#/overview") -> None:
        await self.page.goto(f"{self.url}/console/{place}")

    async def heading(self, text: str) -> None:
        await self.page.get_by_role("heading", level=1, name=text, exact=True).wait_for()

    async def rows(self) -> list[str]:
        return await self.page.locator("tbody tr td:first-child").all_inner_texts()

    async def row(self, text: str) -> None:
        await self.page.locator("tbody tr", has_text=text).first.wait_for()

    async def deed(self, verb: str, why: str, count: int | None = None) -> str:
        """Press a verb's button, say why (and how many), confirm. Returns the command line that was shown."""
        await self.page.get_by_role("button", name=verb, exact=True).first.click()
        dialog = self.page.get_by_role("dialog")
        await dialog.locator("textarea").fill(why)
        if count is not None:
            await dialog.locator("input[name=count]").fill(str(count))
        code = dialog.locator("code")
        command = await code.get_attribute("data-exact") if await code.count() else None
        await dialog.locator("button[type=submit]").click()
        await dialog.wait_for(state="detached")
        return command or ""

    async def said(self, text: str) -> None:
        await self.page.locator("#told", has_text=text).wait_for()

    async def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def check(self) -> None:
        left = [one for one in self.complaints if not any(part in one for part in self.expected)]
        assert not left, left


@asynccontextmanager
async def screen(browser: Browser, url: str, *, token: str | None = None, **options: Any) -> AsyncIterator[Screen]:
    """A fresh profile. Fails at the end if the browser had anything to complain about."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    context.set_default_timeout(PATIENCE_MS)
    try:
        it = Screen(await context.new_page(), url)
        await listen(context, it)
        if token is not None:
            await context.add_init_script(f"sessionStorage.setItem('leasehold-token', {token!r})")
        yield it
        it.check()
    finally:
        await context.close()


async def listen(context: BrowserContext, it: Screen) -> None:
    def note(kind: str) -> Callable[[Any], None]:
        return lambda what: it.complaints.append(f"{kind}: {getattr(what, 'text', what)}")

    it.page.on("console", lambda told: it.complaints.append(f"{told.type}: {told.text}") if told.type in BAD else None)
    it.page.on("pageerror", note("uncaught"))
    await context.expose_function("tellBreach", note("breach"))
    await context.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => tellBreach(`${e.violatedDirective} ${e.blockedURI}`))"
    )


BAD = {"error", "warning"}
THEMES: Mapping[str, Any] = {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"}}
