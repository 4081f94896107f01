"""When a session was last used, and when its time is up. Two clocks: inactivity (ttl) and age (maxAge)."""

from __future__ import annotations

from datetime import datetime, timedelta

from escrow_operator.core.protection import is_protected
from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session


def last_use(session: Session, *, now: datetime) -> datetime:
    """The one rule by which both the ttl and the choice of who gives way go.

    The latest of creation, opening, payments and touches as the status has noted them; a first opening, a change of
    the spec or a touch that is not noted yet is use of this very moment. The monitor's own reads are no activity
    (invariant I6): nothing here looks at them.
    """
    status = session.status
    if "openedAt" not in status or is_edited(session):
        return now
    noted = (session.created_at, status["openedAt"], status.get("lastActivityTime"))
    moments = [parse_time(text) for text in noted if text]
    if len(moments) == len(noted) and moments[-1] <= now:
        # What is later is of a clock that is ahead: as of now it would be news at every look, and another write.
        moments = [moment for moment in moments if moment <= now]
    touched = fresh_touch(session, now=now)
    # A note from an operator whose clock was ahead counts as now: it must not keep a session open for ever.
    return min(max([*moments, *([touched] if touched else [])]), now)


def is_edited(session: Session) -> bool:
    """Whether the spec changed since the status last spoke of it."""
    return bool(session.status.get("observedGeneration", session.generation) != session.generation)


def fresh_touch(session: Session, *, now: datetime) -> datetime | None:
    """When a client used the session, by a touch that the status (``lastTouch``) has not noted yet; else None.

    Each touch counts once. One in the future counts as now, the moment at which it is first seen: a wrong clock must
    not keep a session open.
    """
    if session.touch is None or session.touch == session.status.get("lastTouch"):
        return None
    moment = read_touch(session.touch)
    return min(moment, now) if moment else None


def read_touch(text: str) -> datetime | None:
    """A touch as a time; None when it is none, or has no time zone."""
    try:
        moment = parse_time(text)
        return moment if moment.tzinfo and moment.timestamp() > 0 else None
    except (ValueError, OverflowError):
        return None


def is_wanted_again(session: Session, *, now: datetime, idle_ttl: timedelta) -> bool:
    """Whether a closed session was touched, or its spec changed, since it closed, and may be open.

    A maxAge that is over keeps it closed whoever uses it.
    """
    if expires_at(session, idle_ttl=idle_ttl, activity=now) <= now:
        return False
    return is_edited(session) or fresh_touch(session, now=now) is not None


def time_left(session: Session, *, now: datetime, idle_ttl: timedelta) -> timedelta | None:
    """Until a session closes unless it is used, zero or less when its time is up; None while money stops its clocks."""
    if is_protected(session):
        return None
    return expires_at(session, idle_ttl=idle_ttl, activity=last_use(session, now=now)) - now


def is_too_old(session: Session, *, now: datetime) -> bool:
    """Whether maxAge is over, which no use of the session extends."""
    return session.spec.max_age is not None and parse_time(session.created_at) + session.spec.max_age <= now


def expires_at(session: Session, *, idle_ttl: timedelta, activity: datetime) -> datetime:
    """When the session closes unless it is used: the earlier of its two clocks."""
    idle = activity + (session.spec.ttl or idle_ttl)
    if session.spec.max_age is None:
        return idle
    return min(idle, parse_time(session.created_at) + session.spec.max_age)
