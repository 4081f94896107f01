"""Clocks that tests move."""

from __future__ import annotations

from datetime import datetime

from escrow_operator.adapters.clock import Clock

from .factories import at


class FakeClock(Clock):
    """Both clocks move together: ``seconds`` since the factories' beginning."""

    seconds = 0.0

    def now(self) -> datetime:
        return at(self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def uptime(self) -> float:
        return self.seconds
