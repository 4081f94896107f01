"""Indexes of the store, so that no decision reads all objects."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from escrow_operator.core.cap import is_evictable, use_order
from escrow_operator.core.protection import may_hold_money
from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session, SessionKey

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Index(Generic[K, V]):
    """Sets of values by key; empty sets are dropped."""

    def __init__(self) -> None:
        self._sets: dict[K, set[V]] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def __contains__(self, key: K) -> bool:
        return key in self._sets

    def __iter__(self) -> Iterator[K]:
        return iter(self._sets)

    def get(self, key: K) -> Set[V]:
        """The values of a key."""
        return self._sets.get(key, frozenset())

    def add(self, key: K, value: V) -> None:
        """Add a value to the set of a key."""
        self._sets.setdefault(key, set()).add(value)

    def discard(self, key: K, value: V) -> None:
        """Remove a value from the set of a key, if it is there."""
        values = self._sets.get(key)
        if values is not None:
            values.discard(value)
            if not values:
                del self._sets[key]


class Holders(Index[str, tuple[str, str]]):
    """Which pods (namespace, name) a session holds, by its uid; and how many sessions of each namespace hold some.

    If pods in two namespaces name one uid, their labels were forged; each namespace counts its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.namespaces: Counter[str] = Counter()

    def add(self, key: str, value: tuple[str, str]) -> None:
        """Note that a session holds a pod."""
        if not self._is_in(key, value[0]):
            self.namespaces[value[0]] += 1
        super().add(key, value)

    def discard(self, key: str, value: tuple[str, str]) -> None:
        """Note that a session no longer holds a pod."""
        known = self._is_in(key, value[0])
        super().discard(key, value)
        if known and not self._is_in(key, value[0]):
            self.namespaces[value[0]] -= 1
            if not self.namespaces[value[0]]:
                del self.namespaces[value[0]]

    def is_elsewhere(self, key: str, namespace: str) -> bool:
        """Whether a session holds pods in another namespace than this."""
        return any(pod[0] != namespace for pod in self.get(key))

    def _is_in(self, key: str, namespace: str) -> bool:
        return any(pod[0] == namespace for pod in self.get(key))


class _Entry(NamedTuple):
    order: tuple[datetime, str, SessionKey]
    uid: str


class LeastRecentlyUsed:
    """A heap of sessions, the least recently used one first: O(log n) for each note and choice.

    ``belongs`` selects the sessions. An entry has a lower bound of its session's last use, which only grows. So the top
    entry is a lower bound for all sessions: when its session was used since, it is put back with the later time.
    """

    def __init__(self, sessions: Mapping[SessionKey, Session], belongs: Callable[[Session], bool]) -> None:
        self._sessions = sessions
        self._belongs = belongs
        self._heap: list[_Entry] = []
        self._noted: set[str] = set()

    def __len__(self) -> int:
        return len(self._heap)

    def note(self, session: Session) -> bool:
        """Add a session if it belongs here; returns whether it was added."""
        if session.uid in self._noted or not self._belongs(session):
            return False
        # The creation time is a lower bound, and needs no clock.
        created = parse_time(session.created_at)
        self._push(_Entry((created, session.created_at, session.key), session.uid))
        return True

    def tidy(self) -> None:
        """Drop the sessions that are gone or no longer belong here."""
        self._heap = [entry for entry in self._heap if self._session_of(entry)]
        heapq.heapify(self._heap)
        self._noted = {entry.uid for entry in self._heap}

    def first(self, *, may_go: Callable[[Session], bool], now: datetime) -> Session | None:
        """The least recently used session for which ``may_go`` is true; None when there is none."""
        passed = []
        found = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            session = self._session_of(entry)
            if session is None:
                # ``note`` adds it when it belongs here again.
                self._noted.discard(entry.uid)
                continue
            true = _Entry(use_order(session, now=now), entry.uid)
            if true.order > entry.order:
                self._push(true)
            else:
                passed.append(entry)
                if may_go(session):
                    found = session
        for entry in passed:
            self._push(entry)
        return found

    def _session_of(self, entry: _Entry) -> Session | None:
        """The session of an entry; None when it is gone, or no longer belongs here."""
        session = self._sessions.get(entry.order[2])
        return session if session and session.uid == entry.uid and self._belongs(session) else None

    def _push(self, entry: _Entry) -> None:
        self._noted.add(entry.uid)
        heapq.heappush(self._heap, entry)


TIDY_AFTER = 1_000
"""How many more notes than sessions there may be before stale entries are dropped: where the cap is never reached,
``first`` is not called and finds none of them."""


class Candidates:
    """The sessions that may be evicted: those without money first, then by their last use."""

    def __init__(self, sessions: Mapping[SessionKey, Session]) -> None:
        self._sessions = sessions
        self._heaps: dict[tuple[str, bool], LeastRecentlyUsed] = {}
        self._notes = 0

    def note(self, session: Session) -> None:
        """Note a session, if it may be evicted now."""
        if not is_evictable(session):
            return
        money = may_hold_money(session)
        key = (session.key.namespace, money)
        heap = self._heaps.get(key)
        if heap is None:
            heap = self._heaps[key] = LeastRecentlyUsed(
                self._sessions, lambda one: is_evictable(one) and may_hold_money(one) is money
            )
        self._notes += heap.note(session)
        if self._notes > len(self._sessions) + TIDY_AFTER:
            self._tidy()

    def first(self, namespaces: Iterable[str], *, may_go: Callable[[Session], bool], now: datetime) -> Session | None:
        """The session to evict first of those in some namespaces for which ``may_go`` is true; None without any."""
        wanted = list(namespaces)
        for money in (False, True):
            heaps = [heap for namespace in wanted if (heap := self._heaps.get((namespace, money)))]
            found = [one for heap in heaps if (one := heap.first(may_go=may_go, now=now))]
            if found:
                return min(found, key=lambda one: use_order(one, now=now))
        return None

    def _tidy(self) -> None:
        for heap in self._heaps.values():
            heap.tidy()
        self._heaps = {key: heap for key, heap in self._heaps.items() if heap}
        self._notes = 0
