"""Two operators on a real cluster: when one is gone the other goes on, and never do both act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from escrow_operator.adapters.kube import PODS
from escrow_operator.models.common import Label
from harness.api import Body
from harness.operator import LEADER_ELECTION, OperatorUnderTest
from harness.place import Place
from harness.waiting import wait_for
from harness.world import World

LEASE_SECONDS = float(LEADER_ELECTION["leaseDuration"].removesuffix("s"))


@asynccontextmanager
async def two(world: World) -> AsyncIterator[OperatorUnderTest]:
    """As the chart has it by default."""
    operator = world.operator
    await asyncio.to_thread(operator.install, world.images.operator, replicas=2)
    try:
        await operator.until_ready()
        yield operator
    finally:
        await asyncio.to_thread(operator.install, world.images.operator)
        await operator.until_ready()


async def seconds_until_another_leads(operator: OperatorUnderTest, former: Body) -> float:
    began, name = time.monotonic(), former["metadata"]["name"]

    async def leads() -> bool:
        return await operator.holder() not in (None, name)

    await wait_for(leads, what="another one to lead", explain=operator.tail)
    return time.monotonic() - began


@pytest.mark.timeout(600, func_only=True)
async def test_i15_another_operator_goes_on_where_one_ends(place: Place, world: World) -> None:
    async with two(world) as operator:
        before = await place.active("before")
        leader = await operator.until_ready()
        pods = {pod["metadata"]["uid"] for pod in await before.pods()}

        # In order, as in a drain or an upgrade.
        await world.api.delete(PODS, operator.namespace, leader["metadata"]["name"])
        assert await seconds_until_another_leads(operator, leader) < LEASE_SECONDS, "nobody waits for it to run out"
        await place.active("handed-over")

        # One more: it stands by.
        leader, term = await operator.until_ready(), await operator.term()
        await asyncio.to_thread(operator.install, world.images.operator, replicas=3)
        assert (await operator.until_ready())["metadata"]["uid"] == leader["metadata"]["uid"]
        assert await operator.term() == term

        # As when its node is lost.
        leader = await operator.until_ready()
        await world.api.delete(PODS, operator.namespace, leader["metadata"]["name"], now=True)
        await seconds_until_another_leads(operator, leader)
        after = await place.active("taken-over")

        assert {pod["metadata"]["uid"] for pod in await before.pods()} == pods, "who was open stayed so"
        terms = {pod["metadata"]["annotations"][Label.TERM] for pod in await after.pods()}
        assert len(terms) == 1
        assert int(terms.pop()) > int(next(iter(await before.pods()))["metadata"]["annotations"][Label.TERM])
