"""Concurrent calls, none of which is left running in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def gather_all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results, in order. When a call fails the others still end, and then the first call's error is raised.

    asyncio.gather alone would return at the first error and leave the rest running: a wallet could still be opened
    after the session's status reported that opening failed.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def both(first: Awaitable[T], second: Awaitable[U]) -> tuple[T, U]:
    """The results of two calls of different types. Raises as ``gather_all``: the first call's error comes first."""
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(other, BaseException):
        raise other
    return one, other


def ends_task(error: BaseException) -> bool:
    """Whether an error must end the task that caught it.

    A BaseException may also come from what the task awaited, such as the cancellation of another task: a task that runs
    for ever must not end because of that.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))
