"""Holds the cluster-wide cap: who has a place, who waits for one, and who was asked to give his up (invariant I5).

Everything here is synchronous: between counting and deciding no other session can get in.
"""

from __future__ import annotations

from collections.abc import Callable

from escrow_operator.adapters.clock import Clock
from escrow_operator.core.cap import evictions_needed, is_evictable
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
        return self._store.holders() | self._claiming

    def count_active(self) -> int:
        """How many sessions hold a place."""
        return self._store.count_holders(self._claiming)

    def is_active(self, uid: str) -> bool:
        """Whether a session holds a place."""
        return uid in self._claiming or self._store.is_holder(uid)

    def admit(self, session: Session) -> None:
        """Give a session a place until ``settle_claim``; first come, first served.

        Raises Blocked (AtCapacity) when there is none, after asking as many sessions to give way as are needed.
        """
        if not self.is_active(session.uid):
            self._waiting.join(session)
            active = self.count_active()
            if active + self._waiting.ahead(session) >= self._max_active:
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
        if self.is_active(session.uid) and is_evictable(session):
            return True
        self._yielding.discard(session.uid)
        self.wake_waiting()
        return False

    def wake_waiting(self) -> None:
        """A place may have become free: let as many look again as may find one, longest first.

        At least one: when nobody gives way, it is for the first in the line to choose.
        """
        room = max(1, self._max_active - self.count_active())
        for key in self._waiting.in_order()[:room]:
            self._wake(key)

    def _may_be_asked(self, uid: str) -> bool:
        return uid not in self._yielding and self._store.is_holder(uid)

    def _make_room(self, active: int) -> None:
        self._yielding = {uid for uid in self._yielding if self._store.is_holder(uid)}
        leaving = self._yielding | self._store.leaving
        needed = evictions_needed(
            max_active=self._max_active, active=active, waiting=len(self._waiting), yielding=len(leaving)
        )
        for _ in range(needed):
            victim = self._store.used.first(may_go=self._may_be_asked, now=self._clock.now())
            if victim is None:
                break
            self._yielding.add(victim.uid)
            leaving.add(victim.uid)
            self._wake(victim.key)
        raise Blocked(
            "AtCapacity",
            f"{active} of {self._max_active} sessions are active in the cluster"
            + (
                "; one is giving way."
                if leaving
                else " and none of them may give way. The session goes on when one closes; sessions.maxActive is the"
                " operator's setting."
            ),
            retry_after=WAIT_SECONDS,
        )
