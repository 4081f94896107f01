"""How long each part of a session's way to Ready takes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from escrow_operator.adapters.clock import Clock
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.runtime.meters import Meters


class Stage(StrEnum):
    """The parts, in order. One may come more than once; its times add up."""

    QUEUE = "queue"
    """Waiting to be looked at, and for what the session lacks (a slot, a place, a Secret)."""
    PREPARE = "prepare"
    """The finalizer, and the passwords."""
    CLAIM = "claim"
    """Three slots adopted."""
    OPEN = "open"
    """The key exchange, the wallets opened and their address proven, connections published."""
    VERIFY = "verify"
    """The wallets read at the chain's height."""
    STATUS = "status"
    """Status writes."""


@dataclass
class _Stopwatch:
    """``last`` is the monotonic time of the last mark; None when the watch does not run."""

    last: float | None = None
    spent: defaultdict[Stage, float] = field(default_factory=lambda: defaultdict(float))


class StageTimer:
    """A stopwatch for each session that is on its way to Ready for the first time."""

    def __init__(self, meters: Meters, clock: Clock, memory: Memory) -> None:
        self._meters = meters
        self._clock = clock
        self._memory = memory

    def begin(self, session_uid: str) -> None:
        """The session was seen for the first time."""
        self._memory.of(session_uid, _Stopwatch).last = self._clock.monotonic()

    def mark(self, session_uid: str, stage: Stage) -> None:
        """What happened since the last mark was this."""
        watch = self._memory.of(session_uid, _Stopwatch)
        if watch.last is not None:
            now = self._clock.monotonic()
            watch.spent[stage] += now - watch.last
            watch.last = now

    def ready(self, session_uid: str) -> None:
        """The session is Ready: its times count."""
        watch = self._memory.of(session_uid, _Stopwatch)
        if watch.last is not None:
            for stage in Stage:
                self._meters.stages.labels(stage=stage.value).observe(watch.spent[stage])
        self._memory.drop(session_uid, _Stopwatch)
