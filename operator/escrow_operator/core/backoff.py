"""When to retry what failed, and when to stop retrying it the same way."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from escrow_operator.core.report import READY
from escrow_operator.models.common import format_time, parse_time
from escrow_operator.models.session import Phase, Session

FIRST_TRY_SECONDS = 5.0
LONGEST_TRY_SECONDS = 300.0
"""Seconds between two tries to open a session's wallets: at first, then doubling, and at most."""

OPENING_DEADLINE = timedelta(minutes=15)
"""Time since the first failure to open after which a pod that does not open its wallet is replaced, once. Far above
what a busy machine takes: opening one wallet has a deadline of a minute, and there are ten tries before this."""

WAITED_PART = 0.1
"""Requeue delay of a waiting session, as a part of the time for which it has waited: each reconciliation may read three
Secrets from the API server, and a tenant may have ten thousand sessions whose Secrets do not exist."""

FIRST_MEND = timedelta(minutes=10)
LONGEST_MEND = timedelta(hours=1)
"""Time between two tries of a Failed session: at first, then doubling, and at most."""

OPENING_TIMED_OUT = "OpeningTimedOut"
"""The reason of a session that is past ``OPENING_DEADLINE``."""

_DOUBLINGS = 10
"""Doublings of a delay at most: further ones are beyond every maximum."""


@dataclass(frozen=True)
class Opening:
    """The failed tries to open a session's wallets, as its status keeps them for the next operator process."""

    since: datetime
    attempts: int
    touched: str | None
    replaced: bool

    @classmethod
    def of(cls, session: Session) -> Self | None:
        """The record in the status; None when there was no failure, or when the record is out of date.

        A change of the spec or a touch makes it so: a user signals by them that the cause was mended.
        """
        noted = session.status.get("opening")
        if not noted or session.status.get("observedGeneration") != session.generation:
            return None
        if noted.get("touched") != session.touch:
            return None
        return cls(parse_time(noted["since"]), noted["attempts"], noted.get("touched"), noted.get("replaced", False))

    @classmethod
    def failed(cls, session: Session, now: datetime) -> Self:
        """The record after one more failure at ``now``."""
        before = cls.of(session)
        if before is None:
            return cls(now, 1, session.touch, replaced=False)
        # A clock that was set back must not put the deadline off.
        return dataclasses.replace(before, since=min(before.since, now), attempts=before.attempts + 1)

    @property
    def delay(self) -> float:
        """Delay in seconds before the next try."""
        return min(math.ldexp(FIRST_TRY_SECONDS, min(self.attempts - 1, _DOUBLINGS)), LONGEST_TRY_SECONDS)

    def is_overdue(self, now: datetime) -> bool:
        """Whether ``OPENING_DEADLINE`` has passed since the first failure."""
        return now - self.since >= OPENING_DEADLINE

    def to_status(self) -> dict[str, Any]:
        """The record as the status has it."""
        noted = {"since": format_time(self.since), "attempts": self.attempts, "replaced": self.replaced}
        return noted | ({"touched": self.touched} if self.touched else {})


def has_timed_out(session: Session) -> bool:
    """Whether a session is being opened and is past the deadline: it keeps its slots, but may be evicted."""
    ready = session.condition(READY) or {}
    return session.phase in (Phase.PENDING, Phase.OPENING) and ready.get("reason") == OPENING_TIMED_OUT


def look_again_after(session: Session, least: float, *, now: datetime) -> float:
    """Requeue delay in seconds of a session that holds no slots and waits until a user mends something.

    ``least`` at first; then it grows with the time waited, up to LONGEST_TRY_SECONDS.
    """
    ready = session.condition(READY)
    if ready is None or ready["status"] == "True":
        return least
    waited = (now - parse_time(ready["lastTransitionTime"])).total_seconds()
    return max(least, min(waited * WAITED_PART, LONGEST_TRY_SECONDS))


def failed_again(session: Session, secrets: str, *, again: bool, now: datetime) -> dict[str, Any]:
    """The status field ``failure`` of a session that failed: what was tried, how often, and when the next try is due.

    ``secrets`` stands for the versions of its Secrets. Without ``again`` there is no next try.
    """
    tried: dict[str, Any] = {"generation": session.generation, "secrets": secrets}
    if not again:
        return tried
    before = session.status.get("failure") or {}
    same = {key: before.get(key) for key in tried} == tried
    tries = before.get("tries", 0) + 1 if same else 1
    retry_at = now + min(FIRST_MEND * 2 ** min(tries - 1, _DOUBLINGS), LONGEST_MEND)
    return tried | {"tries": tries, "retryAt": format_time(retry_at)}


def is_to_be_tried(session: Session, now: datetime) -> bool:
    """Whether the next try of a Failed session is due. A clock that was set back delays it by LONGEST_MEND at most."""
    noted = (session.status.get("failure") or {}).get("retryAt")
    return noted is not None and not now < parse_time(noted) <= now + LONGEST_MEND
