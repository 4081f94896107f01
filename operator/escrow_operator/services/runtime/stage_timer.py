"""Measures how long each stage takes from a session's first event to Ready."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from escrow_operator.adapters.clock import Clock
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.runtime.meters import Meters


class Stage(StrEnum):
    """The stages, in order. A stage may occur more than once; its times add up."""

    QUEUE = "queue"
    """Waiting in the queue, and for what the session lacks (a slot, a place under the cap, a Secret)."""
    PREPARE = "prepare"
    """Adding the finalizer; reading or creating the deeds, which have the passwords."""
    CLAIM = "claim"
    """Adopting three slots."""
    OPEN = "open"
    """The key exchange, opening the wallets and comparing their addresses, publishing connections."""
    VERIFY = "verify"
    """Reading the wallets at monerod's height."""
    STATUS = "status"
    """Writing the status."""


@dataclass(slots=True)
class _Stopwatch:
    """``last`` is the monotonic time of the last mark."""

    last: float
    spent: defaultdict[Stage, float] = field(default_factory=lambda: defaultdict(float))


class StageTimer:
    """A stopwatch for each session that is on its way to Ready for the first time."""

    def __init__(self, meters: Meters, clock: Clock, memory: Memory) -> None:
        self._meters = meters
        self._clock = clock
        self._memory = memory

    def begin(self, session_uid: str) -> None:
        """Start timing a session that was seen for the first time."""
        self._memory.put(session_uid, _Stopwatch(self._clock.monotonic()))

    def mark(self, session_uid: str, stage: Stage) -> None:
        """Add the time since the last mark to ``stage``."""
        watch = self._memory.find(session_uid, _Stopwatch)
        if watch is not None:
            now = self._clock.monotonic()
            watch.spent[stage] += now - watch.last
            watch.last = now

    def ready(self, session_uid: str) -> None:
        """Record the times of a session that is Ready, and stop timing it."""
        watch = self._memory.find(session_uid, _Stopwatch)
        if watch is not None:
            for stage in Stage:
                self._meters.stages.labels(stage=stage.value).observe(watch.spent[stage])
            self._memory.drop(session_uid, _Stopwatch)
