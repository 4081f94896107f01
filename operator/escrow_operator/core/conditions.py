"""Status conditions, as the Kubernetes API conventions define them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from escrow_operator.models.common import format_time, printable

MAX_MESSAGE = 1024
"""In characters. Messages are read in a terminal; the API's own bound is 32768."""


RECONCILING = "Reconciling"
STALLED = "Stalled"
WHILE_TRUE = frozenset({RECONCILING, STALLED})
"""Conditions that are present only while they are True, as kstatus has them."""


@dataclass(frozen=True)
class Condition:
    """One condition; ``status`` is True, False, or None for Unknown."""

    type: str
    status: bool | None
    reason: str
    message: str

    @property
    def status_text(self) -> str:
        """The status as the API has it: True, False or Unknown."""
        return "Unknown" if self.status is None else str(self.status)


def merge_conditions(
    existing: Iterable[dict[str, Any]], fresh: Sequence[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The list to write: ``fresh`` over ``existing``; the transition time changes only with the status.

    Conditions in ``WHILE_TRUE`` are dropped unless they are among ``fresh``.
    """
    merged = {condition["type"]: condition for condition in existing}
    told = {condition.type for condition in fresh}
    for condition in fresh:
        old = merged.get(condition.type)
        same = old is not None and old["status"] == condition.status_text
        merged[condition.type] = {
            "type": condition.type,
            "status": condition.status_text,
            "reason": condition.reason,
            "message": printable(condition.message, MAX_MESSAGE),
            "observedGeneration": generation,
            "lastTransitionTime": old["lastTransitionTime"] if old and same else format_time(now),
        }
    return [condition for kind, condition in merged.items() if kind not in WHILE_TRUE or kind in told]
