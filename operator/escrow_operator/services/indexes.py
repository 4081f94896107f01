"""What the store looks things up by, so that no decision reads all there is."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator, Mapping, Set
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from escrow_operator.core.cap import is_evictable, use_order
from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session, SessionKey

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Index(Generic[K, V]):
    """Sets of values by key; an empty set takes no room."""

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
        """Put a value in."""
        self._sets.setdefault(key, set()).add(value)

    def discard(self, key: K, value: V) -> None:
        """Take a value out, if it is there."""
        values = self._sets.get(key)
        if values is not None:
            values.discard(value)
            if not values:
                del self._sets[key]


class _Entry(NamedTuple):
    order: tuple[datetime, str, SessionKey]
    uid: str


class LeastRecentlyUsed:
    """A heap of the sessions that may give way, the least recently used one first: O(log n) for each note and choice.

    An entry tells when a session had been used at the time of the note. That only grows, so the entry on top is a lower
    bound for all: when the session was used since, it is put back where it belongs.
    """

    def __init__(self, sessions: Mapping[SessionKey, Session]) -> None:
        self._sessions = sessions
        self._heap: list[_Entry] = []
        self._noted: set[str] = set()

    def note(self, session: Session) -> None:
        """A session was seen: it may have become evictable."""
        if is_evictable(session) and session.uid not in self._noted:
            # Its first moment is bound enough, and needs no clock.
            self._push(_Entry(use_order(session, now=parse_time(session.created_at)), session.uid))

    def first(self, *, may_go: Callable[[str], bool], now: datetime) -> Session | None:
        """The least recently used session that may give way, also by its uid; None when there is none."""
        passed = []
        found = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            session = self._sessions.get(entry.order[2])
            if session is None or session.uid != entry.uid or not is_evictable(session):
                # Noted again when it may give way again.
                self._noted.discard(entry.uid)
                continue
            true = _Entry(use_order(session, now=now), entry.uid)
            if true.order > entry.order:
                self._push(true)
            else:
                passed.append(entry)
                if may_go(entry.uid):
                    found = session
        for entry in passed:
            self._push(entry)
        return found

    def _push(self, entry: _Entry) -> None:
        self._noted.add(entry.uid)
        heapq.heappush(self._heap, entry)
