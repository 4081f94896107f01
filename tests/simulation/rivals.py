"""A world in which two operators are rivals for one Lease, as the chart runs them, and what happens to the leader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar, cast

import aiohttp

from escrow_operator.adapters.kube import EVENTS, LEASES, POOLS, REQUEST_SECONDS, SESSIONS, Kube, Resource
from escrow_operator.adapters.kube_errors import KubeError, UnavailableError
from escrow_operator.handlers import Memo
from escrow_operator.handlers.pools import pool_seen
from escrow_operator.handlers.sessions import session_seen
from escrow_operator.handlers.slots import follow as follow_slots
from escrow_operator.models.monero import Login
from escrow_operator.replica import Replica

from .apiserver import Body, Event
from .clock import SimClock
from .http_session import Reply, Session, Target
from .httpclient import COUNTED, ProcessSession
from .kopf_watch import follow
from .kubeclient import LATENCY, SimKube
from .network import CONNECT_SECONDS
from .process import CrashPoint, Dies, Process, spawn_apart
from .world import NEXT_SECONDS, PATIENCE, Moment, World

T = TypeVar("T")

LONG_SECONDS = 40.0
"""For which a blow lasts: far longer than a lease."""

LATE_SECONDS = 25.0
"""By which writes are late that were on their way when their sender lost the lease: another one leads by then."""


class Blow(StrEnum):
    """What happens to the leader at one of its steps."""

    PAUSE = "it is paused"
    API = "it is cut off from the API server"
    WALLETS = "it is cut off from the wallets"
    BOTH = "it is cut off from both"
    LATE = "it is cut off from the API server, and what it had sent arrives late"
    CLOCK = "its clock jumps"
    DELETED = "somebody deletes the lease"
    KILL = "it is killed"
    TERM = "it is told to end"


class Side(StrEnum):
    """What a process can be cut off from."""

    API = "api"
    WALLETS = "wallets"


class Rival(Process):
    """A process that does not always die of a blow. ``acts`` is told what it begins to do."""

    def __init__(
        self,
        name: str,
        steps: list[str],
        *,
        identity: str,
        dies: Dies,
        struck: Callable[[Rival, CrashPoint], Awaitable[None]],
        acts: Callable[[Rival, str], None],
    ) -> None:
        super().__init__(name, dies, steps)
        self.identity = identity
        self.clock = SimClock()
        self.replica: Replica | None = None
        self.late = 0.0
        self.acts = acts
        self._struck = struck
        self._cut: dict[Side, asyncio.Event] = {}

    def cut_off(self, *sides: Side) -> None:
        """Nothing gets through in either direction, until ``heal``."""
        for side in sides:
            self._cut[side] = asyncio.Event()

    def heal(self) -> None:
        """All is well again."""
        self.late = 0.0
        for healed in self._cut.values():
            healed.set()
        self._cut.clear()

    def is_cut(self, side: Side) -> bool:
        """Whether nothing gets through now."""
        return side in self._cut

    async def until_heard(self, side: Side) -> None:
        """Whatever comes from there waits."""
        while healed := self._cut.get(side):
            await healed.wait()

    async def _may_die(self, point: CrashPoint) -> None:
        if self._dies(point):
            await self._struck(self, point)


class RivalKube(SimKube):
    """Requests go on when their process is paused or their caller cancelled; an answer waits until it is heard."""

    def __init__(self, world: RivalWorld, process: Rival) -> None:
        super().__init__(world.server, process, world.view, world.faults, None)
        self._rival = process

    async def watch(
        self, resource: Resource, namespace: str | None, *, version: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[Body]:
        """Late by as long as it is cut off."""
        async for event in super().watch(resource, namespace, version=version, labels=labels):
            await self._rival.until_heard(Side.API)
            yield event

    async def _read(self, verb: str, resource: Resource, namespace: str | None) -> None:
        self._process.reads()
        await self._must_reach()
        await super()._read(verb, resource, namespace)
        await self._must_reach()

    async def _write(
        self,
        verb: str,
        resource: Resource,
        namespace: str,  # noqa: ARG002 - the rivals' rights are all
        name: str,
        write: Callable[[], T],
    ) -> T:
        self.requests[verb.split(maxsplit=1)[0], resource.plural] += 1
        async with self._as_step(f"{verb} {resource.plural} {name}", resource):
            await self._must_reach()
            sent = spawn_apart(self._arrives(resource, write))
            # Nobody may be there any more to hear of an error.
            sent.add_done_callback(lambda done: done.cancelled() or done.exception())
            # Unlike await, wait passes no cancellation on.
            await asyncio.wait({sent})
            await self._must_reach()
        self._process.reads()
        return sent.result()

    def _as_step(self, what: str, resource: Resource) -> AbstractAsyncContextManager[None]:
        if resource is LEASES:
            self._process.reads()
            return nullcontext()
        self._process.reads()
        self._rival.acts(self._rival, what)
        # Events are stories, with random names: where one is lost no state is.
        return nullcontext() if resource is EVENTS else self._process.step(what)

    async def _arrives(self, resource: Resource, write: Callable[[], T]) -> T:
        await asyncio.sleep(LATENCY)
        if resource is not LEASES:
            await asyncio.sleep(self._rival.late)
        return write()

    async def _must_reach(self) -> None:
        if self._rival.is_cut(Side.API):
            await asyncio.sleep(REQUEST_SECONDS)
            raise UnavailableError(0, "Unavailable", "the API server does not answer: TimeoutError()")


class RivalSession(ProcessSession):
    """The same to wallets."""

    def __init__(self, world: RivalWorld, process: Rival) -> None:
        super().__init__(world.network, process)
        self._rival = process
        self._network = world.network
        self._session = cast("aiohttp.ClientSession", Session(self._send))

    async def _send(self, target: Target, path: str, data: bytes, login: Login | None) -> Reply:
        """Here it leaves the process: a step may have begun before, and have been held back by the fence."""
        if target.address.endswith(":18083"):
            self._rival.acts(self._rival, f"{json.loads(data)['method']} at {target.address}")
        return await self._network.exchange(target, path, data, login)

    @asynccontextmanager
    async def post(self, url: str, *, data: bytes, **options: Any) -> AsyncIterator[Any]:
        """One request."""
        if url.endswith(f":18083{COUNTED}") and self._rival.is_cut(Side.WALLETS):
            self._process.reads()
            async with self._as_step(url, data):
                await asyncio.sleep(CONNECT_SECONDS)
                raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {url}")
        async with super().post(url, data=data, **options) as response:
            yield response


class RivalWorld(World):
    """``operate`` runs two; ``blow`` is what happens at the step for which ``dies`` says so."""

    def __init__(self, *, blow: Blow | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.blow = blow
        self.namespaces.make(self.settings.own_namespace)
        # That of operators which have ended: where there is none they wait.
        name = self.settings.leader_election.lease_name
        self.server.put(LEASES, {"metadata": {"name": name, "namespace": self.settings.own_namespace}})
        self.leaders: list[str] = []
        """Who held the lease, in order."""
        self._renewed_at = 0.0
        self._renewals = 0
        self._mended_at = 0.0
        # A prepared escrow of which too few wallets could be asked whose it is keeps its Secret.
        self.watchman.forgets_no_secret = blow not in (Blow.WALLETS, Blow.BOTH)
        self.server.subscribers.append(self._see_lease)

    async def operate(self, dies: Dies = lambda _: False) -> None:
        """What a Deployment of two replicas does: a container that ends is started again."""
        for number in range(2):
            process = await self.start_rival(f"pod-{number}", dies)
            spawn_apart(self._start_again(process, dies))

    async def start_rival(self, identity: str, dies: Dies = lambda _: False) -> Rival:
        """One more process; it follows what happens, and leads when it can."""
        process = Rival(
            f"operator-{len(self.processes)}",
            self.steps,
            identity=identity,
            dies=dies,
            struck=self._strike,
            acts=self._must_lead,
        )
        self.processes.append(process)
        kube, elections = (cast("Kube", RivalKube(self, process)) for _ in range(2))

        def connect() -> aiohttp.ClientSession:
            return cast("aiohttp.ClientSession", RivalSession(self, process))

        replica = process.replica = Replica(
            kube, elections, self.settings, process.clock, identity=identity, connect=connect
        )
        # The store stays the same in all its terms.
        self.operators[process.name] = replica.operator

        async def main() -> None:
            while True:
                try:
                    await replica.warm()
                    break
                except KubeError:
                    await asyncio.sleep(2.0)
            memo = Memo(self.settings)
            memo.replica = replica
            pods = follow_slots(memo, replica.operator.listed)
            replica.campaign()
            try:
                await asyncio.gather(
                    *(
                        follow(cast("SimKube", kube), resource, namespace, handler, memo)
                        for namespace in replica.operator.namespaces.served
                        for resource, handler in ((POOLS, pool_seen), (SESSIONS, session_seen))
                    )
                )
            finally:
                await pods.close()

        self._main[process.name] = process.spawn(main())
        return process

    async def quiet(self, *, within: float = PATIENCE) -> None:
        """As of any world, once a sweep has seen what came late; the blow may come in this very time."""
        await super().quiet(within=within)
        while (left := self._mended_at - self.clock.monotonic()) > 0.0:
            await asyncio.sleep(left)
            await super().quiet(within=within)

    def moment(self) -> Moment:
        """As of any world; a renewed lease changes nothing."""
        found = super().moment()
        return found._replace(objects=found.objects - self._renewals)

    def leader(self) -> Rival | None:
        """The living process that has the lease, if one has it."""
        holder = self.leaders[-1] if self.leaders else None
        living = (one for one in self.processes if isinstance(one, Rival) and not one.dead)
        return next((one for one in living if one.identity == holder), None)

    async def terminate(self, process: Rival) -> None:
        """SIGTERM, and time to end."""
        assert process.replica is not None
        self._main[process.name].cancel()
        await asyncio.wait({process.spawn(process.replica.stop())})
        process.end()

    # What happens

    async def _start_again(self, process: Rival, dies: Dies) -> None:
        while True:
            await process.ended.wait()
            await process.kill()
            await asyncio.sleep(NEXT_SECONDS)
            process = await self.start_rival(process.identity, dies)

    async def _strike(self, process: Rival, point: CrashPoint) -> None:
        self.steps.append(f"--- {process.name}: {self.blow} {point}")
        match self.blow:
            case Blow.KILL:
                process.end()
                await asyncio.Event().wait()
            case Blow.TERM:
                spawn_apart(self.terminate(process))
            case Blow.PAUSE:
                process.pause()
                spawn_apart(self._later(process.go_on))
            case Blow.API:
                process.cut_off(Side.API)
            case Blow.LATE:
                process.late = LATE_SECONDS
                self._wait_for_a_sweep()
                # The next moment: what is sent until then is on its way.
                spawn_apart(self._later(lambda: process.cut_off(Side.API), 2 * LATENCY))
            case Blow.WALLETS:
                process.cut_off(Side.WALLETS)
                # It goes on to lead, and the story may end before it can call a wallet again.
                self._wait_for_a_sweep()
            case Blow.BOTH:
                process.cut_off(*Side)
            case Blow.CLOCK:
                process.clock.ahead += timedelta(hours=-1)
                spawn_apart(self._later(lambda: process.clock.__dict__.update(ahead=timedelta(minutes=5))))
            case Blow.DELETED:
                self.server.delete(LEASES, self.settings.own_namespace, self.settings.leader_election.lease_name)
        spawn_apart(self._later(process.heal))

    def _wait_for_a_sweep(self) -> None:
        sweep = self.settings.intervals.sweep.total_seconds()
        self._mended_at = self.clock.monotonic() + LONG_SECONDS + sweep

    @staticmethod
    async def _later(what: Callable[[], Any], seconds: float = LONG_SECONDS) -> None:
        await asyncio.sleep(seconds)
        what()

    # What must hold

    def _see_lease(self, event: Event) -> None:
        if event.plural != LEASES.plural:
            return
        self._renewals += 1
        if event.kind == "DELETED":
            # Its holder does not know, and nobody else may take it yet.
            return
        self._renewed_at = self.clock.monotonic()
        holder = event.body["spec"]["holderIdentity"]
        if not self.leaders or self.leaders[-1] != holder:
            self.leaders.append(holder)

    def _must_lead(self, process: Rival, what: str) -> None:
        """Invariant I15: whoever begins to act has the lease, and nobody else could have it by now."""
        holder = self.leaders[-1] if self.leaders else None
        lasts = self.settings.leader_election.lease_duration.total_seconds()
        if process.identity != holder:
            self.watchman._note("I15", f"{process.name} acts ({what}) while {holder or 'nobody'} leads")
        elif self.clock.monotonic() >= self._renewed_at + lasts:
            self.watchman._note("I15", f"{process.name} acts ({what}) with a lease that has run out")
