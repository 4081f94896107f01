"""Puts the operator together."""

from __future__ import annotations

import logging
from typing import Self

from prometheus_client import CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import Kube
from escrow_operator.adapters.metrics import MetricsServer
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.services.activation import Activator
from escrow_operator.services.capacity import Capacity
from escrow_operator.services.claims import ClaimService
from escrow_operator.services.closer import Closer
from escrow_operator.services.daemons import DaemonService
from escrow_operator.services.deeds import DeedService
from escrow_operator.services.endings import Endings
from escrow_operator.services.events import Recorder
from escrow_operator.services.inspection import Inspector
from escrow_operator.services.monitor import Monitor
from escrow_operator.services.opener import Opener
from escrow_operator.services.pools import PoolService
from escrow_operator.services.queue import WorkQueue
from escrow_operator.services.reporter import Reporter
from escrow_operator.services.sessions import SessionService
from escrow_operator.services.statistics import Statistics
from escrow_operator.services.store import Store
from escrow_operator.services.sweep import Sweep
from escrow_operator.services.wallets import Wallets
from escrow_operator.settings import Settings

_LOG = logging.getLogger(__name__)

SPARE_PLACES = 32
"""Sessions looked at in parallel beyond ``maxActive``. Only those with slots can wait for a wallet that hangs, and each
of them has a place of its own: however many hang, the others go on (invariant I10)."""

POOLS_AT_ONCE = 8

DAEMONS_AT_ONCE = 32
"""Daemons asked in parallel; one that hangs holds its place for its deadline of 10 s."""

POOL_DELAY = 0.25
"""Seconds to gather what happens to a pool's pods into one look: a claim alone changes six of them."""


class Operator:
    """All services, and the two queues that call them."""

    def __init__(self, kube: Kube, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.kube = kube
        self.clock = clock
        self.store = Store()
        self.wallets = Wallets(kube)
        self.opener = Opener(self.wallets)
        self.recorder = Recorder(kube, clock)
        self.daemons = DaemonService(kube, self.daemon_changed)
        self.deeds = DeedService(kube)
        self.capacity = Capacity(self.store, clock, max_active=settings.sessions.max_active, wake=self.wake_session)
        self.metrics = CollectorRegistry()
        statistics = Statistics(
            self.metrics, kube, self.store, self.capacity, clock, max_active=settings.sessions.max_active
        )
        self.reporter = Reporter(kube, self.store, self.recorder, clock, statistics)
        self.claims = ClaimService(kube, self.store, capacity=self.capacity, pool_changed=self.wake_pool)
        self.closer = Closer(kube, self.store, self.wallets, self.opener)
        self.sweep = Sweep(kube, self.store, self.wallets, self.opener, settings.namespaces)
        activator = Activator(
            kube,
            claims=self.claims,
            deeds=self.deeds,
            opener=self.opener,
            wallets=self.wallets,
            reporter=self.reporter,
            recorder=self.recorder,
        )
        monitor = Monitor(self.wallets, self.opener)
        endings = Endings(
            kube,
            settings,
            clock,
            activator=activator,
            capacity=self.capacity,
            claims=self.claims,
            closer=self.closer,
            deeds=self.deeds,
            monitor=monitor,
            recorder=self.recorder,
            reporter=self.reporter,
        )
        self.session_service = SessionService(
            kube,
            self.store,
            settings,
            clock,
            activator=activator,
            capacity=self.capacity,
            claims=self.claims,
            endings=endings,
            inspector=Inspector(self.store, self.daemons, monitor),
            recorder=self.recorder,
            reporter=self.reporter,
        )
        self.pool_service = PoolService(
            kube,
            self.store,
            settings,
            clock,
            claims=self.claims,
            daemons=self.daemons,
            reporter=self.reporter,
            wallets=self.wallets,
            wake=self.wake_session,
        )
        self.session_queue: WorkQueue[SessionKey] = WorkQueue(
            "sessions", self.session_service.reconcile, concurrency=settings.sessions.max_active + SPARE_PLACES
        )
        self.pool_queue: WorkQueue[PoolKey] = WorkQueue("pools", self.pool_service.reconcile, concurrency=POOLS_AT_ONCE)
        self.daemon_queue: WorkQueue[PoolKey] = WorkQueue("daemons", self.ask_daemon, concurrency=DAEMONS_AT_ONCE)
        self.sweep_queue: WorkQueue[str] = WorkQueue("sweep", self.sweep_all, concurrency=1)
        self.swept = clock.monotonic()
        self.metrics_server: MetricsServer | None = None

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Connect and look at all there is, before any decision: a claim must know of the slots already held."""
        operator = cls(await Kube.connect(), settings, Clock())
        operator.metrics_server = await MetricsServer.start(operator.metrics, settings.metrics_port)
        await operator.sweep.level()
        for pool in operator.store.pools:
            operator.daemon_queue.add(pool)
            operator.pool_queue.add(pool)
        for session in operator.store.sessions:
            operator.session_queue.add(session)
        operator.sweep_queue.add("all", settings.intervals.sweep.total_seconds())
        _LOG.info("started with %d pools and %d sessions", len(operator.store.pools), len(operator.store.sessions))
        return operator

    async def stop(self) -> None:
        """End all work and connections; the next operator carries on from what is in the cluster."""
        if self.metrics_server is not None:
            await self.metrics_server.close()
        for queue in (self.sweep_queue, self.daemon_queue, self.session_queue, self.pool_queue):
            await queue.close()
        await self.wallets.close()
        await self.daemons.close()
        await self.kube.close()

    async def ask_daemon(self, key: PoolKey) -> float | None:
        """One request to a pool's monerod; the next one after the interval."""
        pool = self.store.pools.get(key)
        if pool is None or pool.deleting:
            await self.daemons.forget(key)
            return None
        await self.daemons.poll(pool)
        return self.settings.intervals.daemon.total_seconds()

    async def sweep_all(self, _: str) -> float:
        """Level with full lists, heal orphans, and look at everything that may be due."""
        await self.sweep.level()
        for pool in list(self.store.pools):
            await self.sweep.heal_orphans(pool)
            self.pool_service.level(pool)
            self.wake_pool(pool)
        for session in self.store.sessions:
            self.wake_session(session)
        self.swept = self.clock.monotonic()
        return self.settings.intervals.sweep.total_seconds()

    def wake_session(self, key: SessionKey) -> None:
        """Look at a session now."""
        self.session_queue.add(key)

    def wake_pool(self, key: PoolKey) -> None:
        """Look at a pool soon."""
        self.pool_queue.add(key, POOL_DELAY)

    def daemon_changed(self, key: PoolKey) -> None:
        """monerod has a new block, another mempool, or another state: the pool's sessions may have news."""
        self.wake_pool(key)
        for session in self.sweep.sessions_of(key):
            self.wake_session(session)
