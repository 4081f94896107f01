"""What users do, one story after the other; the same ones are played with every crash and every stale view."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from escrow_operator.adapters.kube import PODS, POOLS
from escrow_operator.core.manifests.common import RPC_PORT

from .network import Trouble
from .world import World

ACTIVE, EXPIRED, SUSPENDED, COMPLETED = "Active", "Expired", "Suspended", "Completed"


@dataclass(frozen=True)
class Story:
    """``play`` returns when what its users wait for has come true."""

    name: str
    play: Callable[[World], Awaitable[None]]
    settings: dict[str, Any] = field(default_factory=dict)
    warm: int = 1


async def _active(world: World, *names: str) -> None:
    await world.until(lambda: {world.phase(name) for name in names} == {ACTIVE}, what=f"{names} to be Active")


async def create(world: World) -> None:
    """A new escrow, and its end."""
    world.apply("trade")
    await _active(world, "trade")


async def create_and_delete(world: World) -> None:
    """The same, deleted when it is Active, and applied again: the same address."""
    await create(world)
    address = world.status("trade")["address"]
    world.delete("trade")
    await world.until(lambda: world.session("trade") is None, what="trade to be gone")
    world.apply("trade")
    await _active(world, "trade")
    assert world.status("trade")["address"] == address


async def delete_while_it_opens(world: World) -> None:
    """A user who changes his mind."""
    world.apply("trade")
    await world.until(lambda: world.phase("trade") == "Opening", what="trade to be Opening")
    world.delete("trade")
    await world.until(lambda: world.session("trade") is None, what="trade to be gone")


async def pay_and_settle(world: World) -> None:
    """A trade from its first payment to its payout."""
    await create(world)
    world.pay("trade", "0.35", confirmations=10)
    await world.until(lambda: world.is_true("trade", "Funded"), what="trade to be Funded")
    txid = world.pay_out("trade", confirmations=1)
    world.apply("trade", settlement={"outcome": "Release", "txid": txid})
    await world.until(lambda: world.phase("trade") == "Settling", what="trade to be Settling")
    world.chain.mine(12)
    await world.until(lambda: world.phase("trade") == COMPLETED, what="trade to be Completed")


async def expire_and_come_back(world: World) -> None:
    """Nobody uses a session; then somebody does."""
    world.apply("trade", ttl="60s")
    await _active(world, "trade")
    await world.until(lambda: world.phase("trade") == EXPIRED, what="trade to expire")
    world.touch("trade")
    await _active(world, "trade")
    world.apply("trade", ttl="2h")


async def evict(world: World) -> None:
    """A newcomer at the cap takes the place of the least recently used."""
    world.apply("old")
    await _active(world, "old")
    world.apply("new")
    await _active(world, "new")
    await world.until(lambda: world.session("old") is None, what="old to be gone")


async def suspend_and_resume(world: World) -> None:
    """The same, with sessions that are kept; the one that was evicted is used again."""
    world.apply("old")
    await _active(world, "old")
    world.apply("new")
    await _active(world, "new")
    await world.until(lambda: world.phase("old") == SUSPENDED, what="old to be Suspended")
    await asyncio.sleep(2)
    world.touch("old")
    await _active(world, "old")
    await world.until(lambda: world.phase("new") == SUSPENDED, what="new to be Suspended")


async def lose_a_pod(world: World) -> None:
    """A node takes a slot with it."""
    await create(world)
    world.cluster.lose(world.pods_of("trade")[1])
    await asyncio.sleep(0.1)
    await world.until(lambda: world.wallets_are_open("trade"), what="all wallets to be open again")
    await _active(world, "trade")


async def reboot_a_node(world: World) -> None:
    """The same pod, with an empty process at another address."""
    await create(world)
    world.cluster.restart(world.pods_of("trade")[0])
    await world.until(lambda: world.wallets_are_open("trade"), what="all wallets to be open again")
    await _active(world, "trade")


async def lose_sight_of_a_wallet(world: World) -> None:
    """While monerod is away no wallet is asked; what is said when it is back must be true of all three."""
    await create(world)
    for pod in world.pods_of("trade"):
        address = f"{pod['status']['podIP']}:{RPC_PORT}"
        world.monerod.down = True
        await world.until(lambda: not world.is_true("trade", "Ready"), what="monerod's absence to be told")
        world.network.disturb(address, Trouble.REFUSED)
        world.monerod.down = False
        await world.until(lambda: world.reason("trade", "Ready") != "DaemonUnreachable", what="monerod to be back")
        assert not world.is_true("trade", "Ready"), "not all wallets can be reached"
        world.network.heal(address)
        await world.until(lambda: world.is_true("trade", "Ready"), what="trade to be Ready")


async def make_the_pool_again(world: World) -> None:
    """A pool is deleted under a session, waits for it, and is made again."""
    await create(world)
    world.delete_pool()
    await asyncio.sleep(5)
    world.delete("trade")
    await world.until(lambda: not world.server.all(PODS) + world.server.all(POOLS), what="pool and pods to be gone")
    world.make_pool()
    world.apply("trade")
    await _active(world, "trade")


async def three_at_once(world: World) -> None:
    """They want the same slots."""
    for name in ("one", "two", "three"):
        world.apply(name)
    await _active(world, "one", "two", "three")


async def pay_slowly(world: World) -> None:
    """A payment that waits in the mempool, and is confirmed block by block."""
    await create(world)
    world.pay("trade", "0.35")
    for _ in range(10):
        await asyncio.sleep(10)
        assert not world.is_true("trade", "Funded")
        world.chain.mine()
    await world.until(lambda: world.is_true("trade", "Funded"), what="trade to be Funded")


async def give_way_with_money(world: World) -> None:
    """Who holds money is suspended where others are deleted, and nobody while a payment is under way."""
    world.apply("old")
    await _active(world, "old")
    world.pay("old", "0.35")
    await world.until(lambda: world.status("old").get("funding", {}).get("pending"), what="the payment to be seen")
    world.apply("new")
    await asyncio.sleep(60)
    assert world.phase("old") == ACTIVE
    world.chain.mine(10)
    await world.until(lambda: world.phase("old") == SUSPENDED, what="old to be Suspended")
    await _active(world, "new")


async def touch_in_the_far_future(world: World) -> None:
    """A client whose clock is wrong keeps nothing open for ever."""
    world.apply("trade", ttl="60s")
    await _active(world, "trade")
    world.touch("trade", "2999-01-01T00:00:00Z")
    await world.until(lambda: world.phase("trade") == EXPIRED, what="trade to expire")


async def use_a_settled_name_again(world: World) -> None:
    """The parties of the old trade may hold the keys of its wallets."""
    await pay_and_settle(world)
    world.delete("trade")
    await world.until(lambda: world.session("trade") is None, what="trade to be gone")
    world.apply("trade")
    await world.until(lambda: world.reason("trade", "Ready") == "NameSettled", what="the name to be refused")


async def two_sessions_on_one_wallet(world: World) -> None:
    """The second one waits until the first has closed its wallets."""
    await create(world)
    world.apply_with_wallets_of("trade", "second")
    await world.until(lambda: world.reason("second", "Ready") == "WalletInUse", what="second to wait")
    world.delete("trade")
    await _active(world, "second")


SHORT_STAY = {"min_stay": timedelta(seconds=1)}

STORIES = (
    Story("create", create),
    Story("create-and-delete", create_and_delete),
    Story("delete-while-it-opens", delete_while_it_opens),
    Story("pay-and-settle", pay_and_settle),
    Story("expire-and-come-back", expire_and_come_back),
    Story("evict", evict, {"max_active": 1, **SHORT_STAY}),
    Story("suspend-and-resume", suspend_and_resume, {"max_active": 1, "eviction_policy": "Suspend", **SHORT_STAY}),
    Story("lose-a-pod", lose_a_pod),
    Story("reboot-a-node", reboot_a_node),
    Story("lose-sight-of-a-wallet", lose_sight_of_a_wallet),
    Story("make-the-pool-again", make_the_pool_again),
    Story("three-at-once", three_at_once, warm=2),
    Story("pay-slowly", pay_slowly),
    Story("give-way-with-money", give_way_with_money, {"max_active": 1, **SHORT_STAY}),
    Story("touch-in-the-far-future", touch_in_the_far_future),
    Story("use-a-settled-name-again", use_a_settled_name_again),
    Story("two-sessions-on-one-wallet", two_sessions_on_one_wallet, warm=2),
)
