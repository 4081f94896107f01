"""Brings one EscrowSession to where its spec says it should be, whatever state it is found in (invariant I7).

Every step looks at what is there and does only what is missing, so a crash between any two of them is continued by the
next look.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import PODS, SESSIONS, ConflictError, Kube
from escrow_operator.core.conditions import Condition
from escrow_operator.core.daemon import DAEMON_SYNCED, daemon_condition
from escrow_operator.core.expiry import expires_at, last_activity
from escrow_operator.core.funding import FUNDED, Reading, assess
from escrow_operator.core.report import READY, Report
from escrow_operator.models.common import FINALIZER, format_time
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.activation import Activator, Escrow, pool_key, wallet_fields
from escrow_operator.services.blocked import RECHECK_SECONDS, RETRY_SECONDS, Blocked, Failed, SlotBroken
from escrow_operator.services.claims import ClaimService
from escrow_operator.services.closer import Closer
from escrow_operator.services.daemons import DaemonService
from escrow_operator.services.deeds import DeedService
from escrow_operator.services.events import Recorder
from escrow_operator.services.monitor import Monitor
from escrow_operator.services.reporter import Reporter
from escrow_operator.services.store import Store
from escrow_operator.settings import Settings

CONFLICT_SECONDS = 0.2
"""Until the next look after somebody else's write: its watch event is usually there by then."""

LOOKS_FOR_ONE_HEIGHT = 2
"""Equal heights are asked for, not "at least monerod's": in a reorganisation a wallet stays higher than its daemon, on
blocks that are no more."""

OPEN_PHASES = frozenset({Phase.ACTIVE, Phase.SETTLING})
"""With wallets open."""

CLOSED_PHASES = frozenset({Phase.COMPLETED, Phase.REFUNDED, Phase.EXPIRED, Phase.EVICTED, Phase.SUSPENDED})
"""Without slots, for good or until somebody resumes the session."""


class SessionService:
    """Reconciles sessions; the queue calls it for one session at a time."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        settings: Settings,
        clock: Clock,
        *,
        activator: Activator,
        claims: ClaimService,
        closer: Closer,
        daemons: DaemonService,
        deeds: DeedService,
        monitor: Monitor,
        recorder: Recorder,
        reporter: Reporter,
    ) -> None:
        self._kube = kube
        self._store = store
        self._settings = settings
        self._clock = clock
        self._activator = activator
        self._claims = claims
        self._closer = closer
        self._daemons = daemons
        self._deeds = deeds
        self._monitor = monitor
        self._recorder = recorder
        self._reporter = reporter

    async def reconcile(self, key: SessionKey) -> float | None:
        """One look; returns the seconds until the next one that no event may bring."""
        session = self._store.sessions.get(key)
        if session is None:
            return None
        try:
            if session.deleting:
                return await self._finish(session)
            if session.phase in CLOSED_PHASES:
                return await self._stay_closed(session)
            if session.phase is Phase.FAILED and not await self._is_mended(session):
                await self._closer.release(session)
                return RECHECK_SECONDS
            return await self._advance(session)
        except ConflictError:
            return CONFLICT_SECONDS

    async def _advance(self, session: Session) -> float | None:
        if FINALIZER not in session.finalizers:
            session = await self._add_finalizer(session)
        now = self._clock.now()
        if session.phase in OPEN_PHASES and self._expires_at(session, now) <= now:
            return await self._expire(session)
        try:
            return await self._look(await self._open(session))
        except Failed as failure:
            return await self._fail(self._latest(session), failure)
        except SlotBroken as broken:
            await self._kube.delete(PODS, broken.slot.namespace, broken.slot.name, uid=broken.slot.uid)
            return await self._blocked(self._latest(session), broken)
        except Blocked as blocked:
            return await self._blocked(self._latest(session), blocked)

    async def _open(self, session: Session) -> Escrow:
        pool = self._store.pools.get(pool_key(session))
        if pool is None or pool.deleting:
            raise Blocked(
                "PoolNotFound",
                f"There is no WalletPool {session.spec.pool_ref.name} in namespace {session.key.namespace}. Create it,"
                " or delete this session and name another pool.",
                retry_after=RECHECK_SECONDS,
            )
        view = self._daemons.view(pool.key)
        condition = daemon_condition(view, pool.spec.daemon)
        if view is None or view.info is None or condition.reason == "WrongNetwork":
            raise Blocked(condition.reason, condition.message, retry_after=RETRY_SECONDS)
        return await self._activator.activate(session, pool, view.info.height)

    async def _look(self, escrow: Escrow) -> float:
        """Read the wallets, and say Ready only on fresh knowledge (invariant I8)."""
        session = escrow.session
        now = self._clock.now()
        phase = session.phase if session.phase in OPEN_PHASES else Phase.ACTIVE
        fields: dict[str, Any] = {
            "address": escrow.address,
            "wallets": wallet_fields(session, pool_key(session), escrow.slots, opened=True),
            "openedAt": session.status.get("openedAt") or format_time(now),
            "failure": None,
        } | self._clocks(session, now)
        daemon = self._daemon_condition(session)
        try:
            reading = await self._read(escrow, daemon)
        except Blocked as blocked:
            if blocked.reason not in STILL_OPEN:
                raise
            # The wallets are open and their address is proven: say so, while what they hold is not known.
            await self._reporter.report(session, Report(phase, self._not_ready(session, blocked), fields))
            return blocked.retry_after
        funding = assess(reading, amount=session.spec.amount, confirmations=session.spec.confirmations)
        ready = Condition(READY, True, "WalletsOpen", "All three wallets are open and up to date.")
        report = Report(phase, (ready, funding.condition, daemon), fields | funding.fields)
        session = await self._reporter.report(session, report)
        left = (self._expires_at(session, now) - now).total_seconds()
        return max(1.0, min(self._settings.intervals.monitor.total_seconds(), left))

    async def _read(self, escrow: Escrow, daemon: Condition) -> Reading:
        if daemon.status is not True:
            raise Blocked(daemon.reason, daemon.message, retry_after=RETRY_SECONDS)
        for _ in range(LOOKS_FOR_ONE_HEIGHT):
            reading = await self._monitor.read(escrow.session.uid, escrow.slots, escrow.address)
            if reading.height == self._height(escrow.session):
                return reading
            # Around a new block the one or the other is ahead: ask monerod again, then the wallets.
            await self._daemons.poll(self._store.pools[pool_key(escrow.session)])
            if reading.height == self._height(escrow.session):
                return reading
        raise Blocked(
            "WalletSyncing",
            f"The wallets are at block {reading.height}, monerod is at {self._height(escrow.session)}.",
            retry_after=RETRY_SECONDS,
        )

    def _height(self, session: Session) -> int:
        view = self._daemons.view(pool_key(session))
        return view.info.height if view and view.info else 0

    async def _blocked(self, session: Session, blocked: Blocked) -> float:
        now = self._clock.now()
        fields: dict[str, Any] = {}
        phase = session.phase
        if phase in OPEN_PHASES:
            fields = self._clocks(session, now)
            held = self._claims.held(session)
            fields["wallets"] = wallet_fields(session, pool_key(session), held, opened=False) | {
                role: wallet
                for role, wallet in (session.status.get("wallets") or {}).items()
                if role in held and wallet.get("pod") == held[role].name and blocked.reason in STILL_OPEN
            }
        elif phase is Phase.FAILED or not self._claims.held(session):
            phase = Phase.PENDING
        await self._reporter.report(session, Report(phase, self._not_ready(session, blocked), fields))
        return blocked.retry_after

    def _not_ready(self, session: Session, blocked: Blocked) -> tuple[Condition, ...]:
        """Ready is False; what was known of the money is no longer known if it was known."""
        conditions = [
            Condition(READY, False, blocked.reason, blocked.message),
            self._daemon_condition(session),
        ]
        funded = session.condition(FUNDED)
        if funded and funded["status"] == "True":
            conditions.append(Condition(FUNDED, None, blocked.reason, "Not known while the session is not Ready."))
        return tuple(conditions)

    async def _fail(self, session: Session, failure: Failed) -> float:
        """Give the slots back, and remember what was tried so that it is not tried again."""
        tried = {"generation": session.generation, "secrets": await self._deeds.versions(session)}
        conditions = (
            Condition(READY, False, failure.reason, failure.message),
            self._daemon_condition(session),
        )
        report = Report(Phase.FAILED, conditions, {"failure": tried, "wallets": None, "expiresAt": None})
        await self._reporter.report(session, report)
        await self._close(session)
        return RECHECK_SECONDS

    async def _is_mended(self, session: Session) -> bool:
        """Whether the spec or a Secret changed since the failure."""
        tried = session.status.get("failure") or {}
        if tried.get("generation") != session.generation:
            return True
        return bool(tried.get("secrets") != await self._deeds.versions(session))

    async def _expire(self, session: Session) -> float | None:
        report = Report(
            Phase.EXPIRED,
            (
                Condition(
                    READY,
                    False,
                    "Expired",
                    "Not used for its TTL (or older than its maxAge). The wallets were closed; files and Secrets are"
                    " kept. Delete the session and apply it again to open them.",
                ),
            ),
            {"wallets": None, "expiresAt": None},
        )
        return await self._stay_closed(await self._reporter.report(session, report))

    async def _stay_closed(self, session: Session) -> float | None:
        return None if await self._close(session) else RETRY_SECONDS

    async def _finish(self, session: Session) -> float | None:
        """The way out of a deleted session."""
        if FINALIZER not in session.finalizers:
            return None
        if not await self._close(session):
            waiting = Condition(READY, False, "Closing", "Waiting for a pod to store its wallet and end.")
            await self._reporter.report(session, Report(session.phase, (waiting,)))
            return RETRY_SECONDS
        await self._recorder.record(
            session, "WalletsClosed", "The wallets were stored and closed; their files and Secrets are kept."
        )
        await self._closer.drop_finalizer(session)
        return None

    async def _close(self, session: Session) -> bool:
        self._claims.stop_waiting(session.key, pool_key(session))
        self._activator.forget(session.uid)
        self._monitor.forget(session.uid)
        held = self._claims.held(session)
        done = await self._closer.release(session)
        if held and not session.deleting:
            await self._closer.withdraw_endpoints(session)
        return done

    async def _add_finalizer(self, session: Session) -> Session:
        path = "/metadata/finalizers/-" if session.finalizers else "/metadata/finalizers"
        body = await self._kube.patch(
            SESSIONS,
            session.key.namespace,
            session.key.name,
            [
                {"op": "test", "path": "/metadata/resourceVersion", "value": session.resource_version},
                {"op": "add", "path": path, "value": FINALIZER if session.finalizers else [FINALIZER]},
            ],
        )
        self._store.see_session(body)
        return Session.parse(body)

    def _daemon_condition(self, session: Session) -> Condition:
        pool = self._store.pools.get(pool_key(session))
        if pool is None:
            return Condition(DAEMON_SYNCED, None, "PoolNotFound", "Not known without the WalletPool.")
        return daemon_condition(self._daemons.view(pool.key), pool.spec.daemon)

    def _latest(self, session: Session) -> Session:
        """The session after the writes of this look."""
        return self._store.sessions.get(session.key, session)

    def _clocks(self, session: Session, now: datetime) -> dict[str, Any]:
        activity = last_activity(session, now=now)
        seen = session.status.get("observedGeneration")
        if "openedAt" not in session.status or (seen is not None and seen != session.generation):
            activity = now
        expiry = expires_at(session, idle_ttl=self._idle_ttl, activity=activity)
        return {"lastActivityTime": format_time(activity), "expiresAt": format_time(expiry)}

    def _expires_at(self, session: Session, now: datetime) -> datetime:
        return expires_at(session, idle_ttl=self._idle_ttl, activity=last_activity(session, now=now))

    @property
    def _idle_ttl(self) -> timedelta:
        return self._settings.sessions.idle_ttl


STILL_OPEN = frozenset({"DaemonUnreachable", "DaemonSyncing", "WalletSyncing", "WrongNetwork", "PoolNotFound"})
"""Reasons for not being Ready that say nothing against the wallets being open."""
