"""Who gives way when the cluster-wide cap is reached (invariant I5), and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from escrow_operator.core.backoff import has_timed_out
from escrow_operator.core.expiry import last_use
from escrow_operator.core.protection import is_protected
from escrow_operator.models.common import parse_time
from escrow_operator.models.session import ENDING_PHASES, Eviction, Phase, Session, SessionKey


def is_evictable(session: Session) -> bool:
    """Active, or with wallets that do not open; not pinned, not on its way out, and with no money under way."""
    return (
        (session.phase is Phase.ACTIVE or has_timed_out(session))
        and not session.deleting
        and session.spec.eviction is Eviction.LRU
        and not is_protected(session)
    )


def has_stayed(session: Session, *, now: datetime, min_stay: timedelta) -> bool:
    """Whether a session has been open, or has tried to be, for the minimum stay."""
    opened = session.status.get("openedAt") or (session.status.get("opening") or {}).get("since")
    return opened is not None and now - parse_time(opened) >= min_stay


def is_leaving(session: Session | None) -> bool:
    """Whether a holder of slots is about to free them by itself: nobody has to give way for that place."""
    return session is None or session.deleting or session.phase in ENDING_PHASES


def use_order(session: Session, *, now: datetime) -> tuple[datetime, str, SessionKey]:
    """Sorts sessions by their last use. Ties go to the one that was created first, then by name."""
    return last_use(session, now=now), session.created_at, session.key


def evictions_needed(*, max_active: int, active: int, waiting: int, evicting: int) -> int:
    """How many more sessions must give way so that all ``waiting`` newcomers find a place.

    ``active`` hold places now; ``evicting`` of those are leaving, or were asked to give way, and are not gone yet.
    """
    return min(max(0, active + waiting - max_active - evicting), active)


def evictable_namespaces(newcomer: str, places: Mapping[str, int]) -> list[str]:
    """The namespaces of which a session may give way to a newcomer of namespace ``newcomer``.

    ``places`` are those that each namespace holds. The newcomer's own, and each that holds more than it will then: so
    that at the cap every namespace can have an equal share, and none can push another below that by asking for more.
    A namespace without any place may take one from those that have just one.
    """
    own = places.get(newcomer, 0)
    larger = [namespace for namespace, number in places.items() if number > own + 1]
    if own:
        return [*larger, newcomer]
    return larger or [namespace for namespace, number in places.items() if number]
