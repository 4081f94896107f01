"""The gateway's page in a real browser, as ``kubectl escrow page`` shows it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from harness.gateway import account
from harness.place import Place
from testbed import plugin
from testbed.browser import chromium
from testbed.settings import REPO_ROOT

PICTURES = REPO_ROOT / "logs" / "page"

MAY_LOOK = (
    {"apiGroups": ["xmr-escrow.dev"], "resources": ["escrowsessions", "walletpools"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
)


@asynccontextmanager
async def address(place: Place, who: str) -> AsyncIterator[str]:
    """The address that the command prints; the command ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(*plugin.COMMAND, "-n", place.namespace, "page", "--as", who, "--no-open"),
        env=plugin.environment(place.world.cluster, PYTHONUNBUFFERED="1"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        yield line.decode().strip()
    finally:
        process.terminate()
        await process.wait()


async def must_be_accessible(page: Page) -> None:
    """By axe's rules, in what is shown now."""
    found = await Axe().run(page)
    assert not found.response["violations"], found.generate_report()


async def must_fit(page: Page) -> None:
    """Nothing has to be scrolled sideways for."""
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


async def must_be_fine_everywhere(page: Page, name: str) -> None:
    """On a wide and on the narrowest screen, dark and light; pictures of all of it are kept to be looked at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for width, height in ((1280, 900), (360, 740)):
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await must_fit(page)
            await must_be_accessible(page)
            await page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=True)


async def test_the_page_shows_sessions_and_their_story_live(place: Place) -> None:
    escrow = await place.active("seen")
    await account(place, "looker", *MAY_LOOK)
    complaints: list[str] = []
    async with address(place, "looker") as url, chromium() as browser:
        page = await browser.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="seen", exact=True))
        await expect(row).to_contain_text("Active")
        pool = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=place.pool_name, exact=True))
        await expect(pool).to_contain_text("1/1/1")
        await must_be_fine_everywhere(page, "overview")

        # By keyboard alone.
        link = row.get_by_role("link")
        await link.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("seen")
        await expect(page.get_by_text((await escrow.status())["address"])).to_be_visible()
        await expect(page.get_by_role("listitem").filter(has_text="SlotsClaimed")).to_be_visible()
        await must_be_fine_everywhere(page, "session")

        await escrow.change(suspend=True)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Suspended", timeout=30_000)
        await expect(page.get_by_role("status")).to_have_text("seen is Suspended.")
        await expect(page.get_by_text("SuspendedBySpec").first).to_be_visible()
    assert not complaints


async def test_who_may_not_list_is_told_what_he_needs(place: Place) -> None:
    await account(place, "stranger")
    async with address(place, "stranger") as url, chromium() as browser:
        page = await browser.new_page()
        await page.goto(url)
        await expect(page.get_by_text(re.compile("may not list escrowsessions in namespace"))).to_be_visible()
        await must_be_accessible(page)
