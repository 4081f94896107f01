"""Answers that are used again for some seconds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The ``size`` values used last, each for ``seconds``. Who asks for one on its way waits for that answer."""

    def __init__(self, size: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._seconds, self._clock = size, seconds, clock
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._coming: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._values)

    async def get(self, key: K, fetch: Callable[[], Awaitable[V]], *, within: float | None = None) -> V:
        """The value, fetched unless it is fresh (``within`` so many seconds). What ``fetch`` raises is not kept."""
        known = self._values.get(key)
        if known is not None and self._clock() - known[0] < (self._seconds if within is None else within):
            self._values.move_to_end(key)
            return known[1]
        coming = self._coming.get(key)
        if coming is None:
            coming = asyncio.create_task(self._fetch(key, fetch))
            self._coming[key] = coming
            coming.add_done_callback(lambda task: self._came(key, task))
        # A caller that goes away takes the answer from nobody else.
        return await asyncio.shield(coming)

    def last(self, key: K) -> V | None:
        """The value that is kept, however old it is; None without one."""
        known = self._values.get(key)
        return None if known is None else known[1]

    def fresh(self, key: K) -> bool:
        """Whether a value is kept that would be used again."""
        known = self._values.get(key)
        return known is not None and self._clock() - known[0] < self._seconds

    def put(self, key: K, value: V, at: float | None = None) -> None:
        """Note a value that came another way, or was asked for ``at`` that time."""
        self._values[key] = (self._clock() if at is None else at, value)
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        """Fetch it anew next time, also when it is being fetched now: that answer may be of before."""
        self._values.pop(key, None)
        self._coming.pop(key, None)

    async def _fetch(self, key: K, fetch: Callable[[], Awaitable[V]]) -> V:
        # What it says may change from the moment of asking.
        asked = self._clock()
        value = await fetch()
        if self._coming.get(key) is asyncio.current_task():
            self.put(key, value, asked)
        return value

    def _came(self, key: K, task: asyncio.Task[V]) -> None:
        if self._coming.get(key) is task:
            del self._coming[key]
        if not task.cancelled():
            # Whoever waited has it; that nobody did is no error of its own.
            task.exception()
