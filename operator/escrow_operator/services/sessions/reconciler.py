"""Brings one EscrowSession to the state in its spec, whatever state it is found in (invariant I7).

Every step reads the present state and does only what is missing, so the next reconciliation continues after a crash
between any two steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from escrow_operator.adapters.kube import PODS
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, UnavailableError
from escrow_operator.core.backoff import look_again_after
from escrow_operator.core.conditions import Condition
from escrow_operator.core.daemon import NOT_CHECKED
from escrow_operator.core.expiry import expires_at, last_use, read_touch, time_left
from escrow_operator.core.funding import FUNDED, Reading, assess, money_moved_at
from escrow_operator.core.health import health, is_open, unknown_funding
from escrow_operator.core.protection import has_new_payment, is_protected
from escrow_operator.core.report import READY, Report, after
from escrow_operator.core.settlement import SETTLED, final_phase
from escrow_operator.models.common import ROLES, Label, format_time
from escrow_operator.models.session import CLOSED_PHASES, OPEN_PHASES, Phase, Session, SessionKey
from escrow_operator.services.context import Context
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.runtime.outcomes import (
    RECHECK_SECONDS,
    RETRY_SECONDS,
    STILL_OPEN,
    WAITING,
    Blocked,
    Failed,
    NotOpened,
    SlotBroken,
)
from escrow_operator.services.runtime.stage_timer import Stage
from escrow_operator.services.sessions.backoff import Backoff
from escrow_operator.services.sessions.closing import SessionCloser
from escrow_operator.services.sessions.disruption_budgets import DisruptionBudgets
from escrow_operator.services.sessions.inspection import Escrow, Inspector
from escrow_operator.services.sessions.opening import SessionOpener, wallet_fields
from escrow_operator.services.sessions.renewal import Renewal
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.writing import requeue_delay

NOT_CHECKED_SECONDS = 1.0
"""Requeue delay in seconds while monerod is queried for the first time; its answer requeues the session sooner."""

CATCH_UP_SECONDS = 0.5
CATCH_UP_GRACE = 10.0
"""Requeue delay while a Ready session's wallets trail monerod, and after how long Ready is withdrawn, in seconds.
Blocks are two minutes apart, and scanning one takes milliseconds."""


@dataclass(slots=True)
class _Looks:
    """Kept between reconciliations of a session: whether there was one, since when (monotonic) its wallets trail
    monerod, and which unreadable touch was reported."""

    begun: bool = False
    behind_since: float | None = None
    invalid_touch: str | None = None


class SessionReconciler:
    """Reconciles sessions; the queue calls it for one session at a time."""

    def __init__(
        self,
        ctx: Context,
        *,
        opener: SessionOpener,
        capacity: Capacity,
        claims: SlotClaims,
        closer: SessionCloser,
        inspector: Inspector,
        renewal: Renewal,
        status: StatusWriter,
    ) -> None:
        self._kube, self._store, self._clock = ctx.kube, ctx.store, ctx.clock
        self._settings, self._memory = ctx.settings, ctx.memory
        self._events, self._stages = ctx.events, ctx.stages
        self._opener = opener
        self._capacity = capacity
        self._claims = claims
        self._closer = closer
        self._inspector = inspector
        self._backoff = Backoff(ctx)
        self._budgets = DisruptionBudgets(ctx)
        self._renewal = renewal
        self._status = status

    async def reconcile(self, key: SessionKey) -> float | None:
        """Reconcile a session; returns the requeue delay in seconds, or None."""
        session = self._store.sessions.get(key)
        if session is None:
            self._claims.forget(key)
            return None
        looks = self._memory.of(session.uid, _Looks)
        if not looks.begun:
            # A former session of this name may have waited; this one has not yet.
            self._claims.forget(key)
            looks.begun = True
        self._stages.mark(session.uid, Stage.QUEUE)
        try:
            if session.deleting or key.namespace in self._store.ending:
                return await self._closer.finish(session)
            if session.phase in CLOSED_PHASES:
                return await self._closer.stay_closed(session)
            if session.phase is Phase.FAILED and not session.spec.suspend and not await self._closer.is_mended(session):
                return await self._closer.stay_failed(session)
            return await self._advance(session)
        except ConflictError as error:
            return requeue_delay(error)
        except Exception:
            # The session may never get as far as reporting what it lacks: no other session is to wait behind it.
            self._claims.forget(key)
            raise

    async def _advance(self, session: Session) -> float | None:
        now = self._clock.now()
        if session.spec.suspend:
            return await self._closer.suspend(session)
        if self._capacity.must_be_evicted(session):
            return await self._closer.evict(session)
        if session.phase is Phase.ACTIVE:
            left = time_left(session, now=now, idle_ttl=self._idle_ttl)
            if left is not None and left <= timedelta():
                return await self._closer.expire(session)
        self._check_touch(session)
        await self._budgets.follow(session)
        return await self._keep_open(session)

    def _check_touch(self, session: Session) -> None:
        """Report, once, a touch that cannot be read: the session would expire while it is in use."""
        text, looks = session.touch, self._memory.of(session.uid, _Looks)
        if text is None or read_touch(text) is not None or looks.invalid_touch == text:
            return
        looks.invalid_touch = text
        self._events.record(
            session,
            "TouchInvalid",
            f"The annotation {Label.TOUCH} is {text!r}, not a time such as {format_time(self._clock.now())}. It does"
            " not count as activity.",
            warning=True,
        )

    async def _keep_open(self, session: Session) -> float | None:
        blocked: Blocked
        try:
            return await self._look(await self._open(session))
        except Failed as failure:
            return await self._closer.fail(self._latest(session), failure, self._inspector.daemon(session))
        except SlotBroken as broken:
            await self._kube.delete(PODS, broken.slot.namespace, broken.slot.name, uid=broken.slot.uid)
            blocked = broken
        except Blocked as error:
            blocked = error
        except (ConflictError, UnavailableError):
            raise
        except KubeError as error:
            blocked = Blocked(
                "Rejected",
                f"The API server refused a part of the session: {error}. Check quotas and the operator's permissions"
                f" in namespace {session.key.namespace}.",
                retry_after=RECHECK_SECONDS,
            )
        return await self._blocked(self._latest(session), blocked)

    async def _open(self, session: Session) -> Escrow:
        slots = self._claims.held(session)
        self._backoff.must_be_due(session, slots.values())
        try:
            await self._opener.follow(session, slots)
            height = self._inspector.height(session)
            escrow = await self._opener.open(session, self._inspector.pool(session), height)
        except NotOpened as error:
            if self._inspector.daemon(session).status is True:
                self._renewal.must_not_be_hopeless(session, error.slot, self._inspector.pool(session))
            raise self._backoff.failed(session, self._claims.held(session).values(), error) from None
        self._backoff.forget(session)
        if self._inspector.daemon(session).status is True:
            # No pods are replaced for a monerod that is not reachable and synced yet.
            self._renewal.must_be_current(escrow.session, escrow.slots, self._inspector.pool(session))
        return escrow

    async def _look(self, escrow: Escrow) -> float | None:
        """Read the wallets, and report Ready only on fresh knowledge (invariant I8)."""
        session = escrow.session
        now = self._clock.now()
        phase = session.phase if session.phase in OPEN_PHASES else Phase.ACTIVE
        fields: dict[str, Any] = {
            "address": escrow.address,
            "wallets": wallet_fields(session, escrow.slots, opened=True, secrets=self._opener.hands_out(session)),
            "openedAt": session.status.get("openedAt") or format_time(now),
            "failure": None,
            "opening": None,
        }
        try:
            reading, trouble = await self._inspector.read(escrow)
            view = self._inspector.payout(session, reading)
            if trouble and trouble.reason not in STILL_OPEN and not (view and view.is_final):
                raise trouble
            self._stages.mark(session.uid, Stage.VERIFY)
        except Blocked as blocked:
            if blocked.reason not in STILL_OPEN:
                raise
            if self._is_about_to_catch_up(session, blocked):
                return CATCH_UP_SECONDS
            # The wallets are open and their address is verified: report that, while what they hold is unknown.
            conditions = self._not_ready(session, phase, blocked, wallets_open=None)
            await self._status.report(session, Report(phase, conditions, fields | self._clocks(session, now)))
            return blocked.retry_after
        return await self._tell(escrow, reading, trouble, fields)

    async def _tell(
        self, escrow: Escrow, reading: Reading, trouble: Blocked | None, fields: dict[str, Any]
    ) -> float | None:
        """Report the money as two of the wallets and monerod agree on it, whatever is wrong with the third."""
        session, now = escrow.session, self._clock.now()
        daemon = self._inspector.daemon(session)
        view = self._inspector.payout(session, reading)
        funding = assess(
            reading,
            amount=session.spec.amount,
            confirmations=session.spec.confirmations,
            payout=view.fields["txid"] if view and view.pays_out else None,
        )
        money = (funding.condition, *([view.condition] if view else self._no_settlement(session)))
        fields |= funding.fields | {
            "settlement": view.fields if view else None,
            "moneyMovedAt": money_moved_at(session, funding.condition, now=now),
        }
        if view and view.is_final and session.spec.settlement:
            final = final_phase(session.spec.settlement.outcome)
            return await self._closer.settle(session, Report(final, money, fields))
        phase = view.phase if view else Phase.ACTIVE
        waits = trouble is not None and self._is_about_to_catch_up(session, trouble)
        if trouble and not waits:
            opened = health(phase, trouble.reason, trouble.message, wallets_open=None)
        else:
            opened = health(phase, "WalletsOpen", "All three wallets are open and up to date.", wallets_open=True)
        report = Report(phase, (*opened, *money, daemon), fields)
        # The new reading decides whether ttl and maxAge are suspended, not the former status.
        fields |= self._clocks(
            session,
            now,
            used=now if has_new_payment(session, fields["funding"]) else None,
            protected=is_protected(after(session, report, now=now)),
        )
        session = await self._status.report(session, report)
        if trouble:
            return CATCH_UP_SECONDS if waits else trouble.retry_after
        self._memory.of(session.uid, _Looks).behind_since = None
        self._stages.mark(session.uid, Stage.STATUS)
        self._stages.ready(session.uid)
        interval = self._settings.intervals.monitor.total_seconds()
        if self._renewal.is_due(escrow.slots, self._inspector.pool(session)):
            # A free slot requeues only sessions that lack slots, not one that has its three.
            interval = min(interval, RETRY_SECONDS)
        left = time_left(session, now=now, idle_ttl=self._idle_ttl)
        return interval if left is None else max(1.0, min(interval, left.total_seconds()))

    def _is_about_to_catch_up(self, session: Session, blocked: Blocked) -> bool:
        """Whether wallets trail monerod only for a moment, as they do around every block.

        The status was true at the block before. It is not withdrawn before ``CATCH_UP_GRACE`` is over.
        """
        ready = session.condition(READY)
        if blocked.reason != "WalletSyncing" or not ready or ready["status"] != "True":
            return False
        looks, now = self._memory.of(session.uid, _Looks), self._clock.monotonic()
        if looks.behind_since is None:
            looks.behind_since = now
        return now - looks.behind_since < CATCH_UP_GRACE

    def _no_settlement(self, session: Session) -> tuple[Condition, ...]:
        """The Settled condition of a session whose spec.settlement was removed; empty if it never had one."""
        if session.condition(SETTLED) is None:
            return ()
        return (Condition(SETTLED, False, "NoSettlement", "spec.settlement is not set."),)

    async def _blocked(self, session: Session, blocked: Blocked) -> float:
        if blocked.reason == NOT_CHECKED:
            # A new operator process knows nothing yet; the status that its predecessor wrote stays until it does.
            return NOT_CHECKED_SECONDS
        now = self._clock.now()
        if not blocked.keeps_place:
            # No session is to be evicted for one that could not use the place.
            self._capacity.leave(session.key)
        fields: dict[str, Any] = dict(blocked.fields)
        phase = session.phase
        held = self._claims.held(session)
        if not held and blocked.reason not in WAITING:
            self._claims.forget(session.key)
        still_open = blocked.reason in STILL_OPEN and is_open(session) and set(held) == set(ROLES)
        if phase in OPEN_PHASES:
            fields |= self._clocks(session, now)
            fields["wallets"] = wallet_fields(session, held, opened=False, secrets=self._opener.hands_out(session)) | {
                role: wallet
                for role, wallet in (session.status.get("wallets") or {}).items()
                if role in held and wallet.get("pod") == held[role].name and blocked.reason in STILL_OPEN
            }
        elif phase is Phase.FAILED or not held:
            phase = Phase.PENDING
        conditions = self._not_ready(session, phase, blocked, wallets_open=None if still_open else False)
        session = await self._status.report(session, Report(phase, conditions, fields))
        if phase is not Phase.PENDING or blocked.keeps_place:
            return blocked.retry_after
        return look_again_after(session, blocked.retry_after, now=now)

    def _not_ready(
        self, session: Session, phase: Phase, blocked: Blocked, *, wallets_open: bool | None
    ) -> tuple[Condition, ...]:
        """Conditions of a session that is not Ready: what was known of the money is no longer known."""
        conditions = [
            *health(phase, blocked.reason, blocked.message, wallets_open=wallets_open),
            self._inspector.daemon(session),
        ]
        funded = session.condition(FUNDED)
        if funded:
            conditions.append(unknown_funding(funded, blocked.reason, "Not known while the session is not Ready."))
        return tuple(conditions)

    def _latest(self, session: Session) -> Session:
        """The session after the writes of this reconciliation."""
        return self._store.sessions.get(session.key, session)

    def _clocks(
        self, session: Session, now: datetime, *, used: datetime | None = None, protected: bool | None = None
    ) -> dict[str, Any]:
        """Status fields: the session's last use (``used``, if given), the touch counted in it, and when it closes.

        It does not close while it is ``protected`` (None: as the status says).
        """
        activity = used or last_use(session, now=now)
        clocks = {"lastActivityTime": format_time(activity), "lastTouch": session.touch, "expiresAt": None}
        if not (is_protected(session) if protected is None else protected):
            clocks["expiresAt"] = format_time(expires_at(session, idle_ttl=self._idle_ttl, activity=activity))
        return clocks

    @property
    def _idle_ttl(self) -> timedelta:
        return self._settings.sessions.idle_ttl
