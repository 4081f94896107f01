"""The one writer of status: skips what would change nothing, and never overwrites what it has not seen."""

from __future__ import annotations

from typing import Any

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import POOLS, SESSIONS, Kube
from escrow_operator.core.cap import ENDING_PHASES
from escrow_operator.core.conditions import Condition
from escrow_operator.core.report import READY, Report, compose_status
from escrow_operator.models.common import parse_time
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session
from escrow_operator.services.events import Recorder
from escrow_operator.services.statistics import Statistics
from escrow_operator.services.store import Store


class Reporter:
    """Writes the status of sessions and pools, and Events where a condition changed its reason."""

    def __init__(self, kube: Kube, store: Store, recorder: Recorder, clock: Clock, statistics: Statistics) -> None:
        self._kube = kube
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._statistics = statistics

    async def report(self, session: Session, report: Report) -> Session:
        """Write a session's status if it says something new; returns the session as it is then.

        Raises ConflictError when the object has changed since it was read: decide again.
        """
        status = compose_status(session, report, now=self._clock.now())
        if status == session.status:
            return session
        body = await self._kube.patch(
            SESSIONS,
            session.key.namespace,
            session.key.name,
            _replace_status(session.resource_version, status),
            subresource="status",
        )
        self._store.see_session(body)
        self._count(session, report)
        for condition in report.conditions:
            old = session.condition(condition.type)
            if old is None and condition.status is None:
                continue
            if old is None or (old["status"], old["reason"]) != (condition.status_text, condition.reason):
                await self._record(session, condition)
        return Session.parse(body)

    def _count(self, session: Session, report: Report) -> None:
        if report.phase is not session.phase and report.phase in ENDING_PHASES:
            self._statistics.endings.labels(phase=report.phase.value).inc()
        ready = any(condition.type == READY and condition.status for condition in report.conditions)
        if ready and "openedAt" not in session.status:
            age = self._clock.now() - parse_time(session.created_at)
            self._statistics.time_to_ready.observe(age.total_seconds())

    async def report_pool(self, pool: Pool, status: dict[str, Any], conditions: tuple[Condition, ...]) -> None:
        """Write a pool's status if it says something new. Raises ConflictError."""
        if status == pool.status:
            return
        body = await self._kube.patch(
            POOLS,
            pool.key.namespace,
            pool.key.name,
            _replace_status(pool.resource_version, status),
            subresource="status",
        )
        self._store.see_pool(body)
        before = {c["type"]: (c["status"], c["reason"]) for c in pool.status.get("conditions") or ()}
        for condition in conditions:
            if before.get(condition.type) != (condition.status_text, condition.reason):
                await self._record(pool, condition)

    async def _record(self, about: Session | Pool, condition: Condition) -> None:
        await self._recorder.record(about, condition.reason, condition.message, warning=condition.reason in WARNINGS)


WARNINGS = frozenset(
    {
        "AddressMismatch",
        "AtCapacity",
        "DaemonUnreachable",
        "DeedMissing",
        "DeedsDisagree",
        "DoubleSpent",
        "Evicted",
        "NotAPayout",
        "TransactionFailed",
        "TransactionNotFound",
        "NotMultisig",
        "PoolEmpty",
        "PoolNotFound",
        "Rejected",
        "SecretInvalid",
        "SecretKeyMissing",
        "SecretNotFound",
        "SlotsNotStarting",
        "SlotUnauthorized",
        "Spent",
        "StorageClassNotFound",
        "WalletFileDamaged",
        "WalletFileNotFound",
        "WalletInUse",
        "WalletUnreachable",
        "WrongNetwork",
        "WrongPassword",
    }
)
"""Reasons for which somebody should look: their Events are of type Warning."""


def _replace_status(resource_version: str, status: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version},
        {"op": "add", "path": "/status", "value": status},
    ]
