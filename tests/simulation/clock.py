"""The clocks of the simulated world."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from escrow_operator.adapters.clock import Clock

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class SimClock(Clock):
    """The loop's time; ``ahead`` is by how much the wall clock jumped."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return (EPOCH + timedelta(seconds=self.monotonic()) + self.ahead).replace(microsecond=0)

    def exactly_now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic()) + self.ahead

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def uptime(self) -> float:
        return self.monotonic()
