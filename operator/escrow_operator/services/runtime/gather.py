"""Several calls at once, none of them left running behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


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


async def both(first: Awaitable[T], second: Awaitable[U]) -> tuple[T, U]:
    """Two calls of different kinds; otherwise as ``gather_all``, and the first one's error comes first."""
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(other, BaseException):
        raise other
    return one, other


def ends_task(error: BaseException) -> bool:
    """Whether an error is to end the task that caught it.

    One that is no Exception may also come from what the task waited for, such as the cancellation of somebody else's
    task: what is to go on for ever must not end for it.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))
