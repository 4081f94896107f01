"""Puts the operator together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sized
from typing import Any, Self

import aiohttp
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import Kube
from escrow_operator.adapters.metrics import serve_metrics
from escrow_operator.adapters.web import WebServer
from escrow_operator.core.cap import is_leaving
from escrow_operator.core.daemon import daemon_condition
from escrow_operator.core.funding import awaits_money
from escrow_operator.core.report import is_told
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import OPEN_PHASES, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.monerod.poller import DaemonKey, DaemonPoller
from escrow_operator.services.pools.drift import Applied, Drift
from escrow_operator.services.pools.reconciler import PoolReconciler
from escrow_operator.services.pools.scheduling_gates import SchedulingGates
from escrow_operator.services.reporting.events import EventRecorder
from escrow_operator.services.reporting.statistics import Statistics
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.resync.periodic import Upkeep
from escrow_operator.services.resync.relist import Sweep, Versions
from escrow_operator.services.runtime.meters import Meters
from escrow_operator.services.runtime.stage_timer import Stages
from escrow_operator.services.runtime.work_queue import WorkQueue
from escrow_operator.services.sessions.activation import Activator
from escrow_operator.services.sessions.backoff import Patience
from escrow_operator.services.sessions.endings import Endings
from escrow_operator.services.sessions.inspection import Inspector
from escrow_operator.services.sessions.reconciler import SessionReconciler
from escrow_operator.services.sessions.renewal import Renewal
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import ClaimService
from escrow_operator.services.state.namespaces import Namespaces
from escrow_operator.services.state.store import Store
from escrow_operator.services.wallets.clients import Wallets
from escrow_operator.services.wallets.closer import Closer
from escrow_operator.services.wallets.deeds import DeedService
from escrow_operator.services.wallets.monitor import Monitor
from escrow_operator.services.wallets.opener import Opener
from escrow_operator.services.wallets.prober import Prober
from escrow_operator.settings import Settings

_LOG = logging.getLogger(__name__)

LOOKS_AT_ONCE = 64
"""Sessions looked at in parallel. More would only make each other late, up to the deadlines of their requests; one that
waits for a wallet that hangs does not keep its place (invariant I10)."""

POOLS_AT_ONCE = 8


DAEMONS_AT_ONCE = 32
"""Daemons asked in parallel; one that hangs holds its place for its deadline of 10 s."""

POOL_DELAY = 0.25
"""Seconds to gather what happens to a pool's pods into one look: a claim alone changes six of them."""

SLOTS_PER_SECOND = 10_000
"""Pods that looks at one pool may count: a pool with that many is looked at once in over a second at most."""

LIST_SECONDS = 30.0
"""From kopf's list of a kind until that of ours: kopf goes through the objects of a long one for seconds."""

LOOKS_PER_SECOND = 400
"""At most so many sessions are woken by what concerns all of them, such as a new block."""


class Operator:
    """All services, and the queues that call them. ``connect`` makes the connections to wallets and monerods."""

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        clock: Clock,
        connect: Callable[[], aiohttp.ClientSession] = rpc_session,
    ) -> None:
        self.settings = settings
        self.kube = kube
        self.clock = clock
        self.store = Store()
        self.metrics = CollectorRegistry()
        self.meters = Meters(self.metrics)
        self.wallets = Wallets(kube, self.meters, connect)
        self.opener = Opener(self.wallets)
        self.recorder = EventRecorder(kube, clock, self.meters)
        self.daemons = DaemonPoller(kube, self.meters, self.daemon_changed, connect)
        self.deeds = DeedService(kube)
        self.capacity = Capacity(
            self.store,
            clock,
            max_active=settings.sessions.max_active,
            min_stay=settings.sessions.min_stay,
            wake=self.wake_session,
        )
        self.reporter = StatusWriter(kube, self.store, self.recorder, clock, self.meters)
        self.claims = ClaimService(kube, self.store, clock, capacity=self.capacity, pool_changed=self.wake_pool)
        self.closer = Closer(kube, self.store, self.wallets, self.opener)
        self.stages = Stages(self.meters, clock)
        self.applied = Applied()
        patience, renewal = Patience(clock), Renewal(self.store, self.claims)
        self.namespaces = Namespaces(
            kube,
            self.store,
            clock,
            self.meters,
            settings.namespaces,
            changed=self.namespace_changed,
            slot_gone=self.slot_gone,
        )
        self.sweep = Sweep(kube, self.store, self.wallets, self.opener, self.namespaces)
        warm_ups = SchedulingGates(kube, self.store, clock, pool_changed=self.wake_pool)
        activator = Activator(
            kube,
            claims=self.claims,
            deeds=self.deeds,
            opener=self.opener,
            prober=Prober(self.store, self.wallets),
            wallets=self.wallets,
            reporter=self.reporter,
            recorder=self.recorder,
            stages=self.stages,
            store=self.store,
            warm_ups=warm_ups,
        )
        self.drift = Drift(kube, self.store, self.applied, self.namespaces)
        monitor = Monitor(self.wallets, self.opener, clock)
        endings = Endings(
            kube,
            settings,
            clock,
            activator=activator,
            claims=self.claims,
            closer=self.closer,
            deeds=self.deeds,
            monitor=monitor,
            recorder=self.recorder,
            reporter=self.reporter,
            store=self.store,
        )
        self.session_service = SessionReconciler(
            kube,
            self.store,
            settings,
            clock,
            activator=activator,
            capacity=self.capacity,
            claims=self.claims,
            endings=endings,
            inspector=Inspector(self.store, self.daemons, monitor),
            patience=patience,
            renewal=renewal,
            namespaces=self.namespaces,
            recorder=self.recorder,
            reporter=self.reporter,
            stages=self.stages,
        )
        self.pool_service = PoolReconciler(
            kube,
            self.store,
            settings,
            clock,
            applied=self.applied,
            claims=self.claims,
            daemons=self.daemons,
            reporter=self.reporter,
            wallets=self.wallets,
            warm_ups=warm_ups,
            wake=self.wake_session,
            is_ending=self.namespaces.is_ending,
        )
        self.upkeep = Upkeep(
            self.store,
            settings.intervals,
            clock,
            self.meters,
            sweep=self.sweep,
            drift=self.drift,
            closer=self.closer,
            namespaces=self.namespaces,
            wallets=self.wallets,
            wake_sessions=self.wake_sessions,
            wake_pool=self.wake_pool,
            watch_daemon=self.watch_daemon,
        )
        self.session_queue: WorkQueue[SessionKey] = WorkQueue(
            "sessions",
            self.session_service.reconcile,
            concurrency=LOOKS_AT_ONCE,
            meters=self.meters,
            urgent=self.is_urgent,
            group=lambda key: key.namespace,
        )
        self.pool_queue: WorkQueue[PoolKey] = WorkQueue(
            "pools",
            self.pool_service.reconcile,
            concurrency=POOLS_AT_ONCE,
            meters=self.meters,
            group=lambda key: key.namespace,
        )
        self.daemon_queue: WorkQueue[DaemonKey] = WorkQueue(
            "daemons", self.ask_daemon, concurrency=DAEMONS_AT_ONCE, meters=self.meters
        )
        self.sweep_queue: WorkQueue[str] = WorkQueue("sweep", self.upkeep.sweep, concurrency=1, meters=self.meters)
        self.namespace_queue: WorkQueue[str] = WorkQueue(
            "namespaces", self.namespaces.look, concurrency=POOLS_AT_ONCE, meters=self.meters
        )
        self.list_queue: WorkQueue[str | None] = WorkQueue(
            "lists", self.list_objects, concurrency=1, meters=self.meters
        )
        self._expose()
        self.listed: Versions = {}
        """As of which versions pods were listed at the start."""
        self.metrics_server: WebServer | None = None

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Connect and look at all there is, before any decision: a claim must know of the slots already held.

        Raises KubeError, with nothing left open, when the API server does not let it.
        """
        operator = cls(await Kube.connect(), settings, Clock())
        try:
            operator.metrics_server = await serve_metrics(operator.metrics, settings.metrics_port)
            await operator.begin()
        except BaseException:
            await operator.stop()
            raise
        return operator

    async def begin(self) -> None:
        """Look at all there is; what changes since is told by ``handlers``.

        Raises KubeError when the API server does not let it.
        """
        self.listed = await self.upkeep.first_level()
        for key, pool in self.store.pools.items():
            await self.watch_daemon(pool)
            self.pool_queue.add(key)
        # Those that are open can wait longest: their clients notice nothing.
        sessions = self.store.sessions
        self.wake_sessions(sorted(sessions, key=lambda key: sessions[key].phase in OPEN_PHASES))
        self.sweep_queue.add("all")
        for namespace in self.namespaces.named:
            self.namespace_queue.add(namespace)
        _LOG.info("started with %d pools and %d sessions", len(self.store.pools), len(self.store.sessions))

    def _expose(self) -> None:
        queues: dict[str, Sized] = {
            "sessions": self.session_queue,
            "pools": self.pool_queue,
            "daemons": self.daemon_queue,
            "sweep": self.sweep_queue,
            "namespaces": self.namespace_queue,
            "lists": self.list_queue,
        }
        limit = self.settings.sessions.max_active
        Statistics(self.metrics, self.kube, self.store, self.capacity, self.clock, max_active=limit, queues=queues)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.metrics)

    async def stop(self) -> None:
        """End all work and connections; the next operator carries on from what is in the cluster."""
        if self.metrics_server is not None:
            await self.metrics_server.close()
        queues: tuple[WorkQueue[Any], ...] = (
            self.sweep_queue,
            self.list_queue,
            self.namespace_queue,
            self.daemon_queue,
            self.session_queue,
            self.pool_queue,
        )
        for queue in queues:
            await queue.close()
        await self.recorder.close()
        await self.wallets.close()
        await self.daemons.close()
        await self.kube.close()

    async def watch_daemon(self, pool: Pool) -> None:
        """Ask a pool's monerod from now on, unless it is asked already."""
        fresh = await self.daemons.watch(pool)
        if fresh:
            self.daemon_queue.add(fresh)

    async def ask_daemon(self, key: DaemonKey) -> float | None:
        """One request to a monerod; the next one after the interval."""
        if not await self.daemons.poll(key):
            return None
        return self.settings.intervals.daemon.total_seconds()

    def namespace_changed(self, sessions: Iterable[SessionKey], pools: Iterable[PoolKey]) -> None:
        """A namespace is ending, or gone."""
        self.wake_sessions(sessions)
        for pool in pools:
            self.wake_pool(pool)
        self.capacity.wake_waiting()

    def slot_gone(self, slot: Slot) -> None:
        """A pod is gone with its namespace."""
        self.sweep.slot_gone(slot)

    def pod_ends(self, namespace: str) -> None:
        """A pod began to end. With its namespace, pods go first: the sessions' turn is short."""
        if namespace in self.namespaces.named:
            self.namespace_queue.add(namespace, POOL_DELAY)

    def list_again(self, namespace: str | None) -> None:
        """kopf lists a kind of object anew, since its watch lost its place: that tells nothing of what is gone."""
        self.list_queue.add(namespace if self.namespaces.named else None, LIST_SECONDS)

    def list_everything_again(self) -> None:
        """Between the first lists and kopf's something may have gone, too."""
        for namespace in self.namespaces.served:
            self.list_again(namespace)

    async def list_objects(self, namespace: str | None) -> None:
        """List sessions and pools of a namespace (None: of the cluster), and forget those that are gone."""
        found = await self.namespaces.apart(namespace, self.sweep.level_objects(namespace))
        if found is not None:
            self.wake_sessions(found)
            self.wake_all_pools()

    def is_urgent(self, key: SessionKey) -> bool:
        """Whether somebody waits for the next look at a session; those that are open are looked at for the record."""
        session = self.store.sessions.get(key)
        return session is None or session.deleting or session.phase not in OPEN_PHASES

    def wake_session(self, key: SessionKey) -> None:
        """Look at a session now."""
        self.session_queue.add(key)

    def wake_sessions(self, keys: Iterable[SessionKey]) -> None:
        """Look at many sessions, in the order given, not all at the same moment."""
        for number, key in enumerate(keys):
            self.session_queue.add(key, number / LOOKS_PER_SECOND)

    def wake_pool(self, key: PoolKey) -> None:
        """Look at a pool soon: a look counts all its pods."""
        self.pool_queue.add(key, POOL_DELAY + self.store.count_slots(key) / SLOTS_PER_SECOND)

    def wake_all_pools(self) -> None:
        """Look at every pool, and at those who wait for its slots."""
        for pool in self.store.pools:
            self.wake_pool(pool)
            self.pool_service.wake_waiting(pool)

    def daemon_changed(self, key: PoolKey, only_mempool: bool) -> None:
        """monerod has a new block, another mempool, or another state: the pool's sessions may have news.

        What is new in the mempool concerns those who wait for a payment or follow one; the others hear of it at their
        next look by themselves. Those that are closed or failed hold no wallet that could have any, nor do those that
        wait for something else: they hear of another state only.
        """
        self.wake_pool(key)
        pool = self.store.pools.get(key)
        state = daemon_condition(self.daemons.view(key), pool.spec.daemon) if pool else None
        known = (self.store.sessions.get(name) for name in self.store.sessions_of_pool(key))
        sessions = [
            session
            for session in known
            if session
            and not is_leaving(session)
            and (self.store.is_holder(session.uid) or state is None or not is_told(session, state))
        ]
        self.wake_sessions(session.key for session in sessions if awaits_money(session))
        if not only_mempool:
            self.wake_sessions(session.key for session in sessions if not awaits_money(session))
