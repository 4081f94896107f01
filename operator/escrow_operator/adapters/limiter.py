"""Limits concurrent requests, by priority and fairly between namespaces."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

URGENT_OF = 4
"""While both kinds wait, one of so many turns goes to a request that is not urgent, so that none starves."""


class _Lines:
    """A FIFO queue for each group that waits; the groups are served round-robin."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def join(self, group: str, who: asyncio.Future[None]) -> None:
        """Append a waiter to the queue of its group."""
        self._of.setdefault(group, deque()).append(who)

    def pop(self) -> asyncio.Future[None] | None:
        """Remove and return the next waiter that was not cancelled; None without any."""
        while self._of:
            group, line = next(iter(self._of.items()))
            who = line.popleft()
            if not line:
                del self._of[group]
            if not who.done():
                if line:
                    self._of.move_to_end(group)
                return who
        return None


class PriorityLimiter:
    """Admits at most ``limit`` requests at once; urgent ones mostly go first.

    Within each of the two kinds, groups (namespaces) are served round-robin: however many requests of one group wait,
    the first of another group waits for a few only.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._urgent = _Lines()
        self._patient = _Lines()
        self._given = 0

    @contextlib.asynccontextmanager
    async def turn(self, *, urgent: bool, longest: float | None = None, group: str = "") -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the block, but for ``longest`` seconds at most."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(self._urgent if urgent else self._patient, group)
        held = True

        def pass_on() -> None:
            nonlocal held
            if held:
                held = False
                self._pass_on()

        early = asyncio.get_running_loop().call_later(longest, pass_on) if longest is not None else None
        try:
            yield
        finally:
            if early is not None:
                early.cancel()
            pass_on()

    async def _wait(self, lines: _Lines, group: str) -> None:
        mine = asyncio.get_running_loop().create_future()
        lines.join(group, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                # The turn was granted in the same step of the loop in which the waiter was cancelled.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        self._given += 1
        lines = (self._urgent, self._patient) if self._given % URGENT_OF else (self._patient, self._urgent)
        for line in lines:
            who = line.pop()
            if who is not None:
                who.set_result(None)
                return
        self._free += 1
