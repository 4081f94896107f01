"""Two releases on one cluster, each with namespaces of its own: the way past what one operator can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from escrow_operator.adapters.kube import PODS
from harness.api import NAMESPACES
from harness.escrow import Escrow
from harness.operator import NAMESPACE, RELEASE, OperatorUnderTest
from harness.place import FIRST_PATIENCE, Place
from harness.world import World

SOUTH = "xmr-escrow-operator-south"


@asynccontextmanager
async def divided(world: World, north: Place, south: Place) -> AsyncIterator[None]:
    """The cluster's operator serves one place only, and another release the other; a cap of one session each."""
    second = OperatorUnderTest(world.cluster, world.api, release=SOUTH, namespace=SOUTH)
    one = {"maxActive": 1}
    try:
        world.operator.install(world.images.operator, sessions=one, watchNamespaces=[north.namespace])
        second.install(
            world.images.operator, sessions=one, watchNamespaces=[south.namespace], rbac={"userRoles": False}
        )
        yield
    finally:
        second.uninstall()
        await world.api.delete(NAMESPACES, None, SOUTH)
        world.operator.install(world.images.operator)
        await world.operator.scale(1)


async def pod_uids(escrow: Escrow) -> set[str]:
    """Of the pods that a session holds."""
    return {pod["metadata"]["uid"] for pod in await escrow.pods()}


async def may(world: World, release: str, namespace: str, place: Place) -> bool:
    """Whether the operator of a release, which is in a namespace, may patch the pods of a place."""
    account = f"--as=system:serviceaccount:{namespace}:{release}"
    question = ("auth", "can-i", "patch", PODS.plural, account, "--namespace", place.namespace)
    # A "no" is also an exit code.
    answer = await asyncio.to_thread(world.cluster.kubectl, *question, check=False)
    return answer.strip() == "yes"


@pytest.mark.timeout(600, func_only=True)
async def test_two_releases_share_a_cluster_and_nothing_else(place: Place, world: World) -> None:
    south = Place(world, "south")
    await south.open(warm_slots=None)
    async with divided(world, place, south):
        # Served by the second one alone.
        await south.make_pool()
        await south.until_warm(within=FIRST_PATIENCE)
        in_north = await place.active("trade-1")
        in_south = await south.active("trade-1")

        # The cap of one counts each release's own namespaces, or the second would have driven out the first.
        before = await pod_uids(in_north)
        assert len(before) == 3
        assert (await in_north.status())["phase"] == "Active"

        await world.operator.scale(0)
        successor = await south.active("trade-2")
        await in_south.until_gone()
        assert len(await pod_uids(successor)) == 3
        assert await pod_uids(in_north) == before

        assert await may(world, SOUTH, SOUTH, south)
        assert not await may(world, SOUTH, SOUTH, place)
        assert not await may(world, RELEASE, NAMESPACE, south)
        await successor.delete()
        await south.close()
