"""The fence around everything that only the leader may do: it opens for one term, and closes for good.

Whether the term is over is asked of the clock before each request, and not left to a timer alone: a process that was
paused finds the time over when it goes on, whichever of its tasks goes on first.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
from collections.abc import AsyncIterator
from typing import Self

from escrow_operator.adapters.clock import Clock
from escrow_operator.errors import NotLeading

LOOK_SECONDS = 1.0
"""At most between two looks at the term's clock: the loop's own stands still while a machine is suspended."""

_PASSING: contextvars.ContextVar[Fence | None] = contextvars.ContextVar("passing", default=None)


class Fence:
    """Closed until ``open``, and again once the term's time is over, was cut short by ``close``, or was never given.

    ``clock`` is the one that tells the time of the term.
    """

    def __init__(self, clock: Clock) -> None:
        self.term = 0
        """The number of the term; 0 before there is one."""
        self._clock = clock
        self._until = -math.inf
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Timeout] = set()

    @classmethod
    def without_end(cls, clock: Clock) -> Self:
        """A fence that is open for good, for whoever has no rival."""
        fence = cls(clock)
        fence._until = math.inf
        return fence

    @property
    def token(self) -> str:
        """The term as objects are marked with it; empty for whoever has no rival."""
        return str(self.term) if self.term else ""

    @property
    def is_open(self) -> bool:
        """Whether the term goes on."""
        return not self._closed and self._clock.uptime() < self._until

    @property
    def left(self) -> float:
        """Seconds until the term ends, if it is not extended; 0 when it is over."""
        return 0.0 if self._closed else max(0.0, self._until - self._clock.uptime())

    def open(self, term: int, until: float) -> None:
        """Begin the term of this number, which ends at ``until`` by the clock's uptime; once only."""
        if self._closed or self.term:
            raise ValueError("a fence opens once")
        self.term, self._until = term, until
        self._watch()

    def extend(self, until: float) -> bool:
        """Let the term end later; returns False, and does nothing, when it is over already."""
        if not self.is_open:
            self.close()
            return False
        self._until = max(self._until, until)
        self._watch()
        return True

    def close(self) -> None:
        """End the term, and cancel what is under way."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        now = asyncio.get_running_loop().time()
        for request in self._under_way:
            request.reschedule(now)

    def must_be_open(self) -> None:
        """Raises NotLeading when the term is over."""
        if not self.is_open:
            raise NotLeading(self.term)

    @contextlib.asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Around a request: raises NotLeading when the term is over, also when it ends meanwhile.

        The request may have been sent by then, and may be carried out later.
        """
        self.must_be_open()
        if math.isinf(self._until):
            yield
            return
        token = _PASSING.set(self)
        try:
            async with asyncio.timeout(None) as request:
                self._under_way.add(request)
                try:
                    yield
                finally:
                    self._under_way.discard(request)
        except TimeoutError:
            if request.expired():
                raise NotLeading(self.term) from None
            raise
        finally:
            _PASSING.reset(token)

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + min(self.left, LOOK_SECONDS), self._look)

    def _look(self) -> None:
        """The loop's clock and the term's are two: that of the term decides."""
        if self.is_open:
            self._watch()
        else:
            self.close()


def must_still_pass() -> None:
    """Raises NotLeading in the block of a fence whose term is over; called where requests are sent, maybe long after
    the block began."""
    fence = _PASSING.get()
    if fence is not None:
        fence.must_be_open()
