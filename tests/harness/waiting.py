"""Waiting for what must become true, and saying what was true instead when it did not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.2
"""Between two looks: one GET on a kept connection costs the API server next to nothing."""

PATIENCE = 90.0
"""Seconds: far above what anything takes on an idle machine, so that a busy one fails no test."""


async def wait_for(
    look: Callable[[], Awaitable[T | None]],
    *,
    what: str,
    within: float = PATIENCE,
    explain: Callable[[], Awaitable[str]] | None = None,
) -> T:
    """Call ``look`` until it returns something truthy, and return that.

    Raises AssertionError that says what was waited for, and what ``explain`` finds then.
    """
    deadline = time.monotonic() + within
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            found_instead = await explain() if explain else f"the last look gave {found!r}"
            raise AssertionError(f"waited {within:.0f} s for {what}\n{found_instead}")
        await asyncio.sleep(LOOK_SECONDS)
