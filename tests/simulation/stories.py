"""What users do, one story after the other; the same ones are played with every crash and every stale view."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from escrow_operator.adapters.kube import POOLS, SERVICES
from escrow_operator.core.manifests.common import RPC_PORT

from .network import Trouble
from .operations import OPERATIONS
from .preparing import PREPARING
from .story import ACTIVE, COMPLETED, EXPIRED, SUSPENDED, Story, active, blocked, create, gone
from .world import World


async def create_for_a_minute(world: World) -> None:
    """One that expires soon."""
    world.apply("trade", ttl="60s")
    await active(world, "trade")


async def create_the_old_one(world: World) -> None:
    """One that is to give way."""
    world.apply("old")
    await active(world, "old")


async def create_pay_and_settle(world: World) -> None:
    """A trade that is over."""
    await create(world)
    await pay_and_settle(world)


async def create_and_delete(world: World) -> None:
    """A session that is deleted when it is Active, and applied again: the same address."""
    address = world.status("trade")["address"]
    world.delete("trade")
    await gone(world, "trade")
    world.apply("trade")
    await active(world, "trade")
    assert world.status("trade")["address"] == address


async def delete_while_it_opens(world: World) -> None:
    """A user who changes his mind."""
    world.apply("trade")
    await world.until(lambda: world.phase("trade") == "Opening", what="trade to be Opening")
    world.delete("trade")
    await gone(world, "trade")


async def settling(world: World) -> None:
    """A trade that is paid, and whose payout is on its way."""
    world.pay("trade", "0.35", confirmations=10)
    await world.until(lambda: world.is_true("trade", "Funded"), what="trade to be Funded")
    txid = world.pay_out("trade", confirmations=1)
    world.apply("trade", settlement={"outcome": "Release", "txid": txid})
    await world.until(lambda: world.phase("trade") == "Settling", what="trade to be Settling")


async def pay_and_settle(world: World) -> None:
    """A trade from its first payment to its payout."""
    await settling(world)
    world.chain.mine(12)
    await world.until(lambda: world.phase("trade") == COMPLETED, what="trade to be Completed")


async def expire_and_come_back(world: World) -> None:
    """Nobody uses a session; then somebody does."""
    await world.until(lambda: world.phase("trade") == EXPIRED, what="trade to expire")
    world.touch("trade")
    await active(world, "trade")
    world.apply("trade", ttl="2h")


async def evict(world: World) -> None:
    """A newcomer at the cap takes the place of the least recently used."""
    world.apply("new")
    await active(world, "new")
    await gone(world, "old")


async def suspend_and_resume(world: World) -> None:
    """The same, with sessions that are kept; the one that was evicted is used again."""
    world.apply("new")
    await active(world, "new")
    await world.until(lambda: world.phase("old") == SUSPENDED, what="old to be Suspended")
    await asyncio.sleep(2)
    world.touch("old")
    await active(world, "old")
    await world.until(lambda: world.phase("new") == SUSPENDED, what="new to be Suspended")


async def suspend_by_spec(world: World) -> None:
    """Its owner wants the wallets closed, whatever is used, and open again later."""
    address = world.status("trade")["address"]
    world.apply("trade", suspend=True)
    await blocked(world, "trade", "SuspendedBySpec")
    assert not world.pods_of("trade"), "it says so before its pods have ended"
    world.touch("trade")
    await asyncio.sleep(60)
    assert (world.phase("trade"), world.reason("trade", "Ready")) == (SUSPENDED, "SuspendedBySpec")
    world.apply("trade", suspend=False)
    await active(world, "trade")
    assert world.status("trade")["address"] == address


async def suspend_while_it_opens(world: World) -> None:
    """In the middle of the key exchange, of which nothing may be lost that was published."""
    world.apply("trade")
    await world.until(lambda: world.phase("trade") == "Opening", what="trade to be Opening")
    world.apply("trade", suspend=True)
    await world.until(
        lambda: world.phase("trade") == SUSPENDED and not world.pods_of("trade"), what="trade to have closed"
    )
    world.apply("trade", suspend=False)
    await active(world, "trade")


async def suspend_with_money_on_its_way(world: World) -> None:
    """What the owner wants comes before the clocks that a payment stops; it is seen when the wallets are open again."""
    world.pay("trade", "0.35")
    await world.until(lambda: world.status("trade").get("funding", {}).get("pending"), what="the payment to be seen")
    world.apply("trade", suspend=True)
    await world.until(lambda: world.phase("trade") == SUSPENDED, what="trade to be Suspended")
    world.chain.mine(12)
    world.apply("trade", suspend=False)
    await world.until(lambda: world.is_true("trade", "Funded"), what="trade to be Funded")


async def suspend_while_it_settles(world: World) -> None:
    """The payout is followed when the wallets are open again."""
    await settling(world)
    world.apply("trade", suspend=True)
    await world.until(lambda: world.phase("trade") == SUSPENDED, what="trade to be Suspended")
    world.chain.mine(12)
    world.apply("trade", suspend=False)
    await world.until(lambda: world.phase("trade") == COMPLETED, what="trade to be Completed")


async def lose_a_pod(world: World) -> None:
    """A node takes a slot with it."""
    world.cluster.lose(world.pods_of("trade")[1])
    await asyncio.sleep(0.1)
    await world.until(lambda: world.wallets_are_open("trade"), what="all wallets to be open again")
    await active(world, "trade")


async def reboot_a_node(world: World) -> None:
    """The same pod, with an empty process at another address: it is used again there."""
    before = [pod["metadata"]["uid"] for pod in world.pods_of("trade")]
    world.cluster.restart(world.pods_of("trade")[0])
    await world.until(lambda: world.wallets_are_open("trade"), what="all wallets to be open again")
    await active(world, "trade")
    assert [pod["metadata"]["uid"] for pod in world.pods_of("trade")] == before, "a pod was replaced without need"


async def lose_sight_of_a_wallet(world: World) -> None:
    """While monerod is away no wallet is asked; what is said when it is back must be true of all three."""
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


def collect_slowly(world: World) -> None:
    """What a deleted pool leaves goes piece by piece, a part of it after the next one was looked at."""
    world.cluster.garbage_seconds = {SERVICES.plural: 10.0}


async def make_the_pool_again(world: World) -> None:
    """A pool is deleted under a session, waits for it, and is made again."""
    world.delete_pool()
    await asyncio.sleep(5)
    world.delete("trade")
    await world.until(lambda: not world.server.all(POOLS), what="the pool to be gone", every=0.01)
    # Before the operator has looked at what is no more.
    world.make_pool()
    world.apply("trade")
    await active(world, "trade")


async def three_at_once(world: World) -> None:
    """They want the same slots."""
    for name in ("one", "two", "three"):
        world.apply(name)
    await active(world, "one", "two", "three")


async def pay_slowly(world: World) -> None:
    """A payment that waits in the mempool, and is confirmed block by block."""
    world.pay("trade", "0.35")
    for _ in range(10):
        await asyncio.sleep(10)
        assert not world.is_true("trade", "Funded")
        world.chain.mine()
    await world.until(lambda: world.is_true("trade", "Funded"), what="trade to be Funded")


async def give_way_with_money(world: World) -> None:
    """Who holds money is suspended where others are deleted, and nobody while a payment is under way."""
    world.pay("old", "0.35")
    await world.until(lambda: world.status("old").get("funding", {}).get("pending"), what="the payment to be seen")
    world.apply("new")
    await asyncio.sleep(60)
    assert world.phase("old") == ACTIVE
    world.chain.mine(10)
    await world.until(lambda: world.phase("old") == SUSPENDED, what="old to be Suspended")
    await active(world, "new")


async def touch_in_the_far_future(world: World) -> None:
    """A client whose clock is wrong keeps nothing open for ever."""
    world.touch("trade", "2999-01-01T00:00:00Z")
    await world.until(lambda: world.phase("trade") == EXPIRED, what="trade to expire")


async def use_a_settled_name_again(world: World) -> None:
    """The parties of the old trade may hold the keys of its wallets."""
    world.delete("trade")
    await gone(world, "trade")
    world.apply("trade")
    await world.until(lambda: world.reason("trade", "Ready") == "NameSettled", what="the name to be refused")


async def two_sessions_on_one_wallet(world: World) -> None:
    """The second one waits until the first has closed its wallets."""
    world.apply_with_wallets_of("trade", "second")
    await world.until(lambda: world.reason("second", "Ready") == "WalletInUse", what="second to wait")
    world.delete("trade")
    await active(world, "second")


async def sign_twice(world: World) -> None:
    """Nobody evicts pods while parties sign; then a drain may go on, also when the session ends in the middle."""
    world.begin_round("trade")
    await world.until(lambda: world.is_guarded("trade"), what="trade to be guarded")
    world.end_round("trade")
    await world.until(lambda: not world.is_guarded("trade"), what="drains to go on")
    world.begin_round("trade")
    await world.until(lambda: world.is_guarded("trade"), what="trade to be guarded again")
    world.delete("trade")
    await gone(world, "trade")


SHORT_STAY = {"min_stay": timedelta(seconds=1)}

STORIES = (
    Story("create", create),
    Story("create-and-delete", create_and_delete, first=create),
    Story("delete-while-it-opens", delete_while_it_opens),
    Story("pay-and-settle", pay_and_settle, first=create),
    Story("expire-and-come-back", expire_and_come_back, first=create_for_a_minute),
    Story("evict", evict, {"max_active": 1, **SHORT_STAY}, first=create_the_old_one),
    Story(
        "suspend-and-resume",
        suspend_and_resume,
        {"max_active": 1, "eviction_policy": "Suspend", **SHORT_STAY},
        first=create_the_old_one,
    ),
    Story("suspend-by-spec", suspend_by_spec, first=create),
    Story("suspend-while-it-opens", suspend_while_it_opens),
    Story("suspend-with-money-on-its-way", suspend_with_money_on_its_way, first=create),
    Story("suspend-while-it-settles", suspend_while_it_settles, first=create),
    Story("lose-a-pod", lose_a_pod, first=create),
    Story("reboot-a-node", reboot_a_node, first=create),
    Story("lose-sight-of-a-wallet", lose_sight_of_a_wallet, first=create),
    Story("make-the-pool-again", make_the_pool_again, prepare=collect_slowly, first=create),
    Story("three-at-once", three_at_once, warm=2),
    Story("pay-slowly", pay_slowly, first=create),
    Story("give-way-with-money", give_way_with_money, {"max_active": 1, **SHORT_STAY}, first=create_the_old_one),
    Story("touch-in-the-far-future", touch_in_the_far_future, first=create_for_a_minute),
    # A round whose beginning was in no event may be over when a list tells of it.
    Story("sign-twice", sign_twice, first=create, patient=False),
    Story("use-a-settled-name-again", use_a_settled_name_again, first=create_pay_and_settle),
    Story("two-sessions-on-one-wallet", two_sessions_on_one_wallet, warm=2, first=create),
    *OPERATIONS,
    *PREPARING,
)
