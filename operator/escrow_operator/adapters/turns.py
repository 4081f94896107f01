"""Who may ask next, when all cannot at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

URGENT_OF = 4
"""While both kinds wait, one of so many turns goes to those who are not in a hurry: nothing starves."""


class Turns:
    """At most ``limit`` at once; those in a hurry mostly go first, and each kind in its order."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._patient: deque[asyncio.Future[None]] = deque()
        self._given = 0

    @contextlib.asynccontextmanager
    async def turn(self, *, urgent: bool, longest: float | None = None) -> AsyncIterator[None]:
        """Wait for one, and hold it for the block, or for ``longest`` seconds of it."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(self._urgent if urgent else self._patient)
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

    async def _wait(self, line: deque[asyncio.Future[None]]) -> None:
        mine = asyncio.get_running_loop().create_future()
        line.append(mine)
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
            while line:
                who = line.popleft()
                if not who.done():
                    who.set_result(None)
                    return
        self._free += 1
