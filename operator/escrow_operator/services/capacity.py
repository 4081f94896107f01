"""Holds the cluster-wide cap: who has a place, who waits for one, and who was asked to give his up (invariant I5).

Everything here is synchronous: between counting and deciding no other session can get in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from escrow_operator.adapters.clock import Clock
from escrow_operator.core.cap import choose_victim, evictions_needed, is_evictable, is_leaving
from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session, SessionKey
from escrow_operator.services.blocked import Blocked
from escrow_operator.services.store import Store

WAIT_SECONDS = 10.0
"""Until a session that waits for a place looks again by itself; one that leaves wakes it at once."""


class Capacity:
    """Places are held by sessions with slots, and by sessions whose claim is under way."""

    def __init__(self, store: Store, clock: Clock, *, max_active: int, wake: Callable[[SessionKey], None]) -> None:
        self._store = store
        self._clock = clock
        self._max_active = max_active
        self._wake = wake
        self._claiming: set[str] = set()
        self._waiting: dict[SessionKey, datetime] = {}
        self._yielding: set[str] = set()

    def active(self) -> set[str]:
        """Uids of the sessions that hold a place."""
        return self._store.holders().keys() | self._claiming

    def admit(self, session: Session) -> None:
        """Give a session a place until ``settle_claim``; first come, first served.

        Raises Blocked (AtCapacity) when there is none, after asking as many sessions to give way as are needed.
        """
        active = self.active()
        if session.uid not in active:
            self._waiting[session.key] = parse_time(session.created_at)
            ahead = self._ahead(session)
            if len(active) + ahead >= self._max_active:
                self._make_room(active)
        self._waiting.pop(session.key, None)
        self._claiming.add(session.uid)

    def settle_claim(self, session: Session) -> None:
        """The claim is over: from now on the slots it has, or has not, say whether it holds a place."""
        self._claiming.discard(session.uid)

    def leave(self, key: SessionKey) -> None:
        """The session no longer wants a place. One that has one keeps it until its slots are gone."""
        self._waiting.pop(key, None)

    def must_yield(self, session: Session) -> bool:
        """Whether the session was chosen to give way, and still may; the next look of who waits chooses anew."""
        if session.uid not in self._yielding:
            return False
        if session.uid in self.active() and is_evictable(session):
            return True
        self._yielding.discard(session.uid)
        self.wake_waiting()
        return False

    def wake_waiting(self) -> None:
        """A place may have become free: let those who wait look again, longest first."""
        for key in sorted(self._waiting, key=lambda key: (self._waiting[key], key)):
            self._wake(key)

    def _ahead(self, session: Session) -> int:
        mine = (self._waiting[session.key], session.key)
        return sum(1 for key, since in self._waiting.items() if (since, key) < mine)

    def _make_room(self, active: set[str]) -> None:
        holders = self._store.holders()
        self._yielding &= holders.keys()
        leaving = {uid for uid, session in holders.items() if uid in self._yielding or is_leaving(session)}
        needed = evictions_needed(
            max_active=self._max_active, active=len(active), waiting=len(self._waiting), yielding=len(leaving)
        )
        for _ in range(needed):
            candidates = (session for session in holders.values() if session is not None)
            victim = choose_victim(candidates, excluded=self._yielding, now=self._clock.now())
            if victim is None:
                break
            self._yielding.add(victim.uid)
            leaving.add(victim.uid)
            self._wake(victim.key)
        raise Blocked(
            "AtCapacity",
            f"{len(active)} of {self._max_active} sessions are active in the cluster"
            + (
                "; one is giving way."
                if leaving
                else " and none of them may give way. The session goes on when one closes; sessions.maxActive is the"
                " operator's setting."
            ),
            retry_after=WAIT_SECONDS,
        )
