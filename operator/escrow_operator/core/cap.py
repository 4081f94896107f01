"""Which session is evicted when the cluster-wide cap on active sessions is reached, and for which (invariant I5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from escrow_operator.core.backoff import has_timed_out
from escrow_operator.core.expiry import last_use
from escrow_operator.core.protection import is_protected
from escrow_operator.models.common import parse_time
from escrow_operator.models.session import ENDING_PHASES, Eviction, Phase, Session, SessionKey


def is_evictable(session: Session) -> bool:
    """Whether a session is active, or past the opening deadline, and neither pinned, nor leaving, nor protected."""
    return (
        (session.phase is Phase.ACTIVE or has_timed_out(session))
        and not session.deleting
        and session.spec.eviction is Eviction.LRU
        and not is_protected(session)
    )


def has_stayed(session: Session, *, now: datetime, min_stay: timedelta) -> bool:
    """Whether a session has been open, or has been trying to open, for at least ``min_stay``."""
    opened = session.status.get("openedAt") or (session.status.get("opening") or {}).get("since")
    return opened is not None and now - parse_time(opened) >= min_stay


def is_leaving(session: Session | None) -> bool:
    """Whether a session frees its slots without being evicted: it is gone (None), deleted, or in an ending phase."""
    return session is None or session.deleting or session.phase in ENDING_PHASES


def use_order(session: Session, *, now: datetime) -> tuple[datetime, str, SessionKey]:
    """Sort key: least recently used first; ties by creation time, then by name."""
    return last_use(session, now=now), session.created_at, session.key


def evictions_needed(*, max_active: int, active: int, waiting: int, evicting: int) -> int:
    """How many more sessions must be evicted so that all ``waiting`` sessions find a place under the cap.

    ``active`` sessions hold a place now; ``evicting`` of those are leaving or chosen for eviction, and not gone yet.
    """
    return min(max(0, active + waiting - max_active - evicting), active)


def evictable_namespaces(newcomer: str, places: Mapping[str, int]) -> list[str]:
    """The namespaces in which a session may be evicted for a waiting session of namespace ``newcomer``.

    ``places`` is how many places under the cap each namespace holds. Returns ``newcomer`` itself, and each namespace
    that holds more places than ``newcomer`` will then hold: so at the cap every namespace can have an equal share, and
    none can push another below its share by asking for more. For a namespace that holds no place, returns the
    namespaces with more than one place or, if there are none, all that hold one.
    """
    own = places.get(newcomer, 0)
    larger = [namespace for namespace, number in places.items() if number > own + 1]
    if own:
        return [*larger, newcomer]
    return larger or [namespace for namespace, number in places.items() if number]
