"""Counts of the objects in the store, updated with each change: reading them needs no pass over all objects."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from escrow_operator.core.conditions import RECONCILING
from escrow_operator.core.health import is_kept_from_ready
from escrow_operator.core.poolstatus import count_of
from escrow_operator.core.report import READY
from escrow_operator.models.common import Role, parse_time
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import Slot

Key = TypeVar("Key")

ConditionCount = tuple[str, str, str, str]
"""Namespace, type, status and reason."""


class Tallies:
    """Updated by the store. Counts that reach 0 are dropped."""

    def __init__(self) -> None:
        self.phases: Counter[tuple[str, Phase]] = Counter()
        """Sessions by namespace and phase."""
        self.slots: Counter[tuple[PoolKey, Role, str]] = Counter()
        """Slots by pool, role and state (core.poolstatus.COUNTS)."""
        self.conditions: Counter[ConditionCount] = Counter()
        """Sessions by namespace, type of condition, status and reason, as last written."""
        self._unready = _Waits()
        self._unknown_payouts = _Waits()
        self._opened: dict[str, int] = {}
        self._sum = 0

    def session(self, old: Session | None, new: Session | None) -> None:
        """Count a session's change; ``old`` is None when it was not known, ``new`` is None when it is gone."""
        if new:
            self.phases[new.key.namespace, new.phase] += 1
            self.conditions.update(_conditions(new))
        if old:
            _take(self.phases, (old.key.namespace, old.phase))
            for key in _conditions(old):
                _take(self.conditions, key)
            self._unready.drop(old)
            self._unknown_payouts.drop(old)
        if new and is_kept_from_ready(new):
            self._unready.note(new, _unready_since(new))
        if new and (moved := new.status.get("moneyMovedAt")):
            self._unknown_payouts.note(new, parse_time(moved).timestamp())

    def slot(self, old: Slot | None, new: Slot | None) -> None:
        """Count a slot's change; ``old`` is None when it was not known, ``new`` is None when it is gone."""
        if new:
            self.slots[new.pool, new.role, count_of(new)] += 1
        if old:
            _take(self.slots, (old.pool, old.role, count_of(old)))

    def holder(self, uid: str, session: Session | None) -> None:
        """Count the session with this uid as a holder of slots; None when it holds none, or is gone."""
        self._sum -= self._opened.pop(uid, 0)
        opened = session.status.get("openedAt") if session else None
        if opened:
            # Whole seconds, as statuses have them: a sum of floats would drift.
            self._opened[uid] = int(parse_time(opened).timestamp())
            self._sum += self._opened[uid]

    def longest_unready(self, now: float) -> dict[str, float]:
        """By namespace: seconds for which a session of it is kept from being Ready; ``now`` is Unix time."""
        return self._unready.longest(now)

    def longest_unknown_payout(self, now: float) -> dict[str, float]:
        """By namespace: seconds for which money of a session is known to be gone by no payout that its spec names."""
        return self._unknown_payouts.longest(now)

    def mean_age(self, now: float) -> float:
        """Mean seconds since the sessions that hold slots were opened; ``now`` is Unix time."""
        return now - self._sum / len(self._opened) if self._opened else 0.0


class _Waits:
    """Since when sessions are in a state, by namespace."""

    def __init__(self) -> None:
        self._since: dict[str, dict[str, float]] = {}

    def note(self, session: Session, since: float) -> None:
        self._since.setdefault(session.key.namespace, {})[session.uid] = since

    def drop(self, session: Session) -> None:
        found = self._since.get(session.key.namespace, {})
        found.pop(session.uid, None)
        if not found:
            self._since.pop(session.key.namespace, None)

    def longest(self, now: float) -> dict[str, float]:
        return {namespace: max(0.0, now - min(since.values())) for namespace, since in self._since.items()}


def _conditions(session: Session) -> list[ConditionCount]:
    return [
        (session.key.namespace, condition["type"], condition["status"], condition.get("reason", ""))
        for condition in session.status.get("conditions") or ()
    ]


def _unready_since(session: Session) -> float:
    """Unix time. Ready is False since longer where a session had Failed meanwhile, while Reconciling was not there."""
    told = (session.condition(RECONCILING) or session.condition(READY) or {}).get("lastTransitionTime")
    return parse_time(told or session.created_at).timestamp()


def _take(counts: Counter[Key], key: Key) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
