"""Periodic sweeps, less frequent full lists, and whether they succeed."""

from __future__ import annotations

import asyncio

from escrow_operator.services.context import Context
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.namespaces import Namespaces
from escrow_operator.services.pools.drift import DriftDetector
from escrow_operator.services.pools.gateway_logins import GatewayLogins
from escrow_operator.services.resync.relist import Relist, Versions
from escrow_operator.services.runtime.work_queue import LONGEST_DELAY
from escrow_operator.services.sessions.disruption_budgets import DisruptionBudgets
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.closer import WalletCloser

SWEEP_SECONDS = 300.0
"""Seconds that one sweep may take: with an API server that takes every request and answers none, it is restarted."""

SWEEPS_MISSED = 3
"""Sweeps that may fail in a row before the operator is no longer ready."""

START_PATIENCE = 30.0
"""Seconds for which a start waits for namespaces that exist and cannot be read: an API server that has just started
refuses everything, and the sessions in them count against the cap."""

START_AGAIN = 2.0


class PeriodicResync:
    """Called by the sweep queue; decides nothing that a reconciliation could decide."""

    def __init__(
        self,
        ctx: Context,
        *,
        closer: WalletCloser,
        daemons: DaemonPoller,
        drift: DriftDetector,
        namespaces: Namespaces,
        logins: GatewayLogins,
        relist: Relist,
        wallets: WalletClients,
    ) -> None:
        self._store, self._clock, self._meters = ctx.store, ctx.clock, ctx.meters
        self._wakeups = ctx.wakeups
        self._interval = ctx.settings.intervals.sweep.total_seconds()
        self._meters.sweep_interval.set(self._interval)
        self._resync_interval = ctx.settings.intervals.resync.total_seconds()
        self._budgets = DisruptionBudgets(ctx)
        self._relist = relist
        self._daemons = daemons
        self._drift = drift
        self._logins = logins
        self._closer = closer
        self._namespaces = namespaces
        self._wallets = wallets
        self.begin()
        self._resynced: float | None = None

    def begin(self) -> None:
        """Count from now on: sweeps begin."""
        self._swept = self._tried = self._clock.monotonic()
        self._meters.last_sweep.set(self._clock.now().timestamp())

    @property
    def is_alive(self) -> bool:
        """Whether sweeps are still attempted, whether or not the API server answers them."""
        longest = self._interval + SWEEP_SECONDS + LONGEST_DELAY
        return self._clock.monotonic() - self._tried < 2 * longest

    @property
    def is_fresh(self) -> bool:
        """Whether a sweep has succeeded within ``SWEEPS_MISSED`` intervals."""
        return self._clock.monotonic() - self._swept <= SWEEPS_MISSED * self._interval

    async def first_list(self, patience: float = START_PATIENCE) -> Versions:
        """Read full lists; returns the versions of the lists of pods.

        Raises KubeError; goes on without namespaces that refuse for ``patience`` seconds.
        """
        ends = self._clock.monotonic() + patience
        while True:
            _, versions = await self._relist.everything()
            refused = [name for name in self._namespaces.named if self._namespaces.is_refused(name)]
            for name in refused:
                await self._namespaces.look(name)
            if all(map(self._namespaces.is_gone, refused)) or self._clock.monotonic() >= ends:
                return versions
            await asyncio.sleep(START_AGAIN)

    async def sweep(self, _: str = "") -> float:
        """Delete orphaned pods, detect drift, and relist when it is due; returns the requeue delay in seconds.

        Sessions whose TTL or maxAge ends need no sweep: each one's due time is in the queue. Raises KubeError, or
        TimeoutError after ``SWEEP_SECONDS``.
        """
        try:
            with self._meters.sweep.time():
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._sweep()
        finally:
            self._tried = self._clock.monotonic()
        self._swept = self._tried
        self._meters.last_sweep.set(self._clock.now().timestamp())
        return self._interval

    async def _sweep(self) -> None:
        await self._relist.heal_orphans()
        await self._drift.look()
        if self._resynced is None:
            # Full lists were read at the start a moment ago, but not what a crash may have left of closed sessions and
            # of signing rounds that are over.
            await self._find_stale()
            await self._logins.prune()
            self._resynced = self._clock.monotonic()
        elif self._clock.monotonic() - self._resynced >= self._resync_interval:
            await self._resync()
            await self._find_stale()
            await self._logins.prune()
            self._resynced = self._clock.monotonic()
        for pool in list(self._store.pools):
            self._wakeups.pool(pool)

    async def _resync(self) -> None:
        before = list(self._store.pools)
        news, _ = await self._relist.everything()
        self._wakeups.sessions(news)
        for key, pool in list(self._store.pools.items()):
            self._wallets.forget_login_key(key)
            await self._daemons.watch(pool)
        for key in before:
            if key not in self._store.pools:
                self._wakeups.pool(key)

    async def _find_stale(self) -> None:
        for namespace in self._namespaces.served:
            found = await self._namespaces.apart(namespace, self._closer.find_stale(namespace))
            self._wakeups.sessions(found or ())
            if not self._namespaces.is_refused(namespace):
                await self._budgets.prune(namespace)
