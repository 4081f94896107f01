"""Several calls at once, none of them left running behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def gather_all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results, in order. When one fails the others still end, and then the first error is raised.

    asyncio.gather alone would return at the first error and leave the rest running: a wallet could still be opened
    after its session was told that opening failed.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
