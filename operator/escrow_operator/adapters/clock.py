"""The only module that reads the time; decisions take it as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Only Linux has the former."""


class Clock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC, in whole seconds like Kubernetes timestamps."""
        return datetime.now(UTC).replace(microsecond=0)

    def exactly_now(self) -> datetime:
        """Wall-clock time, aware, UTC, with microseconds."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps, for intervals."""
        return time.monotonic()

    def uptime(self) -> float:
        """Seconds of a clock that never jumps, and goes on while the machine is suspended: for what others rely on."""
        return time.clock_gettime(_SINCE_BOOT)
