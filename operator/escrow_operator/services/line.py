"""A line of sessions that wait for the same thing, in the order of their creation."""

from __future__ import annotations

from datetime import datetime

from escrow_operator.models.common import parse_time
from escrow_operator.models.session import Session, SessionKey

WAIT_SECONDS = 10.0
"""Until a session in a line looks again by itself; what it waits for wakes it at once."""


class Line:
    """First come, first served. Creation times order it, so that a restarted operator has the same line."""

    def __init__(self) -> None:
        self._since: dict[SessionKey, datetime] = {}

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, key: SessionKey) -> bool:
        return key in self._since

    def join(self, session: Session) -> bool:
        """Wait; False when the session did already."""
        fresh = session.key not in self._since
        self._since[session.key] = parse_time(session.created_at)
        return fresh

    def leave(self, key: SessionKey) -> bool:
        """Wait no longer; False when the session did not wait."""
        return self._since.pop(key, None) is not None

    def ahead(self, session: Session) -> int:
        """How many wait that come before a session, which may be in the line itself."""
        mine = (parse_time(session.created_at), session.key)
        return sum(1 for key, since in self._since.items() if (since, key) < mine)

    def in_order(self) -> list[SessionKey]:
        """Those who wait, longest first."""
        return sorted(self._since, key=lambda key: (self._since[key], key))
