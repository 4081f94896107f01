"""What is done again and again for all there is: sweeps, now and then full lists, and how well that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from escrow_operator.adapters.clock import Clock
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.services.pools.drift import Drift
from escrow_operator.services.resync.relist import Sweep, Versions
from escrow_operator.services.runtime.meters import Meters
from escrow_operator.services.runtime.work_queue import LONGEST_DELAY
from escrow_operator.services.state.namespaces import Namespaces
from escrow_operator.services.state.store import Store
from escrow_operator.services.wallets.clients import Wallets
from escrow_operator.services.wallets.closer import Closer
from escrow_operator.settings import IntervalSettings

SWEEP_SECONDS = 300.0
"""For which one sweep may last: with an API server that takes every request and answers none, it is begun anew."""

SWEEPS_MISSED = 3
"""Sweeps that may fail in a row before the operator is no longer ready."""

START_PATIENCE = 30.0
"""Seconds for which a start waits for namespaces that exist and cannot be read: an API server that has just started
refuses everything, and what is in them counts against the cap."""

START_AGAIN = 2.0


class Upkeep:
    """The sweep queue calls it; nothing here decides what a reconciliation could decide."""

    def __init__(
        self,
        store: Store,
        intervals: IntervalSettings,
        clock: Clock,
        meters: Meters,
        *,
        sweep: Sweep,
        drift: Drift,
        closer: Closer,
        namespaces: Namespaces,
        wallets: Wallets,
        wake_sessions: Callable[[Iterable[SessionKey]], None],
        wake_pool: Callable[[PoolKey], None],
        watch_daemon: Callable[[Pool], Awaitable[None]],
    ) -> None:
        self._store = store
        self._interval = intervals.sweep.total_seconds()
        self._resync_interval = intervals.resync.total_seconds()
        self._clock = clock
        self._meters = meters
        self._levels = sweep
        self._drift = drift
        self._closer = closer
        self._namespaces = namespaces
        self._wallets = wallets
        self._wake_sessions = wake_sessions
        self._wake_pool = wake_pool
        self._watch_daemon = watch_daemon
        self._swept = self._tried = clock.monotonic()
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

    async def first_level(self) -> Versions:
        """Look at all there is. Raises KubeError; namespaces that refuse for long are done without."""
        patience = self._clock.monotonic() + START_PATIENCE
        while True:
            _, versions = await self._levels.level()
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
        await self._levels.heal_orphans()
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
            self._wake_pool(pool)

    async def _resync(self) -> None:
        before = list(self._store.pools)
        news, _ = await self._levels.level()
        self._wake_sessions(news)
        for key, pool in list(self._store.pools.items()):
            self._wallets.forget_login_key(key)
            await self._watch_daemon(pool)
        for key in before:
            if key not in self._store.pools:
                self._wake_pool(key)

    async def _find_stale(self) -> None:
        for namespace in self._namespaces.served:
            found = await self._namespaces.apart(namespace, self._closer.find_stale(namespace))
            self._wake_sessions(found or ())
