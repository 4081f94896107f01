"""Holds the cluster-wide cap: who has a place, who waits for one, and who was asked to give his up (invariant I5).

Everything here is synchronous: between counting and deciding no other session can get in.
"""

from __future__ import annotations

from collections.abc import Callable

from escrow_operator.adapters.clock import Clock
from escrow_operator.core.cap import choose_victim, evictions_needed, is_evictable, is_leaving
from escrow_operator.models.session import Session, SessionKey
from escrow_operator.services.blocked import Blocked
from escrow_operator.services.line import WAIT_SECONDS, Line
from escrow_operator.services.store import Store


class Capacity:
    """Places are held by sessions with slots, and by sessions whose claim is under way."""

    def __init__(self, store: Store, clock: Clock, *, max_active: int, wake: Callable[[SessionKey], None]) -> None:
        self._store = store
        self._clock = clock
        self._max_active = max_active
        self._wake = wake
        self._claiming: set[str] = set()
        self._waiting = Line()
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
            self._waiting.join(session)
            if len(active) + self._waiting.ahead(session) >= self._max_active:
                self._make_room(active)
        self._waiting.leave(session.key)
        self._claiming.add(session.uid)

    def settle_claim(self, session: Session) -> None:
        """The claim is over: from now on the slots it has, or has not, say whether it holds a place."""
        self._claiming.discard(session.uid)

    def leave(self, key: SessionKey) -> None:
        """The session no longer wants a place. One that has one keeps it until its slots are gone."""
        self._waiting.leave(key)

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
        for key in self._waiting.in_order():
            self._wake(key)

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
