"""When to try again what did not work, and when to stop trying it the same way."""

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
"""Between two tries to open a session's wallets: the first, doubling, and the longest."""

OPENING_DEADLINE = timedelta(minutes=15)
"""From the first failure to open, after which a pod that does not open its wallet is replaced, once. Far above what a
busy machine takes: opening one wallet has a deadline of a minute, and the tries before this are ten."""

WAITED_PART = 0.1
"""Of the time for which a session has waited it waits on until the next look that no event brings: each look may ask
the API server for three Secrets, and a tenant may have ten thousand sessions that name none."""

FIRST_MEND = timedelta(minutes=10)
LONGEST_MEND = timedelta(hours=1)
"""Between two tries of a session that failed for good, as far as could be seen."""

OPENING_TIMED_OUT = "OpeningTimedOut"
"""The reason of a session that is past the deadline."""

_DOUBLINGS = 10
"""More would only make a larger number of what is cut off."""


@dataclass(frozen=True)
class Opening:
    """The tries to open a session's wallets so far, as its status keeps them for the next operator."""

    since: datetime
    attempts: int
    touched: str | None
    replaced: bool

    @classmethod
    def of(cls, session: Session) -> Self | None:
        """What is noted; None when there was no failure, or when it does not count any more.

        A change of the spec and a touch are somebody's word that something was mended.
        """
        noted = session.status.get("opening")
        if not noted or session.status.get("observedGeneration") != session.generation:
            return None
        if noted.get("touched") != session.touch:
            return None
        return cls(parse_time(noted["since"]), noted["attempts"], noted.get("touched"), noted.get("replaced", False))

    @classmethod
    def failed(cls, session: Session, now: datetime) -> Self:
        """After one more failure."""
        before = cls.of(session)
        if before is None:
            return cls(now, 1, session.touch, replaced=False)
        # A clock that was set back must not put the deadline off.
        return dataclasses.replace(before, since=min(before.since, now), attempts=before.attempts + 1)

    @property
    def delay(self) -> float:
        """Seconds until the next try."""
        return min(math.ldexp(FIRST_TRY_SECONDS, min(self.attempts - 1, _DOUBLINGS)), LONGEST_TRY_SECONDS)

    def is_overdue(self, now: datetime) -> bool:
        """Whether opening took longer than it may."""
        return now - self.since >= OPENING_DEADLINE

    def to_status(self) -> dict[str, Any]:
        """As it is written."""
        noted = {"since": format_time(self.since), "attempts": self.attempts, "replaced": self.replaced}
        return noted | ({"touched": self.touched} if self.touched else {})


def has_timed_out(session: Session) -> bool:
    """Whether a session is being opened and is past the deadline: it may keep its slots, and others need not wait."""
    ready = session.condition(READY) or {}
    return session.phase in (Phase.PENDING, Phase.OPENING) and ready.get("reason") == OPENING_TIMED_OUT


def look_again_after(session: Session, least: float, *, now: datetime) -> float:
    """Seconds until the next look at a session that holds nothing and waits for somebody to mend something.

    ``least`` of them at first; then ever more, up to LONGEST_TRY_SECONDS.
    """
    ready = session.condition(READY)
    if ready is None or ready["status"] == "True":
        return least
    waited = (now - parse_time(ready["lastTransitionTime"])).total_seconds()
    return max(least, min(waited * WAITED_PART, LONGEST_TRY_SECONDS))


def failed_again(session: Session, secrets: str, *, again: bool, now: datetime) -> dict[str, Any]:
    """The ``failure`` of a session that failed: what was tried, how often, and when that is tried again if ever.

    ``secrets`` are the versions of its Secrets.
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
    """Whether a Failed session is due. One whose clock was set back waits no longer than it ever would."""
    noted = (session.status.get("failure") or {}).get("retryAt")
    return noted is not None and not now < parse_time(noted) <= now + LONGEST_MEND
