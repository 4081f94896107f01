"""watchNamespaces: one of them goes, with the operator's rights in it, and the others notice nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harness.api import NAMESPACES
from harness.place import FIRST_PATIENCE, TEST_LABEL, Place
from harness.waiting import wait_for
from harness.world import World

NAMESPACE_PATIENCE = 150.0
"""Seconds for a namespace to go: its pods store their wallets first."""


@asynccontextmanager
async def serving(world: World, *places: Place) -> AsyncIterator[list[str]]:
    """The operator serves these namespaces alone, by a Role in each."""
    names = [place.namespace for place in places]
    try:
        world.operator.install(world.images.operator, watchNamespaces=names)
        await world.operator.until_ready()
        yield names
    finally:
        world.operator.install(world.images.operator)
        await world.operator.scale(1)


async def process(world: World) -> tuple[str, int]:
    """Another one when the operator was restarted or replaced."""
    (pod,) = await world.operator.pods()
    return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]


@pytest.mark.timeout(600, func_only=True)
async def test_i10_a_namespace_that_is_deleted_and_comes_back_concerns_nobody_else(place: Place, world: World) -> None:
    other = Place(world, "leaving")
    await other.open(warm_slots=None)
    async with serving(world, place, other) as names:
        await other.make_pool()
        await other.until_warm(within=FIRST_PATIENCE)
        stays, _ = await place.active("stays"), await other.active("leaves")
        running = await process(world)

        # With it goes the Role by which the operator could take its sessions' finalizers away.
        await other.close()

        async def gone() -> bool:
            return await world.api.find(NAMESPACES, None, other.namespace) is None

        await wait_for(gone, what="the namespace to be gone", within=NAMESPACE_PATIENCE, explain=world.operator.tail)
        await stays.until_active()
        await stays.delete()
        await place.until_warm()
        await place.active("afterwards")

        labels = {TEST_LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
        await world.api.create(NAMESPACES, None, {"metadata": {"name": other.namespace, "labels": labels}})
        # The chart's Role in it was deleted; the same values bring it back, and change nothing else.
        world.operator.install(world.images.operator, watchNamespaces=names)
        await other.make_pool()
        await other.until_warm(within=FIRST_PATIENCE)
        await other.active("again")
        assert await process(world) == running, "the operator was not restarted"
        await other.close()
