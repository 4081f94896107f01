"""When a session was last used, and when it expires: by inactivity (ttl) or by age (maxAge)."""

from __future__ import annotations

from datetime import datetime, timedelta

from escrow_operator.core.protection import is_protected
from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session


def last_use(session: Session, *, now: datetime) -> datetime:
    """When the session was last used: the one rule for both the ttl and the choice of the session to evict.

    The latest of creation, opening, payments and touches as the status records them, and never later than ``now``. A
    session that was never open, or whose spec changed since the last status, is in use now. The monitor's own reads are
    no activity (invariant I6) and have no influence here.
    """
    status = session.status
    if "openedAt" not in status or is_edited(session):
        return now
    noted = (session.created_at, status["openedAt"], status.get("lastActivityTime"))
    moments = [parse_time(text) for text in noted if text]
    if len(moments) == len(noted) and moments[-1] <= now:
        # Later times come from a clock that is ahead. Capped at ``now`` they would change with every reconciliation,
        # and each time the status would be written.
        moments = [moment for moment in moments if moment <= now]
    touched = fresh_touch(session, now=now)
    # A recorded time from an operator whose clock was ahead counts as now: it must not keep a session open for ever.
    return min(max([*moments, *([touched] if touched else [])]), now)


def is_edited(session: Session) -> bool:
    """Whether the spec changed since the generation that the status was written for."""
    return bool(session.status.get("observedGeneration", session.generation) != session.generation)


def fresh_touch(session: Session, *, now: datetime) -> datetime | None:
    """The time of a client's touch that is not in the status (``lastTouch``) yet; None without one.

    Each touch counts once. A touch in the future counts as ``now``, when it is first seen: a wrong clock must not keep
    a session open.
    """
    if session.touch is None or session.touch == session.status.get("lastTouch"):
        return None
    moment = read_touch(session.touch)
    return min(moment, now) if moment else None


def read_touch(text: str) -> datetime | None:
    """A touch as a time; None when the text is not a time, or has no time zone."""
    try:
        moment = parse_time(text)
        return moment if moment.tzinfo and moment.timestamp() > 0 else None
    except (ValueError, OverflowError):
        return None


def is_wanted_again(session: Session, *, now: datetime, idle_ttl: timedelta) -> bool:
    """Whether a closed session is to be opened again: it was touched, or its spec changed, since it closed.

    A session whose maxAge is over stays closed nevertheless, unless it was closed with money under way.
    """
    if not is_protected(session) and expires_at(session, idle_ttl=idle_ttl, activity=now) <= now:
        return False
    return is_edited(session) or fresh_touch(session, now=now) is not None


def time_left(session: Session, *, now: datetime, idle_ttl: timedelta) -> timedelta | None:
    """Until a session closes unless it is used, zero or less when its time is up; None while money stops its clocks."""
    if is_protected(session):
        return None
    return expires_at(session, idle_ttl=idle_ttl, activity=last_use(session, now=now)) - now


def is_too_old(session: Session, *, now: datetime) -> bool:
    """Whether maxAge is over, which no use of the session extends; not while money is under way."""
    if is_protected(session):
        return False
    return session.spec.max_age is not None and parse_time(session.created_at) + session.spec.max_age <= now


def expires_at(session: Session, *, idle_ttl: timedelta, activity: datetime) -> datetime:
    """When the session closes unless it is used again: at the end of its ttl or of its maxAge, whichever is earlier."""
    idle = activity + (session.spec.ttl or idle_ttl)
    if session.spec.max_age is None:
        return idle
    return min(idle, parse_time(session.created_at) + session.spec.max_age)
