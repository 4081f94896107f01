"""Builds the services of one term of leadership, and connects them with the work queues."""

from __future__ import annotations

import logging
from collections.abc import Callable

import aiohttp
from prometheus_client import CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import Kube
from escrow_operator.models.session import OPEN_PHASES
from escrow_operator.services.context import Context
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.namespaces import Namespaces
from escrow_operator.services.pools.drift import Applied, DriftDetector
from escrow_operator.services.pools.gateway_logins import GatewayLogins
from escrow_operator.services.pools.objects import PoolObjects
from escrow_operator.services.pools.prepared_upkeep import PreparedUpkeep
from escrow_operator.services.pools.preparer import EscrowPreparer
from escrow_operator.services.pools.reconciler import PoolReconciler
from escrow_operator.services.pools.scheduling_gates import SchedulingGates
from escrow_operator.services.pools.stalled import StalledReplicaSets
from escrow_operator.services.reporting.statistics import Statistics
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.resync.periodic import START_PATIENCE, PeriodicResync
from escrow_operator.services.resync.relist import Relist, Versions
from escrow_operator.services.scheduling import Handlers
from escrow_operator.services.sessions.closing import SessionCloser
from escrow_operator.services.sessions.inspection import Inspector
from escrow_operator.services.sessions.opening import SessionOpener
from escrow_operator.services.sessions.prepared_claims import PreparedClaims
from escrow_operator.services.sessions.reconciler import SessionReconciler
from escrow_operator.services.sessions.renewal import Renewal
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.slots.prepared import PreparedEscrows
from escrow_operator.services.state.store import Store
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.closer import WalletCloser
from escrow_operator.services.wallets.deeds import DeedStore
from escrow_operator.services.wallets.monitor import WalletMonitor
from escrow_operator.services.wallets.opener import WalletOpener
from escrow_operator.services.wallets.prober import WalletFileProber
from escrow_operator.settings import Settings

_LOG = logging.getLogger(__name__)


class Operator:
    """All services of the operator. ``connect`` makes the HTTP sessions to wallets and monerods.

    Until ``begin`` nothing works: events are noted in the store. ``fence`` is that of the term in which it works (None:
    it has no rivals); a ``store`` is one that another operator has filled.
    """

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        clock: Clock,
        connect: Callable[[], aiohttp.ClientSession] = rpc_session,
        *,
        fence: Fence | None = None,
        store: Store | None = None,
    ) -> None:
        self.metrics = CollectorRegistry()
        self.context = ctx = Context.make(kube, settings, clock, self.metrics, fence=fence, store=store)
        self.store, self.wakeups = ctx.store, ctx.wakeups
        self.namespaces = Namespaces(ctx)
        self.relist = Relist(ctx, self.namespaces)
        self.daemons = DaemonPoller(ctx, connect)
        self.wallets = WalletClients(ctx, connect)
        self.capacity = Capacity(ctx)
        self.prepared = PreparedEscrows(ctx)
        self.claims = SlotClaims(ctx, self.capacity, self.prepared)
        self.opener = WalletOpener(ctx, self.wallets)
        self.closer = WalletCloser(ctx, self.wallets, self.opener)
        self.deeds = DeedStore(ctx)
        logins = GatewayLogins(ctx, self.wallets)
        status, gates, applied = StatusWriter(ctx), SchedulingGates(ctx), Applied(ctx)
        stalled = StalledReplicaSets(ctx)
        monitor = WalletMonitor(ctx, self.wallets, self.opener)
        inspector = Inspector(ctx, self.daemons, monitor)
        upkeep = PreparedUpkeep(ctx, opener=self.opener, prepared=self.prepared, wallets=self.wallets)
        self.preparer = EscrowPreparer(
            ctx,
            claims=self.claims,
            daemons=self.daemons,
            gates=gates,
            opener=self.opener,
            prepared=self.prepared,
            upkeep=upkeep,
            wallets=self.wallets,
        )
        opener = SessionOpener(
            ctx,
            capacity=self.capacity,
            claims=self.claims,
            deeds=self.deeds,
            gates=gates,
            opener=self.opener,
            prepared=PreparedClaims(
                ctx,
                claims=self.claims,
                inspector=inspector,
                monitor=monitor,
                opener=self.opener,
                prepared=self.prepared,
                upkeep=upkeep,
                wallets=self.wallets,
            ),
            prober=WalletFileProber(ctx, self.wallets),
            status=status,
            wallets=self.wallets,
        )
        self.sessions = SessionReconciler(
            ctx,
            capacity=self.capacity,
            claims=self.claims,
            closer=SessionCloser(ctx, claims=self.claims, closer=self.closer, deeds=self.deeds, status=status),
            inspector=inspector,
            opener=opener,
            renewal=Renewal(ctx, self.claims),
            status=status,
        )
        self.pools = PoolReconciler(
            ctx,
            claims=self.claims,
            daemons=self.daemons,
            gates=gates,
            objects=PoolObjects(
                ctx, applied=applied, daemons=self.daemons, logins=logins, stalled=stalled, wallets=self.wallets
            ),
            prepared=self.prepared,
            stalled=stalled,
            status=status,
            wallets=self.wallets,
        )
        self.resync = PeriodicResync(
            ctx,
            closer=self.closer,
            daemons=self.daemons,
            drift=DriftDetector(ctx, applied, self.namespaces),
            logins=logins,
            namespaces=self.namespaces,
            relist=self.relist,
            wallets=self.wallets,
        )
        self.wakeups.serve(
            Handlers(
                session=self.sessions.reconcile,
                pool=self.pools.reconcile,
                daemon=self.daemons.poll,
                namespace=self.namespaces.look,
                relist=self.relist.objects,
                sweep=self.resync.sweep,
                prepare=self.preparer.reconcile,
                place_free=self.capacity.wake_waiting,
                slot_free=self.claims.wake_waiting,
            )
        )
        Statistics(ctx, self.capacity, self.metrics)
        self._is_warm = store is not None
        self.is_working = False
        """Whether all work is under way."""
        self.listed: Versions = {}
        """Versions of the pod lists that were read last."""
        self.wakeups.pause()

    async def warm(self) -> None:
        """Read full lists; later changes come from ``handlers``. Raises KubeError when a request fails.

        Of what refuses to be read the sessions count as they were known: only who knows none waits for it.
        """
        self.listed = await self.resync.first_list(0.0 if self._is_warm else START_PATIENCE)
        self._is_warm = True

    async def begin(self) -> None:
        """Read full lists, before any decision, and requeue all objects: a claim must know of the slots already held.

        Raises KubeError when a request fails; it can be tried again then.
        """
        self.store.forget_work()
        await self.warm()
        for pool in list(self.store.pools.values()):
            await self.daemons.watch(pool)
        # Nothing is awaited from here on: what is not in the queues yet is in the store.
        self.wakeups.resume()
        self.resync.begin()
        self.is_working = True
        self.daemons.poll_all()
        for key in self.store.pools:
            self.wakeups.pool(key)
        # Open sessions go last: their clients notice no delay.
        sessions = self.store.sessions
        self.wakeups.sessions(sorted(sessions, key=lambda key: sessions[key].phase in OPEN_PHASES))
        self.wakeups.sweep()
        for namespace in self.namespaces.named:
            self.wakeups.namespace(namespace)
        for served in self.namespaces.served:
            # An object may have been deleted between these lists and the beginning of kopf's watches.
            self.wakeups.relist(served)
        _LOG.info("started with %d pools and %d sessions", len(self.store.pools), len(self.store.sessions))

    async def end(self) -> None:
        """End all work; the next operator continues from the state in the cluster."""
        self.is_working = False
        await self.wakeups.close()
        await self.context.events.close()
        await self.wallets.close()
        await self.daemons.close()

    async def stop(self) -> None:
        """End all work and connections."""
        await self.end()
        await self.context.kube.close()
