"""When a session's time is up. Two clocks: inactivity (ttl) and age (maxAge)."""

from __future__ import annotations

from datetime import datetime, timedelta

from escrow_operator.models.common import Label, parse_time
from escrow_operator.models.session import Session


def last_activity(session: Session, *, now: datetime) -> datetime:
    """The latest of: creation, first opening, a client's touch, and what the status has already noted.

    The monitor's own reads are no activity (invariant I6): nothing here looks at them. A touch in the future counts as
    now, so that nobody can keep a session open for ever with one wrong clock.
    """
    noted = (session.created_at, session.status.get("openedAt"), session.status.get("lastActivityTime"))
    moments = [parse_time(text) for text in noted if text]
    touched = touched_at(session)
    if touched:
        moments.append(min(touched, now))
    return max(moments)


def touched_at(session: Session) -> datetime | None:
    """When a client last said that it uses the session; None without, or with a time that cannot be read."""
    text = session.annotations.get(Label.TOUCH)
    if not text:
        return None
    try:
        moment = parse_time(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def expires_at(session: Session, *, idle_ttl: timedelta, activity: datetime) -> datetime:
    """When the session closes unless it is used: the earlier of its two clocks."""
    idle = activity + (session.spec.ttl or idle_ttl)
    if session.spec.max_age is None:
        return idle
    return min(idle, parse_time(session.created_at) + session.spec.max_age)
