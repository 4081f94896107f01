"""Lines of sessions that wait for the same thing."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from typing import NamedTuple

from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session, SessionKey

WAIT_SECONDS = 10.0
"""Until a session in a line looks again by itself; what it waits for wakes it at once."""


class _Place(NamedTuple):
    since: datetime
    key: SessionKey


class WaitingList:
    """First come, first served. Creation times order it, so that a restarted operator has the same line."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._of: dict[SessionKey, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: SessionKey) -> bool:
        return key in self._of

    def join(self, session: Session) -> bool:
        """Wait; False when the session did already."""
        place = _place(session)
        if self._of.get(session.key) == place:
            return False
        # Of a session that was deleted and made again only the place of now counts.
        fresh = not self.leave(session.key)
        self._of[session.key] = place
        bisect.insort(self._places, place)
        return fresh

    def leave(self, key: SessionKey) -> bool:
        """Wait no longer; False when the session did not wait."""
        place = self._of.pop(key, None)
        if place is None:
            return False
        del self._places[bisect.bisect_left(self._places, place)]
        return True

    def ahead(self, session: Session) -> int:
        """How many wait that come before a session, which may be in the line itself."""
        return bisect.bisect_left(self._places, _place(session))

    def is_before(self, number: int, session: Session) -> bool:
        """Whether there is one at a position (0 is the first), and came before a session."""
        return number < len(self._places) and self._places[number] < _place(session)

    def in_order(self) -> list[SessionKey]:
        """Those who wait, longest first."""
        return [place.key for place in self._places]

    def ranked(self, held: int) -> Iterator[tuple[int, datetime, SessionKey]]:
        """The same, each with the number of places that ``held`` places are before its own, and since when it waits."""
        return ((held + number, since, key) for number, (since, key) in enumerate(self._places))


class FairWaitingList:
    """A line for each namespace. Whose namespace has least comes first: asking more often does not help.

    ``held`` in the methods says how many places each namespace holds already. The n-th of a line waits for the place
    that would be its namespace's (held + n)-th; lower ones come first, of equals the one that has waited for longest.
    """

    def __init__(self) -> None:
        self._lines: dict[str, WaitingList] = {}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __contains__(self, key: SessionKey) -> bool:
        return key.namespace in self._lines and key in self._lines[key.namespace]

    def join(self, session: Session) -> bool:
        """Wait; False when the session did already."""
        return self._lines.setdefault(session.key.namespace, WaitingList()).join(session)

    def leave(self, key: SessionKey) -> bool:
        """Wait no longer; False when the session did not wait."""
        line = self._lines.get(key.namespace)
        if line is None or not line.leave(key):
            return False
        if not line:
            del self._lines[key.namespace]
        return True

    def ahead(self, session: Session, held: Mapping[str, int]) -> int:
        """How many wait that come before a session, which may be in the line itself."""
        own = session.key.namespace
        mine = self._lines[own].ahead(session) if own in self._lines else 0
        level = held.get(own, 0) + mine
        before = mine
        for namespace, line in self._lines.items():
            if namespace != own:
                lower = max(0, level - held.get(namespace, 0))
                before += min(lower, len(line))
                # The one that waits for the same number of places as this session.
                same_level = level >= held.get(namespace, 0)
                before += same_level and line.is_before(lower, session)
        return before

    def in_order(self, held: Mapping[str, int]) -> Iterator[SessionKey]:
        """Those who wait, in the order in which they get places; who asks for few pays for few."""
        ranked = (line.ranked(held.get(namespace, 0)) for namespace, line in self._lines.items())
        return (key for _, _, key in heapq.merge(*ranked))

    def namespaces(self) -> Set[str]:
        """Those of which somebody waits."""
        return self._lines.keys()


def _place(session: Session) -> _Place:
    return _Place(parse_time(session.created_at), session.key)
