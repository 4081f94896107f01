"""Limits concurrent requests, by priority and fairly between namespaces."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable

URGENT_OF = 4
"""While both kinds wait, one of so many turns goes to a request that is not urgent, so that none starves."""


MOST_PROLONGED = 10
"""For how many times ``longest`` a turn is held at most, whatever comes of it."""


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


class Turn:
    """One request's turn. It goes to the next when nothing has come of it for ``longest`` seconds, or at its end."""

    def __init__(self, pass_on: Callable[[], None], longest: float | None) -> None:
        self._pass_on = pass_on
        self._longest = longest
        self._held = True
        self._begun = asyncio.get_running_loop().time()
        self._early: asyncio.TimerHandle | None = None
        self.prolong()

    def prolong(self) -> None:
        """Something has come of it: it is held on, if it still is, up to ``MOST_PROLONGED`` times as long in all."""
        if self._longest is None or not self._held:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._begun > (MOST_PROLONGED - 1) * self._longest:
            return
        if self._early is not None:
            self._early.cancel()
        self._early = loop.call_later(self._longest, self.end)

    def end(self) -> None:
        """Pass it on, unless that was done."""
        if self._early is not None:
            self._early.cancel()
        if self._held:
            self._held = False
            self._pass_on()


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
    async def turn(self, *, urgent: bool, longest: float | None = None, group: str = "") -> AsyncIterator[Turn]:
        """Wait for a turn, and hold it for the block; see ``Turn`` for ``longest``."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(self._urgent if urgent else self._patient, group)
        turn = Turn(self._pass_on, longest)
        try:
            yield turn
        finally:
            turn.end()

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
