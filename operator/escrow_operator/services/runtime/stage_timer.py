"""How long each part of a session's way to Ready takes."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum

from escrow_operator.adapters.clock import Clock
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


class Stages:
    """A stopwatch per session that is on its way; sessions that were never begun cost nothing."""

    def __init__(self, meters: Meters, clock: Clock) -> None:
        self._meters = meters
        self._clock = clock
        self._last: dict[str, float] = {}
        self._spent: dict[str, defaultdict[Stage, float]] = {}

    def begin(self, session_uid: str) -> None:
        """The session was seen for the first time."""
        self._last[session_uid] = self._clock.monotonic()
        self._spent[session_uid] = defaultdict(float)

    def mark(self, session_uid: str, stage: Stage) -> None:
        """What happened since the last mark was this."""
        last = self._last.get(session_uid)
        if last is None:
            return
        now = self._last[session_uid] = self._clock.monotonic()
        self._spent[session_uid][stage] += now - last

    def ready(self, session_uid: str) -> None:
        """The session is Ready: its times count."""
        spent = self._spent.get(session_uid)
        if spent is not None:
            for stage in Stage:
                self._meters.stages.labels(stage=stage.value).observe(spent[stage])
        self.forget(session_uid)

    def forget(self, session_uid: str) -> None:
        """The session is gone, closed or Ready."""
        self._last.pop(session_uid, None)
        self._spent.pop(session_uid, None)
