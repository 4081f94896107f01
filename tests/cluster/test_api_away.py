"""An operator that cannot reach the API server waits: it is not restarted, nor is one that starts meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from escrow_operator.models.common import parse_time
from harness.api import Body, is_ready
from harness.operator import OperatorUnderTest
from harness.place import Place
from harness.waiting import wait_for
from harness.world import World
from testbed.cluster import Cluster

LIVENESS = timedelta(seconds=75)
"""Kubelet restarts what fails its liveness probe for a minute."""

OUTAGE_SECONDS = 180.0
WAITS = "the operator starts when the API server lets it"


@asynccontextmanager
async def cut_off(cluster: Cluster, pod: Body) -> AsyncIterator[None]:
    """Nothing that the pod sends reaches the API server. Everybody else's does."""
    rule = f"PREROUTING --source {pod['status']['podIP']} --protocol tcp --destination-port 443 --jump DROP"

    async def iptables(change: str) -> None:
        command = ("iptables", "--wait", "--table", "mangle", change, *rule.split())
        await asyncio.to_thread(cluster.engine.capture, "exec", pod["spec"]["nodeName"], *command)

    await iptables("--insert")
    try:
        yield
    finally:
        await iptables("--delete")


async def end_process(cluster: Cluster, pod: Body) -> None:
    """As a crash does; kubelet starts the next one in the same pod."""
    container = _container(pod)["containerID"].rpartition("/")[2]
    command = ("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container)
    await asyncio.to_thread(cluster.engine.capture, "exec", pod["spec"]["nodeName"], *command)


def _container(pod: Body) -> Body:
    found: Body = pod["status"]["containerStatuses"][0]
    return found


def _runs_for(pod: Body) -> timedelta:
    """For how long the process that runs now has run."""
    running = _container(pod)["state"].get("running")
    return datetime.now(UTC) - parse_time(running["startedAt"]) if running else timedelta()


@pytest.mark.timeout(900, func_only=True)
async def test_an_operator_without_its_api_server_waits(
    place: Place, world: World, operator: OperatorUnderTest
) -> None:
    escrow = await place.active("patient")
    before = await operator.until_ready()
    restarts = _container(before)["restartCount"]

    async def now() -> Body:
        (pod,) = await operator.pods()
        return pod

    async with cut_off(world.cluster, before):
        await end_process(world.cluster, before)

        async def next_one_waits() -> bool:
            pod = await now()
            log = await world.api.logs(operator.namespace, before["metadata"]["name"])
            return _container(pod)["restartCount"] > restarts and _runs_for(pod) > LIVENESS and log.count(WAITS) > 1

        await wait_for(
            next_one_waits, what="the next one to outlive its probe", within=OUTAGE_SECONDS, explain=operator.tail
        )
        assert not is_ready(await now())
    after = await operator.until_ready()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert _container(after)["restartCount"] == restarts + 1, "only the one that was ended here was started again"
    await escrow.until_active()
    await place.active("afterwards")
