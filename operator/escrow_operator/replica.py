"""One process of the operator among several: it follows all that happens, and acts while it leads.

A replica that does not lead is warm: its store is filled and followed, its connections are open, and nothing of it
writes or calls a wallet. When it leads it begins as a fresh process does, by full lists, with services that have never
done anything; when it leads no longer they are thrown away, since they may have been cancelled in the middle of
anything, and others are built on the same store and connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Self

import aiohttp
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import Kube
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.adapters.lease import Lease
from escrow_operator.adapters.predecessors import Predecessors
from escrow_operator.core.leadership import Timing
from escrow_operator.services.runtime.leadership import Leadership
from escrow_operator.services.runtime.meters import LeaderMeters
from escrow_operator.services.state.store import Store
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator

_LOG = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0
"""Between two attempts to begin while the API server prevents it."""

BEGIN_SECONDS = 60.0
"""After which one that leads and cannot begin gives up the lease."""


class Replica:
    """``elections`` is a connection of the election's own: it never waits for a turn behind the operator's requests.

    ``identity`` tells processes apart that may live at the same time. ``connect`` makes the HTTP sessions to wallets
    and monerods.
    """

    def __init__(
        self,
        kube: Kube,
        elections: Kube,
        settings: Settings,
        clock: Clock,
        *,
        identity: str,
        connect: Callable[[], aiohttp.ClientSession] = rpc_session,
    ) -> None:
        self._kube, self._elections = kube, elections
        self._settings, self._clock, self._connect = settings, clock, connect
        self.metrics = CollectorRegistry()
        """Of the process; those of the operator come and go with its terms."""
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.metrics)
        self.operator = self._build(None)
        """The services of the present term, or of the next one."""
        election = settings.leader_election
        lease = Lease(
            elections,
            clock,
            namespace=settings.own_namespace,
            name=election.lease_name,
            identity=identity,
            seconds=election.lease_duration.total_seconds(),
        )
        timing = Timing(
            lease=election.lease_duration.total_seconds(),
            renew=election.renew_deadline.total_seconds(),
            retry=election.retry_period.total_seconds(),
        )
        predecessors = Predecessors(elections, settings.own_namespace, election.peers, lease=election.lease_name)
        self.leadership = Leadership(lease, predecessors, timing, self, clock=clock, meters=LeaderMeters(self.metrics))

    @classmethod
    async def connect(cls, settings: Settings) -> Self:
        """A replica that knows nothing yet. Raises KubeError."""
        kube = await Kube.connect()
        try:
            elections = await Kube.connect()
        except BaseException:
            await kube.close()
            raise
        return cls(kube, elections, settings, Clock(), identity=settings.identity)

    @property
    def fence(self) -> Fence:
        """That of the present term, or of the next one."""
        return self.operator.context.fence

    async def warm(self) -> None:
        """Fill the store. Raises KubeError."""
        await self.operator.warm()

    def campaign(self) -> None:
        """Lead from now on, whenever nobody else does."""
        self.leadership.start()

    async def lead(self) -> None:
        """Begin to act, when the API server lets it. Raises KubeError after BEGIN_SECONDS."""
        ends = self._clock.uptime() + BEGIN_SECONDS
        while True:
            try:
                await self.operator.begin()
            except KubeError as error:
                if self._clock.uptime() > ends:
                    raise
                _LOG.warning("%s; the operator begins when the API server lets it", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def rest(self) -> None:
        """End the term's services, and build those of the next one."""
        await self.operator.end()
        self.operator = self._build(self.operator.store)

    async def stop(self) -> None:
        """Hand over, and close all connections."""
        await self.leadership.stop()
        await self.operator.end()
        for kube in (self._kube, self._elections):
            await kube.close()

    def registries(self) -> Iterable[CollectorRegistry]:
        """What is told of this process: of the cluster only while it leads, since others may know it better."""
        return (self.metrics, self.operator.metrics) if self.operator.is_working else (self.metrics,)

    def not_alive(self) -> str | None:
        """What is wrong with the process itself, or None."""
        if not self.leadership.is_alive:
            return "nothing was done for the election for too long"
        if self.operator.is_working and not self.operator.resync.is_alive:
            return "no sweep was tried for too long"
        return None

    def not_ready(self) -> str | None:
        """Why the view of the cluster may be stale, or None."""
        if not self.leadership.is_fresh:
            return "the API server has not answered about the lease for too long"
        if self.operator.is_working and not self.operator.resync.is_fresh:
            return "no sweep ended well for too long"
        return None

    def _build(self, store: Store | None) -> Operator:
        return Operator(self._kube, self._settings, self._clock, self._connect, fence=Fence(self._clock), store=store)
