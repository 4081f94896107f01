"""The only place that reads the time, so that decisions take it as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC, whole seconds: what Kubernetes timestamps can carry."""
        return datetime.now(UTC).replace(microsecond=0)

    def monotonic(self) -> float:
        """Seconds that never jump, for intervals."""
        return time.monotonic()
