"""Keeps the cluster-wide cap: which sessions have a place under it, wait for one, or are to be evicted (invariant I5).

Everything here is synchronous: between counting and deciding no other session can take a place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice

from escrow_operator.core.cap import evictable_namespaces, evictions_needed, has_stayed, is_evictable
from escrow_operator.models.session import Session, SessionKey
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.slots.waiting_list import WAIT_SECONDS, FairWaitingList


class Capacity:
    """Places under the cap are held by sessions with slots, and by sessions whose claim is under way."""

    def __init__(self, ctx: Context) -> None:
        self._store, self._clock, self._wakeups = ctx.store, ctx.clock, ctx.wakeups
        self._max_active = ctx.settings.sessions.max_active
        self._min_stay = ctx.settings.sessions.min_stay
        self._claiming: dict[str, str] = {}
        """Namespaces of the sessions whose claim is under way, by uid."""
        self._waiting = FairWaitingList()
        self._evicting: set[str] = set()

    def active(self) -> set[str]:
        """Uids of the sessions that hold a place."""
        return self._store.holders() | self._claiming.keys()

    def count_active(self) -> int:
        """How many sessions hold a place."""
        return self._store.count_holders(self._claiming)

    def is_active(self, uid: str) -> bool:
        """Whether a session holds a place."""
        return uid in self._claiming or self._store.is_holder(uid)

    def is_waiting(self, key: SessionKey) -> bool:
        """Whether a session is on the waiting list for a place."""
        return key in self._waiting

    def has_room(self, session: Session) -> bool:
        """Whether a session holds a place, or would get one if it asked now."""
        if self.is_active(session.uid):
            return True
        return self.count_active() + self._waiting.ahead(session, self._places()) < self._max_active

    def ask(self, session: Session) -> None:
        """Join the waiting list for a place; return if there is one, which is kept until ``admit`` or ``leave``.

        Places are given to the namespace that has fewest, within it first come, first served. Raises Blocked
        (AtCapacity) when there is none, after choosing as many sessions to evict as are needed.
        """
        if self.is_active(session.uid):
            return
        self._waiting.join(session)
        if not self.has_room(session):
            self._evict_for_those_who_wait()

    def admit(self, session: Session) -> None:
        """Give a session a place until ``settle_claim``. Raises Blocked like ``ask``."""
        self.ask(session)
        self._waiting.leave(session.key)
        self._claiming[session.uid] = session.key.namespace

    def settle_claim(self, session: Session) -> None:
        """End a claim: from now on the session has a place if it holds slots."""
        self._claiming.pop(session.uid, None)

    def leave(self, key: SessionKey) -> None:
        """Take a session off the waiting list. A session that has a place keeps it until its slots are gone."""
        if self._waiting.leave(key):
            self.wake_waiting()

    def must_be_evicted(self, session: Session) -> bool:
        """Whether the session was chosen for eviction and may still be evicted; else waiting sessions choose anew."""
        if session.uid not in self._evicting:
            return False
        if self._waiting and self.is_active(session.uid) and is_evictable(session):
            return True
        self._evicting.discard(session.uid)
        self.wake_waiting()
        return False

    def wake_waiting(self) -> None:
        """Requeue as many waiting sessions as may find a place, in the order of the waiting list.

        At least one: while no session is being evicted, the first on the waiting list has to choose one.
        """
        if not self._waiting:
            return
        room = max(1, self._max_active - self.count_active())
        # A requeued session may be reconciled, and leave the waiting list, at once.
        for key in list(islice(self._waiting.in_order(self._places()), room)):
            self._wakeups.session(key)

    def _places(self) -> Mapping[str, int]:
        """How many places each namespace holds."""
        if not self._claiming:
            return self._store.places()
        claims = (namespace for uid, namespace in self._claiming.items() if not self._store.is_holder(uid))
        return Counter(self._store.places()) + Counter(claims)

    def _may_be_asked(self, session: Session) -> bool:
        return (
            session.uid not in self._evicting
            and self._store.is_holder(session.uid)
            and has_stayed(session, now=self._clock.now(), min_stay=self._min_stay)
        )

    def _evict_for_those_who_wait(self) -> None:
        """Choose sessions to evict, each for a waiting session whose namespace may take its place. Raises Blocked."""
        active, places = self.count_active(), Counter(self._places())
        self._evicting = {uid for uid in self._evicting if self._store.is_holder(uid)}
        leaving = self._evicting | self._store.leaving
        for uid in leaving:
            places[self._store.namespace_of(uid) or ""] -= 1
        needed = evictions_needed(
            max_active=self._max_active, active=active, waiting=len(self._waiting), evicting=len(leaving)
        )
        # The first on the waiting list get the places that are free, or about to be.
        served = max(0, self._max_active - active + len(leaving))
        line = self._waiting.in_order(self._places())
        places.update(newcomer.namespace for newcomer in islice(line, served))
        in_vain, exhausted = set[str](), set[str]()
        for newcomer in line:
            if needed <= 0 or len(in_vain) == len(self._waiting.namespaces()):
                break
            if newcomer.namespace in in_vain:
                continue
            asked = [one for one in evictable_namespaces(newcomer.namespace, places) if one not in exhausted]
            victim = self._store.candidates.first(asked, may_go=self._may_be_asked, now=self._clock.now())
            if victim is None:
                in_vain.add(newcomer.namespace)
                exhausted.update(asked)
                continue
            needed -= 1
            places[victim.key.namespace] -= 1
            places[newcomer.namespace] += 1
            self._evicting.add(victim.uid)
            leaving.add(victim.uid)
            self._wakeups.session(victim.key)
        raise Blocked(
            "AtCapacity",
            f"{active} of {self._max_active} sessions are active in the cluster"
            + (
                "; one is being evicted."
                if leaving
                else " and none of them may be evicted now. The session goes on when one closes or may be evicted;"
                " sessions.maxActive is the operator's setting."
            ),
            retry_after=WAIT_SECONDS,
            keeps_place=True,
        )
