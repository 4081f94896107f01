"""Acting on a cluster in which anything may be away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from escrow_operator.errors import EscrowError
from harness.api import ApiError
from harness.waiting import wait_for
from testbed.errors import ToolingError

T = TypeVar("T")

PASSES = (ApiError, EscrowError, ToolingError, httpx.HTTPError, OSError)
"""What an action may raise while something is away. A refusal for good is found at the deadline, with its words."""

HEALS_WITHIN = 420.0
"""Seconds after which what users wait for must have come about, whatever fault there was meanwhile. Above the longest
time that wallet-rpc is known to hang by itself: some 210 s, when its monerod goes away while it scans."""


class Stuck(Exception):
    """It did not come about."""


async def insist(what: str, action: Callable[[], Awaitable[T | None]], *, within: float = HEALS_WITHIN) -> T:
    """Repeat an action until it returns something truthy, and return that. Raises Stuck."""
    last = "nothing"

    async def look() -> T | None:
        nonlocal last
        try:
            async with asyncio.timeout(within):
                found = await action()
        except PASSES as error:
            last = f"{type(error).__name__}: {str(error)[:300]}"
            return None
        last = "not yet"
        return found

    async def explain() -> str:
        return f"the last try gave {last}"

    try:
        return await wait_for(look, what=what, within=within, explain=explain)
    except AssertionError as error:
        raise Stuck(str(error)) from None


async def do(what: str, action: Callable[[], Awaitable[object]], *, within: float = HEALS_WITHIN) -> None:
    """Repeat an action until it succeeds. Raises Stuck."""

    async def done() -> bool:
        await action()
        return True

    await insist(what, done, within=within)
