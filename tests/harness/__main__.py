"""Brings up what the tests on a real cluster share, and leaves it up: ``python -m harness``."""

from __future__ import annotations

import asyncio
import sys

from testbed import browser, progress
from testbed.errors import ToolingError

from .world import bring_up


async def main() -> None:
    """Minutes when nothing is there yet. Raises ToolingError."""
    async with bring_up():
        # A test that looks at the page has no time for the installation of a browser.
        await asyncio.to_thread(browser.executable)
        progress.say("the test cluster is up")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ToolingError as error:
        sys.exit(f"error: {error}")
