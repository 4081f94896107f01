"""Stories of escrows that are prepared before there is a session for them."""

from __future__ import annotations

import asyncio

from escrow_operator.adapters.kube import PODS, POOLS, SECRETS
from escrow_operator.core.manifests.prepared import PREPARED_TYPE
from escrow_operator.models.common import ROLES, Label, SlotState

from .apiserver import Body
from .story import Story, active, create, gone
from .world import World


def prepared_pods(world: World) -> list[Body]:
    """Pods of prepared escrows that no session has."""
    return [
        pod
        for pod in world.server.all(PODS)
        if pod["metadata"]["labels"].get(Label.SLOT) == SlotState.PREPARED
        and "deletionTimestamp" not in pod["metadata"]
    ]


def prepared_secrets(world: World) -> list[Body]:
    """Secrets of prepared escrows, claimed ones included."""
    return [secret for secret in world.server.all(SECRETS) if secret.get("type") == PREPARED_TYPE]


async def warm(world: World) -> None:
    """Wait until the pools have what their specs want, and not only say so still."""

    def is_prepared() -> bool:
        wanted = sum(pool["spec"]["preparedEscrows"] for pool in world.server.all(POOLS))
        return world.is_warm() and len(prepared_pods(world)) == wanted * len(ROLES)

    await world.until(is_prepared, what="the pools to be warm")


async def take_a_prepared_one(world: World) -> None:
    """A session takes what was prepared, and another one is prepared."""
    mine = {pod["metadata"]["uid"] for pod in prepared_pods(world)}
    world.apply("trade")
    await active(world, "trade")
    if world.processes[-1].name == world.processes[0].name:
        assert {pod["metadata"]["uid"] for pod in world.pods_of("trade")} == mine, "it made its own"
    await warm(world)


async def three_for_two(world: World) -> None:
    """Three sessions at once, and two prepared escrows."""
    for name in ("one", "two", "three"):
        world.apply(name)
    await active(world, "one", "two", "three")
    await warm(world)


async def delete_and_come_back(world: World) -> None:
    """A session that took a prepared escrow is deleted, and its name gets the same address again."""
    await take_a_prepared_one(world)
    address = world.status("trade")["address"]
    world.delete("trade")
    await gone(world, "trade")
    world.apply("trade")
    await active(world, "trade")
    assert world.status("trade")["address"] == address
    await warm(world)


async def delete_at_once(world: World) -> None:
    """A user who changes his mind while his session is given a prepared escrow."""
    world.apply("trade")
    await asyncio.sleep(0.05)
    world.delete("trade")
    await gone(world, "trade")
    world.apply("other")
    await active(world, "other")
    await warm(world)


async def change_the_image(world: World) -> None:
    """What was prepared with another image is prepared anew."""
    before = {pod["metadata"]["uid"] for pod in prepared_pods(world)}
    world.make_pool(prepared=1, image="another")
    await world.until(
        lambda: (
            world.is_warm()
            and len(prepared_pods(world)) == len(ROLES)
            and before.isdisjoint(pod["metadata"]["uid"] for pod in prepared_pods(world))
        ),
        what="another escrow to be prepared",
    )


async def switch_it_off(world: World) -> None:
    """Nothing stays of what is not wanted any more."""
    world.make_pool(prepared=0)
    await world.until(lambda: not prepared_pods(world) and not prepared_secrets(world), what="all to be gone")


async def lose_one_of_its_pods(world: World) -> None:
    """A node takes one of the three wallets: the escrow is prepared anew."""
    world.cluster.lose(prepared_pods(world)[0])
    await asyncio.sleep(1)
    await warm(world)
    world.apply("trade")
    await active(world, "trade")
    await warm(world)


async def wait_and_take(world: World) -> None:
    """With no place under the cap it waits; then it takes what is prepared."""
    world.apply("new")
    await asyncio.sleep(1)
    world.delete("trade")
    await active(world, "new")
    await warm(world)


PREPARING = (
    Story("take-a-prepared-one", take_a_prepared_one, prepared=1),
    Story("three-for-two", three_for_two, prepared=2),
    Story("delete-and-come-back", delete_and_come_back, prepared=1),
    Story("delete-at-once", delete_at_once, prepared=1),
    Story("change-the-image", change_the_image, prepared=1),
    Story("switch-it-off", switch_it_off, prepared=1),
    Story("lose-one-of-its-pods", lose_one_of_its_pods, prepared=1),
    Story("wait-and-take", wait_and_take, {"max_active": 1}, prepared=1, first=create),
)
