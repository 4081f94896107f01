"""Waiting lists of sessions, for the slots of a pool and for places under the cap."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from typing import NamedTuple

from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session, SessionKey

WAIT_SECONDS = 10.0
"""Requeue delay in seconds of a session on a waiting list; it is requeued at once when it may get what it waits for."""


class _Place(NamedTuple):
    since: datetime
    key: SessionKey


class WaitingList:
    """First come, first served, ordered by creation time, so that a restarted operator has the same waiting list."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._of: dict[SessionKey, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: SessionKey) -> bool:
        return key in self._of

    def join(self, session: Session) -> bool:
        """Add a session; returns False when it was on the waiting list already."""
        place = _place(session)
        if self._of.get(session.key) == place:
            return False
        # Of a session that was deleted and created again, only the present position counts.
        fresh = not self.leave(session.key)
        self._of[session.key] = place
        bisect.insort(self._places, place)
        return fresh

    def leave(self, key: SessionKey) -> bool:
        """Remove a session; returns False when it was not on the waiting list."""
        place = self._of.pop(key, None)
        if place is None:
            return False
        del self._places[bisect.bisect_left(self._places, place)]
        return True

    def ahead(self, session: Session) -> int:
        """How many sessions wait before this one, which may be on the waiting list itself."""
        return bisect.bisect_left(self._places, _place(session))

    def is_before(self, number: int, session: Session) -> bool:
        """Whether there is a waiting session at a position (0 is the first) that comes before this one."""
        return number < len(self._places) and self._places[number] < _place(session)

    def in_order(self) -> list[SessionKey]:
        """The waiting sessions, the longest waiting first."""
        return [place.key for place in self._places]

    def ranked(self, held: int) -> Iterator[tuple[int, datetime, SessionKey]]:
        """The waiting sessions in order, as (``held`` plus the position, when the session was created, its key)."""
        return ((held + number, since, key) for number, (since, key) in enumerate(self._places))


class FairWaitingList:
    """A waiting list for each namespace. The namespace with fewest places comes first: asking more often does not help.

    ``held`` in the methods is how many places each namespace holds already. The n-th session of a namespace waits for
    that namespace's (held + n)-th place; lower numbers come first, of equal ones the session that was created first.
    """

    def __init__(self) -> None:
        self._lines: dict[str, WaitingList] = {}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __contains__(self, key: SessionKey) -> bool:
        return key.namespace in self._lines and key in self._lines[key.namespace]

    def join(self, session: Session) -> bool:
        """Add a session; returns False when it was on the waiting list already."""
        return self._lines.setdefault(session.key.namespace, WaitingList()).join(session)

    def leave(self, key: SessionKey) -> bool:
        """Remove a session; returns False when it was not on the waiting list."""
        line = self._lines.get(key.namespace)
        if line is None or not line.leave(key):
            return False
        if not line:
            del self._lines[key.namespace]
        return True

    def ahead(self, session: Session, held: Mapping[str, int]) -> int:
        """How many sessions get a place before this one, which may be on the waiting list itself."""
        own = session.key.namespace
        mine = self._lines[own].ahead(session) if own in self._lines else 0
        level = held.get(own, 0) + mine
        before = mine
        for namespace, line in self._lines.items():
            if namespace != own:
                lower = max(0, level - held.get(namespace, 0))
                before += min(lower, len(line))
                # The session of that namespace that waits for a place of the same number as this session.
                same_level = level >= held.get(namespace, 0)
                before += same_level and line.is_before(lower, session)
        return before

    def in_order(self, held: Mapping[str, int]) -> Iterator[SessionKey]:
        """The waiting sessions, in the order in which they get places; lazy, so that the first few are cheap."""
        ranked = (line.ranked(held.get(namespace, 0)) for namespace, line in self._lines.items())
        return (key for _, _, key in heapq.merge(*ranked))

    def namespaces(self) -> Set[str]:
        """The namespaces of waiting sessions."""
        return self._lines.keys()


def _place(session: Session) -> _Place:
    return _Place(parse_time(session.created_at), session.key)
