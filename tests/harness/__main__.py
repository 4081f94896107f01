"""Brings up what the tests on a real cluster share, and leaves it up: ``python -m harness``."""

from __future__ import annotations

import asyncio
import shutil
import sys

from testbed import browser, progress
from testbed.engine import install_debian_packages, may_install
from testbed.errors import ToolingError

from .world import bring_up


async def main() -> None:
    """Minutes when nothing is there yet. Raises ToolingError."""
    async with bring_up():
        # Tests have no time for installations: of a browser for the page, of what the documentation's commands use.
        await asyncio.to_thread(browser.executable)
        lacking = [name for name in ("curl", "jq") if shutil.which(name) is None]
        if lacking and may_install():
            await asyncio.to_thread(install_debian_packages, lacking, f"installing {', '.join(lacking)}")
        progress.say("the test cluster is up")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ToolingError as error:
        sys.exit(f"error: {error}")
