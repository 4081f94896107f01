"""The only writer of status: skips writes that change nothing, and never overwrites a version that it has not seen."""

from __future__ import annotations

from typing import Any

from escrow_operator.core.conditions import RECONCILING, Condition
from escrow_operator.core.daemon import DAEMON_SYNCED, NOT_CHECKED
from escrow_operator.core.funding import AWAITING_PAYMENT, FUNDED
from escrow_operator.core.health import NOT_WATCHED
from escrow_operator.core.report import OPENING, READY, WALLETS_OPEN, Report, compose_status
from escrow_operator.core.settlement import SETTLED
from escrow_operator.models.common import parse_time
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import ENDING_PHASES, Session
from escrow_operator.services.context import Context
from escrow_operator.services.writing import write_pool_status, write_session_status


class StatusWriter:
    """Writes the status of sessions and pools, and Events where a condition changed its reason."""

    def __init__(self, ctx: Context) -> None:
        self._ctx, self._clock = ctx, ctx.clock
        self._events, self._meters = ctx.events, ctx.meters

    async def report(self, session: Session, report: Report) -> Session:
        """Write a session's status if it differs; returns the session as it is then.

        Raises ConflictError when the object has changed since it was read: the session must be reconciled again.
        """
        status = compose_status(session, report, now=self._clock.now())
        if status == session.status:
            return session
        written = await write_session_status(self._ctx, session, status)
        self._count(session, report)
        for condition in report.conditions:
            if (
                condition.type in STORY
                and _is_news(session, condition)
                and not _goes_without_saying(session, condition)
            ):
                self._record(session, condition)
        return written

    def _count(self, session: Session, report: Report) -> None:
        if report.phase is not session.phase and report.phase in ENDING_PHASES:
            self._meters.endings.labels(phase=report.phase.value).inc()
        opened = any(condition.type == WALLETS_OPEN and condition.status for condition in report.conditions)
        if opened and "lastActivityTime" not in session.status:
            age = self._clock.now() - parse_time(session.created_at)
            self._meters.time_to_ready.observe(age.total_seconds())

    async def report_pool(self, pool: Pool, status: dict[str, Any], conditions: tuple[Condition, ...]) -> None:
        """Write a pool's status if it differs. Raises ConflictError like ``report``."""
        if status == pool.status:
            return
        await write_pool_status(self._ctx, pool, status)
        told: set[str] = set()
        for condition in conditions:
            # One Event for a reason, however many conditions have it; none for what passes by itself.
            if condition.type == RECONCILING or condition.reason in told | {NOT_CHECKED}:
                continue
            told.add(condition.reason)
            if _is_news(pool, condition):
                self._record(pool, condition)

    def _record(self, about: Session | Pool, condition: Condition) -> None:
        self._events.record(about, condition.reason, condition.message, warning=condition.reason in WARNINGS)


STORY = frozenset({READY, FUNDED, SETTLED, DAEMON_SYNCED})
"""Conditions whose changes are recorded as Events; the others repeat the same for machines."""

WARNINGS = frozenset(
    {
        "AddressMismatch",
        "AtCapacity",
        "VolumeClaimNotOurs",
        "DaemonChanged",
        "DaemonSecretsChanged",
        "DaemonSecretsNotRead",
        "DaemonUnreachable",
        "DeedMissing",
        "DeedsDisagree",
        "DoubleSpent",
        "Evicted",
        "KeyExchangeFailed",
        "NameSettled",
        "NotAPayout",
        "TransactionNotFound",
        "NotMultisig",
        "ObjectNotOurs",
        "OpeningTimedOut",
        "PoolDeleting",
        "PoolEmpty",
        "PoolNotFound",
        "Rejected",
        "RemainderLeft",
        "SecretInvalid",
        "SecretKeyMissing",
        "SecretNameInvalid",
        "SecretNotFound",
        "SecretNotMarked",
        "SessionsOpen",
        "SlotNotReady",
        "SlotsNotStarting",
        "SlotUnauthorized",
        "Spent",
        "StorageClassNotFound",
        "StorageError",
        "TimeLocked",
        "WalletFileDamaged",
        "WalletFileNotFound",
        "WalletInUse",
        "WalletUnreachable",
        "WalletsDisagree",
        "WrongNetwork",
        "WrongPassword",
    }
)
"""Reasons that need a user's attention: their Events are of type Warning."""


def _is_news(about: Session | Pool, condition: Condition) -> bool:
    """Whether a condition's status or reason differs from the one written last."""
    old = about.condition(condition.type)
    return old is None or (old["status"], old["reason"]) != (condition.status_text, condition.reason)


def _goes_without_saying(session: Session, condition: Condition) -> bool:
    """Whether a change is expected and makes no Event: each Event is a request, and hides others in the list."""
    if condition.type == READY and condition.reason == OPENING:
        # The Event "SlotsClaimed" reports it, and which pods.
        return True
    old = session.condition(condition.type)
    if condition.type in (FUNDED, SETTLED):
        # Ready says why the money is unknown; that it was there, and is unknown now, is news.
        unknown = condition.status is None and (old is None or old["status"] != "True")
        still = condition.reason == AWAITING_PAYMENT and old is not None and old["status"] == "Unknown"
        return condition.reason == NOT_WATCHED or unknown or still
    usual = condition.status is None or (condition.type == DAEMON_SYNCED and condition.status)
    return condition.reason == NOT_WATCHED or (bool(usual) and old is None)
