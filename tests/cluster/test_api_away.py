"""Without the API server the operator waits: it is not restarted, and one that starts meanwhile is not either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harness.place import Place
from harness.waiting import wait_for
from harness.world import World
from testbed.cluster import Cluster

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
ASIDE = "/etc/kubernetes/kube-apiserver.yaml.aside"

AWAY_SECONDS = 100.0
"""The length of the outage. Kubelet restarts what fails its liveness probe for a minute."""

BACK_SECONDS = 150.0


async def on_node(cluster: Cluster, node: str, *command: str) -> str:
    """What a command prints on a node."""
    return await asyncio.to_thread(cluster.engine.capture, "exec", node, *command)


@asynccontextmanager
async def api_server_away(cluster: Cluster) -> AsyncIterator[None]:
    """Kubelet ends the API server when its manifest is gone, and starts it when it is back."""
    (node,) = (found.name for found in cluster.node_containers() if found.name.endswith("control-plane"))

    async def answers(wanted: bool) -> bool:
        return await asyncio.to_thread(cluster.api_ready) is wanted

    await on_node(cluster, node, "mv", MANIFEST, ASIDE)
    try:
        await wait_for(lambda: answers(False), what="the API server to be gone")
        yield
    finally:
        await on_node(cluster, node, "mv", ASIDE, MANIFEST)
        await wait_for(lambda: answers(True), what="the API server to be back", within=BACK_SECONDS)


@pytest.mark.timeout(600, func_only=True)
async def test_an_operator_without_its_api_server_waits(place: Place, world: World) -> None:
    escrow = await place.active("patient")
    running = await world.operator.until_ready()
    async with api_server_away(world.cluster):
        await asyncio.sleep(AWAY_SECONDS)
        # It ends by itself as it would in a crash, and the next one has no API server to start with.
        node = running["spec"]["nodeName"]
        (container,) = (await on_node(world.cluster, node, "crictl", "ps", "--name", "^operator$", "-q")).split()
        await on_node(world.cluster, node, "crictl", "stop", container)
        await asyncio.sleep(AWAY_SECONDS)

    async def ready() -> bool:
        found = await world.operator.until_ready()
        return bool(found["metadata"]["uid"] == running["metadata"]["uid"])

    await wait_for(ready, what="the same pod to be ready", within=BACK_SECONDS, explain=world.operator.tail)
    after = await world.operator.until_ready()
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in (running, after)]
    assert restarts[1] == restarts[0] + 1, "only the one that was ended here was started again"
    await escrow.until_active()
    await place.active("afterwards")
