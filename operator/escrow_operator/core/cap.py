"""Who gives way when the cluster-wide cap is reached (invariant I5)."""

from __future__ import annotations

from datetime import datetime

from escrow_operator.core.expiry import last_activity
from escrow_operator.core.settlement import is_followed
from escrow_operator.models.session import ENDING_PHASES, Eviction, Phase, Session, SessionKey


def is_evictable(session: Session) -> bool:
    """Active, not pinned, not on its way out, and with no payout that is being followed or about to be."""
    return (
        session.phase is Phase.ACTIVE
        and not session.deleting
        and session.spec.eviction is Eviction.LRU
        and not is_followed(session)
    )


def is_leaving(session: Session | None) -> bool:
    """Whether a holder of slots is about to free them by itself: nobody has to give way for that place."""
    return session is None or session.deleting or session.phase in ENDING_PHASES


def use_order(session: Session, *, now: datetime) -> tuple[datetime, str, SessionKey]:
    """Sorts sessions by their last use. Ties go to the one that was created first, then by name."""
    return last_activity(session, now=now), session.created_at, session.key


def evictions_needed(*, max_active: int, active: int, waiting: int, yielding: int) -> int:
    """How many more sessions must give way so that all ``waiting`` newcomers find a place.

    ``active`` hold places now; ``yielding`` of those are leaving, or were asked to give way, and are not gone yet.
    """
    return min(max(0, active + waiting - max_active - yielding), active)
