"""How sessions end: expired, evicted, suspended, failed, settled or deleted. All close their wallets the same way."""

from __future__ import annotations

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import SESSIONS, Kube
from escrow_operator.core.conditions import Condition
from escrow_operator.core.expiry import last_activity, touched_at
from escrow_operator.core.report import READY, Report
from escrow_operator.models.common import FINALIZER, format_time, parse_time
from escrow_operator.models.session import Phase, Session
from escrow_operator.services.activation import Activator
from escrow_operator.services.blocked import RECHECK_SECONDS, RETRY_SECONDS, Failed
from escrow_operator.services.capacity import Capacity
from escrow_operator.services.claims import ClaimService
from escrow_operator.services.closer import Closer
from escrow_operator.services.deeds import DeedService
from escrow_operator.services.events import Recorder
from escrow_operator.services.monitor import Monitor
from escrow_operator.services.reporter import Reporter
from escrow_operator.settings import EvictionPolicy, Settings

EXPIRED_TEXT = (
    "Not used for its TTL, or older than its maxAge. The wallets were closed; their files and Secrets are kept. Delete"
    " the session and apply it again to open them."
)
EVICTED_TEXT = (
    "Gave way to another session at the cap (sessions.maxActive), as the least recently used one. It is deleted; its"
    " wallets' files and Secrets are kept. Apply it again to open them."
)
SUSPENDED_TEXT = (
    "Gave way to another session at the cap (sessions.maxActive), as the least recently used one. A touch or a change"
    " of its spec opens its wallets again."
)
SETTLED_TEXT = "The payout is final. The wallets were closed; their files and Secrets are kept."


class Endings:
    """Carries out the end of a session; each step is repeated until it is done."""

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        clock: Clock,
        *,
        activator: Activator,
        capacity: Capacity,
        claims: ClaimService,
        closer: Closer,
        deeds: DeedService,
        monitor: Monitor,
        recorder: Recorder,
        reporter: Reporter,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._clock = clock
        self._activator = activator
        self._capacity = capacity
        self._claims = claims
        self._closer = closer
        self._deeds = deeds
        self._monitor = monitor
        self._recorder = recorder
        self._reporter = reporter

    async def fail(self, session: Session, failure: Failed, daemon: Condition) -> float:
        """Give the slots back, and remember what was tried so that it is not tried again."""
        tried = {"generation": session.generation, "secrets": await self._deeds.versions(session)}
        conditions = (
            Condition(READY, False, failure.reason, failure.message),
            daemon,
        )
        report = Report(Phase.FAILED, conditions, {"failure": tried, "wallets": None, "expiresAt": None})
        await self._reporter.report(session, report)
        return await self.stay_failed(session)

    async def stay_failed(self, session: Session) -> float:
        """Without slots until it is mended."""
        await self._close(session)
        return RECHECK_SECONDS

    async def is_mended(self, session: Session) -> bool:
        """Whether the spec or a Secret changed since the failure."""
        tried = session.status.get("failure") or {}
        if tried.get("generation") != session.generation:
            return True
        return bool(tried.get("secrets") != await self._deeds.versions(session))

    async def expire(self, session: Session) -> float | None:
        """The session's time is up."""
        return await self._end(session, Phase.EXPIRED, EXPIRED_TEXT)

    async def _end(self, session: Session, phase: Phase, message: str) -> float | None:
        """Close a session that stays as an object."""
        ready = Condition(READY, False, phase.value, message)
        activity = format_time(last_activity(session, now=self._clock.now()))
        fields = {"wallets": None, "expiresAt": None, "lastActivityTime": activity}
        return await self.stay_closed(await self._reporter.report(session, Report(phase, (ready,), fields)))

    async def give_way(self, session: Session) -> float | None:
        """The session was the least recently used one when the cap was reached."""
        if self._settings.sessions.eviction_policy is EvictionPolicy.SUSPEND:
            return await self._end(session, Phase.SUSPENDED, SUSPENDED_TEXT)
        return await self._end(session, Phase.EVICTED, EVICTED_TEXT)

    async def stay_closed(self, session: Session) -> float | None:
        """Hold no slots; an evicted session is deleted then, a suspended one may be wanted again."""
        if session.phase is Phase.SUSPENDED and self._is_wanted_again(session):
            ready = Condition(READY, False, "Resuming", "Used again after it was suspended.")
            fields = {"lastActivityTime": format_time(self._clock.now())}
            await self._reporter.report(session, Report(Phase.PENDING, (ready,), fields))
            return 0.0
        if not await self._close(session):
            return RETRY_SECONDS
        if session.phase is Phase.EVICTED:
            await self._kube.delete(SESSIONS, session.key.namespace, session.key.name, uid=session.uid)
        return None

    def _is_wanted_again(self, session: Session) -> bool:
        """Whether a suspended session was touched, or its spec changed, since it was suspended."""
        if session.status.get("observedGeneration") != session.generation:
            return True
        touched = touched_at(session)
        noted = session.status.get("lastActivityTime")
        return touched is not None and (noted is None or touched > parse_time(noted))

    async def finish(self, session: Session) -> float | None:
        """The way out of a deleted session."""
        if FINALIZER not in session.finalizers:
            return None
        if not await self._close(session):
            waiting = Condition(READY, False, "Closing", "Waiting for a pod to store its wallet and end.")
            await self._reporter.report(session, Report(session.phase, (waiting,)))
            return RETRY_SECONDS
        self._recorder.record(
            session, "WalletsClosed", "The wallets were stored and closed; their files and Secrets are kept."
        )
        await self._closer.drop_finalizer(session)
        return None

    async def _close(self, session: Session) -> bool:
        self._claims.stop_waiting(session.key, session.pool_key)
        self._capacity.leave(session.key)
        self._activator.forget(session.uid)
        self._monitor.forget(session.uid)
        held = self._claims.held(session)
        done = await self._closer.release(session)
        if held and not session.deleting:
            await self._closer.withdraw_endpoints(session)
        return done
