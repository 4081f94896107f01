"""From what a reconciliation found to the status to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from escrow_operator.core.conditions import Condition, merge_conditions
from escrow_operator.models.session import Phase, Session

READY = "Ready"

OPENING = "Opening"
"""The reason for not being Ready while the wallets are opened."""


@dataclass(frozen=True)
class Report:
    """Phase, conditions, and the status fields to replace (None removes one); all others stay."""

    phase: Phase
    conditions: tuple[Condition, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)


def compose_status(session: Session, report: Report, *, now: datetime) -> dict[str, Any]:
    """The whole status to write."""
    status = dict(session.status)
    status.update(report.fields)
    status["phase"] = report.phase.value
    status["observedGeneration"] = session.generation
    status["conditions"] = merge_conditions(
        session.status.get("conditions") or (), report.conditions, generation=session.generation, now=now
    )
    return {key: value for key, value in status.items() if value is not None}
