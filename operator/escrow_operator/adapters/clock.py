"""The only module that reads the time; decisions take it as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC, in whole seconds like Kubernetes timestamps."""
        return datetime.now(UTC).replace(microsecond=0)

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps, for intervals."""
        return time.monotonic()
