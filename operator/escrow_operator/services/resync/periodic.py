"""What is done again and again for all there is: sweeps, now and then full lists, and how well that goes on."""

from __future__ import annotations

import asyncio

from escrow_operator.services.context import Context
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.namespaces import Namespaces
from escrow_operator.services.pools.drift import DriftDetector
from escrow_operator.services.resync.relist import Relist, Versions
from escrow_operator.services.runtime.work_queue import LONGEST_DELAY
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.closer import WalletCloser

SWEEP_SECONDS = 300.0
"""For which one sweep may last: with an API server that takes every request and answers none, it is begun anew."""

SWEEPS_MISSED = 3
"""Sweeps that may fail in a row before the operator is no longer ready."""

START_PATIENCE = 30.0
"""Seconds for which a start waits for namespaces that exist and cannot be read: an API server that has just started
refuses everything, and what is in them counts against the cap."""

START_AGAIN = 2.0


class PeriodicResync:
    """The sweep queue calls it; nothing here decides what a reconciliation could decide."""

    def __init__(
        self,
        ctx: Context,
        *,
        closer: WalletCloser,
        daemons: DaemonPoller,
        drift: DriftDetector,
        namespaces: Namespaces,
        relist: Relist,
        wallets: WalletClients,
    ) -> None:
        self._store, self._clock, self._meters = ctx.store, ctx.clock, ctx.meters
        self._wakeups = ctx.wakeups
        self._interval = ctx.settings.intervals.sweep.total_seconds()
        self._resync_interval = ctx.settings.intervals.resync.total_seconds()
        self._relist = relist
        self._daemons = daemons
        self._drift = drift
        self._closer = closer
        self._namespaces = namespaces
        self._wallets = wallets
        self._swept = self._tried = ctx.clock.monotonic()
        self._resynced: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether sweeps go on being tried; whether the API server answers them is another question."""
        longest = self._interval + SWEEP_SECONDS + LONGEST_DELAY
        return self._clock.monotonic() - self._tried < 2 * longest

    @property
    def is_fresh(self) -> bool:
        """Whether sweeps go well, too."""
        return self._clock.monotonic() - self._swept <= SWEEPS_MISSED * self._interval

    async def first_list(self) -> Versions:
        """Look at all there is. Raises KubeError; namespaces that refuse for long are done without."""
        patience = self._clock.monotonic() + START_PATIENCE
        while True:
            _, versions = await self._relist.everything()
            refused = [name for name in self._namespaces.named if self._namespaces.is_refused(name)]
            for name in refused:
                await self._namespaces.look(name)
            if all(map(self._namespaces.is_gone, refused)) or self._clock.monotonic() > patience:
                return versions
            await asyncio.sleep(START_AGAIN)

    async def sweep(self, _: str = "") -> float:
        """Heal orphans and what others changed; now and then level with full lists.

        Sessions whose time is up need no sweep: each one's next look is in the queue. Returns the seconds until the
        next sweep.
        """
        try:
            with self._meters.sweep.time():
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._sweep()
        finally:
            self._tried = self._clock.monotonic()
        self._swept = self._tried
        return self._interval

    async def _sweep(self) -> None:
        await self._relist.heal_orphans()
        await self._drift.look()
        if self._resynced is None:
            # All was listed at the start a moment ago, but not what a crash before it may have left.
            await self._find_stale()
            self._resynced = self._clock.monotonic()
        elif self._clock.monotonic() - self._resynced >= self._resync_interval:
            await self._resync()
            await self._find_stale()
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
