"""How sessions end: expired, evicted, suspended, failed, settled or deleted. All close their wallets the same way."""

from __future__ import annotations

from typing import Any

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.core.backoff import failed_again, is_to_be_tried, look_again_after
from escrow_operator.core.conditions import Condition
from escrow_operator.core.expiry import is_edited, is_too_old, is_wanted_again, last_use
from escrow_operator.core.health import (
    CLOSING,
    CLOSING_TEXT,
    health,
    is_suspended_by_spec,
    suspended_by_spec,
    unwatched,
)
from escrow_operator.core.protection import may_hold_money
from escrow_operator.core.report import Report
from escrow_operator.models.common import format_time
from escrow_operator.models.session import RESUMABLE_PHASES, Phase, Session
from escrow_operator.services.context import Context
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.runtime.outcomes import RECHECK_SECONDS, RETRY_SECONDS, Failed
from escrow_operator.services.sessions.disruption_budgets import DisruptionBudgets
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.wallets.closer import WalletCloser
from escrow_operator.services.wallets.deeds import DeedStore
from escrow_operator.settings import EvictionPolicy

EXPIRED_TEXT = (
    "Not used for its TTL. The wallets were closed; their files and Secrets are kept. A touch or a change of its spec"
    " opens them again."
)
TOO_OLD_TEXT = (
    "Older than its maxAge. The wallets were closed; their files and Secrets are kept. A later maxAge, or the session"
    " deleted and applied again, opens them."
)
EVICTED_TEXT = (
    "Evicted at the cap (sessions.maxActive) for another session, as the least recently used one. It is deleted; its"
    " wallets' files and Secrets are kept. Apply it again to open them."
)
SUSPENDED_TEXT = (
    "Evicted at the cap (sessions.maxActive) for another session, as the least recently used one. Its wallets were"
    " closed; a touch or a change of its spec opens them again."
)
SETTLED_TEXT = "The payout is final. The wallets were closed; their files and Secrets are kept."


CLOSED: dict[str, Any] = {"opening": None, "wallets": None, "expiresAt": None, "openedAt": None}
"""Status fields that a closed session does not have."""


class SessionCloser:
    """Ends sessions; each step is repeated until it is done. Floats returned are requeue delays in seconds."""

    def __init__(
        self, ctx: Context, *, claims: SlotClaims, closer: WalletCloser, deeds: DeedStore, status: StatusWriter
    ) -> None:
        self._kube, self._store, self._clock = ctx.kube, ctx.store, ctx.clock
        self._settings, self._memory, self._events = ctx.settings, ctx.memory, ctx.events
        self._budgets = DisruptionBudgets(ctx)
        self._claims = claims
        self._closer = closer
        self._deeds = deeds
        self._status = status

    async def fail(self, session: Session, failure: Failed, daemon: Condition) -> float:
        """Give the slots back, and note in the status what was tried so that it is not retried soon, or at all."""
        now = self._clock.now()
        secrets = failure.secrets or await self._deeds.versions(session)
        tried = failed_again(session, secrets, again=failure.again, now=now)
        message = failure.message
        if "retryAt" in tried:
            message += f" It is tried again at {tried['retryAt']}, or when its spec or a Secret changes."
        conditions = (*health(Phase.FAILED, failure.reason, message), *unwatched(session), daemon)
        report = Report(Phase.FAILED, conditions, {"failure": tried} | CLOSED)
        return await self.stay_failed(await self._status.report(session, report))

    async def stay_failed(self, session: Session) -> float:
        """Hold no slots until the cause of the failure is corrected."""
        await self._close(session)
        return look_again_after(session, RECHECK_SECONDS, now=self._clock.now())

    async def is_mended(self, session: Session) -> bool:
        """Whether the spec or a Secret changed since the failure, or a retry is due (a file may have been restored).

        No session is evicted for such a retry: it waits for a free place under the cap.
        """
        tried = session.status.get("failure") or {}
        if tried.get("generation") != session.generation:
            return True
        if self._claims.has_room(session) and is_to_be_tried(session, self._clock.now()):
            return True
        return bool(tried.get("secrets") != await self._deeds.versions(session))

    async def expire(self, session: Session) -> float | None:
        """End a session whose TTL or maxAge is over."""
        too_old = is_too_old(session, now=self._clock.now())
        return await self._close_for(session, Phase.EXPIRED, TOO_OLD_TEXT if too_old else EXPIRED_TEXT)

    async def evict(self, session: Session) -> float | None:
        """End a session that was chosen for eviction at the cap."""
        if self._settings.sessions.eviction_policy is EvictionPolicy.SUSPEND or may_hold_money(session):
            return await self._close_for(session, Phase.SUSPENDED, SUSPENDED_TEXT)
        return await self._close_for(session, Phase.EVICTED, EVICTED_TEXT)

    async def suspend(self, session: Session) -> float | None:
        """Close a session whose spec.suspend is true, whatever it was doing: as a deletion would, but it stays."""
        conditions = suspended_by_spec(is_closed=not self._store.is_holder(session.uid))
        fields = self._last_use(session) | {"failure": None}
        return await self._end(session, Report(Phase.SUSPENDED, conditions, fields))

    async def _close_for(self, session: Session, phase: Phase, message: str) -> float | None:
        """Close a session that stays as an object. What a client wrote until now does not resume it."""
        return await self._end(session, Report(phase, health(phase, phase.value, message), self._last_use(session)))

    def _last_use(self, session: Session) -> dict[str, Any]:
        activity = format_time(last_use(session, now=self._clock.now()))
        return {"lastActivityTime": activity, "lastTouch": session.touch}

    async def _end(self, session: Session, report: Report) -> float | None:
        conditions = (*report.conditions, *unwatched(session))
        written = await self._status.report(session, Report(report.phase, conditions, {**report.fields, **CLOSED}))
        return await self.stay_closed(written)

    async def settle(self, session: Session, final: Report) -> float | None:
        """End a session whose payout is final: ``final`` has the phase, the money's conditions and the status fields.

        The deeds are marked first: a later session of this name must not get the wallets of a trade that is over.
        """
        await self._deeds.mark_settled(session, f"{final.phase.value} by {final.fields['settlement']['txid']}")
        conditions = (
            *health(final.phase, "Settled", SETTLED_TEXT),
            *unwatched(session, paid_out=True),
            *final.conditions,
        )
        report = Report(final.phase, conditions, {**final.fields, **CLOSED})
        return await self.stay_closed(await self._status.report(session, report))

    async def stay_closed(self, session: Session) -> float | None:
        """Hold no slots. A session that is used again is resumed, if its phase allows it.

        An evicted session that is not used again is deleted.
        """
        now = self._clock.now()
        resumable = session.phase in RESUMABLE_PHASES
        by_spec = is_suspended_by_spec(session)
        if resumable and session.spec.suspend and not by_spec:
            # An evicted session is not deleted: the change of its spec is a use of it.
            return await self.suspend(session)
        wanted = is_wanted_again(session, now=now, idle_ttl=self._settings.sessions.idle_ttl)
        if by_spec and not session.spec.suspend and not wanted:
            return await self.expire(session)
        if resumable and wanted and not session.spec.suspend:
            conditions = health(Phase.PENDING, "Resuming", f"Used again after it was {session.phase.value.lower()}.")
            fields = {"lastActivityTime": format_time(now), "lastTouch": session.touch}
            await self._status.report(session, Report(Phase.PENDING, conditions, fields))
            return 0.0
        if is_edited(session):
            # This writes observedGeneration; the change has no other effect.
            session = await self._status.report(session, Report(session.phase, ()))
        is_closed = await self._close(session)
        if by_spec:
            # Whoever suspends a session goes on to copy its files: they are not told before its pods have ended. Their
            # end is an event of the session, which is looked at again then.
            ended = is_closed and not self._store.is_holder(session.uid)
            session = await self._status.report(session, Report(session.phase, suspended_by_spec(is_closed=ended)))
        if not is_closed:
            return RETRY_SECONDS
        if session.phase is Phase.EVICTED:
            # Only this version: a session that is used at this moment is kept.
            await self._kube.delete(
                SESSIONS, session.key.namespace, session.key.name, uid=session.uid, version=session.resource_version
            )
        return None

    async def finish(self, session: Session) -> float | None:
        """Finalize a deleted session: close its wallets, then remove the finalizer."""
        if session.finalizers.own is None:
            self._forget(session)
            return None
        if not await self._close(session):
            closing = (*health(Phase.PENDING, CLOSING, CLOSING_TEXT), *unwatched(session))
            await self._status.report(session, Report(session.phase, closing))
            return RETRY_SECONDS
        self._events.record(
            session, "WalletsClosed", "The wallets were stored and closed; their files and Secrets are kept."
        )
        await self._closer.drop_finalizer(session)
        return None

    def _forget(self, session: Session) -> None:
        """Take a closed session off the waiting lists, and forget what was known of its wallets."""
        self._claims.forget(session.key)
        self._memory.clear(session.uid)

    async def _close(self, session: Session) -> bool:
        is_stale = self._closer.is_stale(session)
        async with self._budgets.closing(session):
            self._forget(session)
            if not session.deleting and (self._store.is_holder(session.uid) or is_stale):
                # Before its slots go: while it has them, the next operator does it again after a crash.
                await self._closer.withdraw_endpoints(session)
            return await self._closer.release(session)
