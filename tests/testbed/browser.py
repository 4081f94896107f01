"""A Chromium to look at pages with: the machine's own, else Debian's or Playwright's, installed where possible."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from testbed import progress
from testbed.engine import install_debian_packages, may_install

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def executable() -> str | None:
    """The path of a browser; None for the one that Playwright brings, which it finds by itself. Raises ToolingError."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is not None:
        return found
    if may_install():
        install_debian_packages(["chromium"], "installing Chromium")
        return shutil.which("chromium")
    progress.run_logged([sys.executable, "-m", "playwright", "install", "chromium"], "fetching Chromium", timeout=600)
    return None


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without a window."""
    # Its sandbox needs an unprivileged user; the pages are this project's own.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        path = await asyncio.to_thread(executable)
        browser = await playwright.chromium.launch(executable_path=path, args=args)
        try:
            yield browser
        finally:
            await browser.close()
