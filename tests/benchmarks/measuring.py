"""What the benchmarks on the test cluster share: statistics, the operator's metrics, raw wallets, other settings."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.common import ROLES, Label, Role
from harness.api import Body, is_ready
from harness.chain import forwarded
from harness.operator import CHART, INTERVALS, NAMESPACE, RELEASE
from harness.place import POOL, Place
from harness.waiting import PATIENCE, wait_for
from harness.world import World
from regtest.calls import version
from testbed.helm import Helm
from testbed.wallets import by_key

from .fleet.numbers import Scrape

METRICS_PORT = 9090

DEFAULT_INTERVALS: Mapping[str, str] = {}
"""``configured(intervals=…)`` with the chart's own, which people run; the tests' are shorter."""


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum, in the unit of the values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


async def timed(work: Awaitable[object]) -> float:
    """Seconds that it takes."""
    start = time.monotonic()
    await work
    return time.monotonic() - start


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all do not exceed: one that was measured, nothing in between."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and the maximum, in the unit of the values."""
    return {"p50": percentile(values, 50), "p95": percentile(values, 95), "max": max(values)}


class Metrics:
    """Reads the operator's metrics over one connection; it is bound to the pod that runs now."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def read(self) -> Scrape:
        """The metrics as of now."""
        return Scrape.parse((await self._http.get("/metrics")).raise_for_status().text)


@asynccontextmanager
async def operator_metrics(world: World) -> AsyncIterator[Metrics]:
    """The metrics of the operator that runs now."""
    async with AsyncExitStack() as stack:
        url = await forwarded(stack, world.cluster, NAMESPACE, f"deployment/{RELEASE}", METRICS_PORT)
        client = httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False)
        yield Metrics(await stack.enter_async_context(client))


@asynccontextmanager
async def configured(
    world: World,
    *,
    sessions: Mapping[str, object] | None = None,
    intervals: Mapping[str, str] = INTERVALS,
    replicas: int = 1,
) -> AsyncIterator[None]:
    """The operator with other values, and with those of the tests again afterwards; ``replicas`` of it."""
    repository, _, tag = world.images.operator.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "intervals": dict(intervals),
        "sessions": dict(sessions or {}),
        "replicas": replicas,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    }
    await asyncio.to_thread(Helm(world.cluster).upgrade_install, RELEASE, CHART, NAMESPACE, values)
    await world.operator.until_ready()
    try:
        yield
    finally:
        await asyncio.to_thread(world.operator.install, world.images.operator)
        await world.operator.until_ready()


async def until_free(place: Place, slots: int = 1, *, within: float = PATIENCE) -> list[Body]:
    """Wait until there are this many free slots of each role, Ready and not about to end; their pods.

    Unlike ``Place.until_warm`` it does not mind sessions that have adopted others.
    """

    async def look() -> list[Body] | None:
        pods = [pod for pod in await place.free_slots() if _usable(pod)]
        counts = [sum(pod["metadata"]["labels"][Label.ROLE] == role for pod in pods) for role in ROLES]
        return pods if counts == [slots] * len(ROLES) else None

    return await wait_for(look, what=f"{slots} free slots of each role", within=within, explain=place.explain)


def _usable(pod: Body) -> bool:
    return is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


@asynccontextmanager
async def raw_slots(place: Place) -> AsyncIterator[Mapping[Role, WalletRpc]]:
    """The RPC of one free slot of each role, past the operator, over connections that stand already."""
    key = (await place.read_secret(f"{POOL}-slot-login"))["key"]
    async with AsyncExitStack() as stack:
        clients: dict[Role, WalletRpc] = {}
        for pod in await until_free(place):
            meta = pod["metadata"]
            role = Role(meta["labels"][Label.ROLE])
            url = await place.forward(stack, meta["name"])
            clients[role] = by_key(url, pod, key)
            stack.push_async_callback(clients[role].aclose)
            await version(clients[role])
        yield clients
