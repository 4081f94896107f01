"""Who may ask next, when all cannot at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

URGENT_OF = 4
"""While both kinds wait, one of so many turns goes to those who are not in a hurry: nothing starves."""


class _Lines:
    """A line for each group that waits; the groups are served in turn, each in its order."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def join(self, group: str, who: asyncio.Future[None]) -> None:
        """Wait at the end of the group's line."""
        self._of.setdefault(group, deque()).append(who)

    def pop(self) -> asyncio.Future[None] | None:
        """Who is next, and still waits; None when nobody does."""
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
    """At most ``limit`` at once; those in a hurry mostly go first, and each kind in its order.

    Groups (namespaces) are served in turn: however many of one wait, of another the first is next but a few.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._urgent = _Lines()
        self._patient = _Lines()
        self._given = 0

    @contextlib.asynccontextmanager
    async def turn(self, *, urgent: bool, longest: float | None = None, group: str = "") -> AsyncIterator[None]:
        """Wait for one, and hold it for the block, or for ``longest`` seconds of it."""
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
                # Given at the very moment of giving up.
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
