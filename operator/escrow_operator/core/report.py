"""Composes the status to write from the findings of a reconciliation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from escrow_operator.core.conditions import Condition, merge_conditions
from escrow_operator.models.common import ROLES, Role, format_time
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import Slot

READY = "Ready"

WALLETS_OPEN = "WalletsOpen"

OPENING = "Opening"
"""The reason for not being Ready while the wallets are opened."""


@dataclass(frozen=True)
class Report:
    """Phase, conditions, and the status fields to replace (None removes a field); all other fields stay."""

    phase: Phase
    conditions: tuple[Condition, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)


def after(session: Session, report: Report, *, now: datetime) -> Session:
    """The session as it will be once the report is written to its status."""
    return replace(session, status=compose_status(session, report, now=now))


def are_told_open(session: Session, slots: Mapping[Role, Slot]) -> bool:
    """Whether the status reports that these very pods have the three wallets open."""
    told = session.status.get("wallets") or {}
    return all(
        role in slots and told.get(role, {}).get("opened") and told[role].get("pod") == slots[role].name
        for role in ROLES
    )


def is_told(session: Session, condition: Condition) -> bool:
    """Whether the status has this type of condition with this reason already."""
    return (session.condition(condition.type) or {}).get("reason") == condition.reason


def compose_status(session: Session, report: Report, *, now: datetime) -> dict[str, Any]:
    """The whole status to write, as the API's JSON."""
    status = dict(session.status)
    status.update(report.fields)
    if "balance" not in report.fields or not _is_true(report.conditions, WALLETS_OPEN):
        status["balance"] = _as_of(status.get("balance"), session.condition(READY), now)
    status["phase"] = report.phase.value
    status["observedGeneration"] = session.generation
    status["conditions"] = merge_conditions(
        session.status.get("conditions") or (), report.conditions, generation=session.generation, now=now
    )
    return {key: value for key, value in status.items() if value is not None}


def _is_true(conditions: Iterable[Condition], *kinds: str) -> bool:
    return {condition.type for condition in conditions if condition.status} >= set(kinds)


def _as_of(balance: dict[str, Any] | None, ready: dict[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """The last known balance, marked with the time as of which it was true, since it is not read from now on."""
    if balance is None or "asOf" in balance:
        return balance
    if ready is None or ready["status"] == "True":
        return balance | {"asOf": format_time(now)}
    return balance | {"asOf": ready["lastTransitionTime"]}
