"""What is done to the cluster while people use it. Each fault ends by itself; what it broke heals by itself, or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from escrow_operator.adapters.kube import PODS
from escrow_operator.models.common import Label
from harness.api import Body, is_ready
from harness.operator import LEADER_ELECTION
from harness.place import Place
from harness.processes import FREEZE, GO_ON, KILL, send
from harness.world import World
from testbed import regtest
from testbed.errors import ToolingError

from .patience import do, insist

LEASE_SECONDS = float(LEADER_ELECTION["leaseDuration"].removesuffix("s"))

API_SERVER = "component=kube-apiserver"


@dataclass(slots=True)
class Scene:
    """Where faults happen, and who keeps the logs of pods that are about to be removed."""

    world: World
    place: Place
    rng: Random
    keep_log: Callable[[Body], Awaitable[None]]

    async def operators(self) -> tuple[Body, list[Body]]:
        """The leader's pod and the others."""

        async def look() -> tuple[Body, list[Body]] | None:
            holder = await self.world.operator.holder()
            pods = [pod for pod in await self.world.operator.pods() if is_ready(pod)]
            leader = next((pod for pod in pods if pod["metadata"]["name"] == holder), None)
            others = [pod for pod in pods if pod is not leader]
            return (leader, others) if leader and others else None

        return await insist("a leader and another operator", look)

    async def wallet(self) -> Body | None:
        """The pod of some wallet that a session has open, if any has."""
        adopted = await self.place.slots(f"{Label.SLOT}=adopted")
        pods = [pod for pod in adopted if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        return self.rng.choice(sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))) if pods else None

    async def pod(self, namespace: str, labels: str) -> Body:
        """The one ready pod with these labels."""

        async def look() -> Body | None:
            found = [pod for pod in await self.world.api.list(PODS, namespace, labels=labels) if is_ready(pod)]
            return found[0] if found else None

        return await insist(f"a pod {labels}", look)

    async def remove(self, pod: Body, *, now: bool = True) -> None:
        """Delete a pod, by force and at once unless told otherwise: its processes get SIGKILL."""
        await self.keep_log(pod)
        meta = pod["metadata"]
        await do("the deletion", lambda: self.world.api.delete(PODS, meta["namespace"], meta["name"], now=now))

    async def signal(self, pod: Body, signal: str) -> bool:
        """Send a signal to the processes of a pod; whether there were any."""
        try:
            await send(self.world.cluster, pod, signal)
        except ToolingError:
            return False
        return True

    async def freeze(self, pod: Body, seconds: float) -> bool:
        """Stop the processes of a pod for a while; whether there were any."""
        try:
            stopped = await self.signal(pod, FREEZE)
            if stopped:
                await asyncio.sleep(seconds)
            return stopped
        finally:
            # Even if whoever asked for the stop is gone: it is sent by a thread, and goes on without him.
            await asyncio.shield(self.signal(pod, GO_ON))


@dataclass(frozen=True, slots=True)
class Fault:
    """``inject`` returns when the fault is over, or False when there was nothing to do it to."""

    name: str
    how: str
    inject: Callable[[Scene], Awaitable[bool | None]]


async def _leader_killed(scene: Scene) -> None:
    leader, _ = await scene.operators()
    await scene.remove(leader)


async def _leader_ends(scene: Scene) -> None:
    leader, _ = await scene.operators()
    await scene.remove(leader, now=False)


async def _leader_frozen(scene: Scene) -> bool:
    leader, _ = await scene.operators()
    return await scene.freeze(leader, LEASE_SECONDS + scene.rng.uniform(1.0, 10.0))


async def _standby_killed(scene: Scene) -> None:
    _, (standby, *_) = await scene.operators()
    await scene.remove(standby)


async def _both_operators_killed(scene: Scene) -> None:
    leader, others = await scene.operators()
    await asyncio.gather(*(scene.remove(pod) for pod in (leader, *others)))


async def _wallet_pod_removed(scene: Scene) -> bool:
    pod = await scene.wallet()
    if pod is None:
        return False
    await scene.remove(pod)
    return True


async def _wallet_killed(scene: Scene) -> bool:
    pod = await scene.wallet()
    return pod is not None and await scene.signal(pod, KILL)


async def _wallet_frozen(scene: Scene) -> bool:
    pod = await scene.wallet()
    return pod is not None and await scene.freeze(pod, scene.rng.uniform(5.0, 25.0))


async def _monerod_killed(scene: Scene) -> None:
    await scene.remove(await scene.pod(regtest.NAMESPACE, "app.kubernetes.io/name=monerod"))


async def _monerod_frozen(scene: Scene) -> bool:
    pod = await scene.pod(regtest.NAMESPACE, "app.kubernetes.io/name=monerod")
    return await scene.freeze(pod, scene.rng.uniform(5.0, 20.0))


async def _api_server_killed(scene: Scene) -> bool:
    return await scene.signal(await scene.pod("kube-system", API_SERVER), KILL)


async def _api_server_frozen(scene: Scene) -> bool:
    pod = await scene.pod("kube-system", API_SERVER)
    return await scene.freeze(pod, scene.rng.uniform(3.0, LEASE_SECONDS + 6.0))


async def _node_paused(scene: Scene) -> None:
    worker = next(node for node in scene.world.cluster.node_containers() if not node.name.endswith("control-plane"))
    async with _paused(scene.world, worker.name):
        await asyncio.sleep(scene.rng.uniform(10.0, 30.0))


@asynccontextmanager
async def _paused(world: World, node: str) -> AsyncIterator[None]:
    engine = world.cluster.engine
    try:
        await asyncio.to_thread(engine.capture, "pause", node)
        yield
    finally:
        await asyncio.shield(asyncio.to_thread(engine.capture, "unpause", node, check=False))


FAULTS: tuple[Fault, ...] = (
    Fault("leader killed", "its pod deleted by force: SIGKILL", _leader_killed),
    Fault("leader ends", "its pod deleted in order: SIGTERM", _leader_ends),
    Fault("leader frozen", "SIGSTOP for longer than its lease", _leader_frozen),
    Fault("standby killed", "its pod deleted by force", _standby_killed),
    Fault("both operators killed", "both pods deleted by force", _both_operators_killed),
    Fault("wallet pod removed", "an adopted pod deleted by force", _wallet_pod_removed),
    Fault("wallet killed", "SIGKILL to monero-wallet-rpc; its container starts again", _wallet_killed),
    Fault("wallet frozen", "SIGSTOP to monero-wallet-rpc for 5 to 25 s", _wallet_frozen),
    Fault("monerod killed", "its pod deleted by force", _monerod_killed),
    Fault("monerod frozen", "SIGSTOP for 5 to 20 s", _monerod_frozen),
    Fault("API server killed", "SIGKILL to kube-apiserver", _api_server_killed),
    Fault("API server frozen", "SIGSTOP to kube-apiserver for 3 to 12 s", _api_server_frozen),
    Fault("node paused", "all of a node's processes stopped for 10 to 30 s", _node_paused),
)
