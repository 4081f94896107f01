"""A look at a session of which nothing can have changed costs one request, and misses nothing."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, cast

import pytest

from escrow_operator.core.daemon import ChainMark
from escrow_operator.core.funding import Reading
from escrow_operator.errors import NoWalletOpen, WalletDaemonUnavailable
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import Transfer, TransferType, WalletBalance
from escrow_operator.models.slot import Slot
from escrow_operator.services.blocked import Blocked, CutOff
from escrow_operator.services.monitor import FULL_LOOK_EVERY, Monitor
from escrow_operator.services.opener import Opener
from escrow_operator.services.wallets import Wallets
from unit.factories import slot

ADDRESS = "4escrow"
CHAIN = ChainMark("top", 100, 0)
NOTHING = WalletBalance(0, 0, 0, 0, False)
PAYMENT = Transfer("a" * 64, TransferType.POOL, 5, 0, 0, 0, False, True, 0, 0)


@dataclasses.dataclass
class FakeWallet:
    """Holds what a test says, and counts what it is asked."""

    held: str | None = ADDRESS
    wallet_balance: WalletBalance = NOTHING
    known: list[Transfer] = dataclasses.field(default_factory=list)
    at: int = 100
    cut_off: bool = False
    asked: Counter[str] = dataclasses.field(default_factory=Counter)

    def _ask(self, method: str) -> None:
        self.asked[method] += 1
        if self.held is None:
            raise NoWalletOpen("no wallet")

    async def address(self) -> str:
        self._ask("address")
        return self.held or ""

    async def refresh(self, *, deadline: float) -> None:
        assert deadline
        self._ask("refresh")
        if self.cut_off:
            raise WalletDaemonUnavailable("no connection to daemon")

    async def balance(self) -> WalletBalance:
        self._ask("balance")
        return self.wallet_balance

    async def transfers(self, **types: bool) -> list[Transfer]:
        assert all(types.values())
        self._ask("transfers")
        return list(self.known)

    async def height(self) -> int:
        self._ask("height")
        return self.at


class Bench:
    def __init__(self) -> None:
        self.wallets = {role: FakeWallet() for role in ROLES}
        self.slots: dict[Role, Slot] = {role: slot(role.value, role) for role in ROLES}
        self.forgotten: list[str] = []
        opener = cast("Opener", self)
        self.monitor = Monitor(cast("Wallets", self), opener)

    async def client(self, slot: Slot) -> Any:
        return self.wallets[slot.role]

    def forget(self, slot_uid: str) -> None:
        self.forgotten.append(slot_uid)

    async def look(self, chain: ChainMark = CHAIN, payout: str | None = None) -> tuple[Reading, int]:
        """The reading, and the requests that it took."""
        before = sum(wallet.asked.total() for wallet in self.wallets.values())
        reading = await self.monitor.read("uid", self.slots, ADDRESS, payout, chain)
        return reading, sum(wallet.asked.total() for wallet in self.wallets.values()) - before

    async def looks(self, number: int) -> None:
        for _ in range(number):
            await self.look()


async def test_an_unchanged_session_costs_one_request_and_all_three_wallets_get_their_turn() -> None:
    bench = Bench()
    first, _ = await bench.look()
    for _ in ROLES:
        again, requests = await bench.look()
        assert again is first
        assert requests == 1
    assert [wallet.asked["address"] for wallet in bench.wallets.values()] == [1, 1, 1]


async def test_now_and_then_everything_is_read_whatever_seems_unchanged() -> None:
    bench = Bench()
    first, _ = await bench.look()
    looks = [(await bench.look())[0] is first for _ in range(FULL_LOOK_EVERY)]
    assert looks == [True] * (FULL_LOOK_EVERY - 1) + [False]


@pytest.mark.parametrize("chain", [CHAIN._replace(top="other"), CHAIN._replace(pool_size=3)])
async def test_a_payment_is_seen_after_a_block_and_in_the_mempool(chain: ChainMark) -> None:
    bench = Bench()
    await bench.look()
    bench.wallets[Role.ARBITER].known.append(PAYMENT)
    reading, _ = await bench.look(chain)
    assert reading.transfers == (PAYMENT,)


async def test_a_mempool_that_brought_nothing_is_asked_about_once() -> None:
    bench = Bench()
    first, _ = await bench.look()
    busy = CHAIN._replace(pool_size=3)
    again, requests = await bench.look(busy)
    assert again == first
    assert requests == 1 + len(["transfers", "balance"])


async def test_what_was_read_at_another_height_than_monerods_is_not_kept() -> None:
    bench = Bench()
    ahead = CHAIN._replace(top="next", height=101)
    late, _ = await bench.look(ahead)
    assert late.height == CHAIN.height
    bench.wallets[Role.ARBITER].at = 101
    assert (await bench.look(ahead))[0].height == 101


async def test_a_restarted_container_is_another_wallet() -> None:
    bench = Bench()
    first, _ = await bench.look()
    bench.slots[Role.BUYER] = dataclasses.replace(bench.slots[Role.BUYER], restarts=1)
    assert (await bench.look())[0] is not first


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("held", [None, "4another"])
async def test_a_wallet_that_a_client_closed_or_replaced_is_noticed_within_three_looks(
    role: Role, held: str | None
) -> None:
    bench = Bench()
    await bench.look()
    bench.wallets[role].held = held
    with pytest.raises(Blocked, match=f"WalletClosed: The {role} wallet"):
        await bench.looks(len(ROLES))
    assert bench.forgotten == [bench.slots[role].uid]


async def test_the_arbiters_closed_wallet_is_noticed_by_a_read() -> None:
    bench = Bench()
    await bench.look()
    bench.wallets[Role.ARBITER].held = None
    with pytest.raises(Blocked, match="WalletClosed"):
        await bench.look(CHAIN._replace(top="other"))
    assert bench.forgotten == [bench.slots[Role.ARBITER].uid]


async def test_after_a_look_that_failed_all_three_wallets_are_asked() -> None:
    """Else the next look, at another wallet, would call a session Ready of which one wallet is gone."""
    bench = Bench()
    await bench.look()
    gone = next(role for role in ROLES if role is not Role.ARBITER)
    bench.wallets[gone].held = None
    with pytest.raises(Blocked):
        await bench.looks(len(ROLES))
    for _ in range(3):
        with pytest.raises(Blocked, match=f"The {gone} wallet"):
            await bench.look()
    bench.wallets[gone].held = ADDRESS
    before = [wallet.asked["address"] for wallet in bench.wallets.values()]
    await bench.look()
    after = [wallet.asked["address"] for wallet in bench.wallets.values()]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
    assert (await bench.look())[1] == 1


@pytest.mark.parametrize("role", [Role.BUYER, Role.VENDOR])
async def test_a_wallet_that_does_not_reach_monerod_is_noticed_by_its_height_and_told_until_it_does(role: Role) -> None:
    bench = Bench()
    await bench.look()
    wallet = bench.wallets[role]
    wallet.cut_off, wallet.at = True, CHAIN.height - 1
    with pytest.raises(CutOff):
        await bench.looks(FULL_LOOK_EVERY * len(ROLES))
    with pytest.raises(CutOff):
        await bench.look()
    wallet.cut_off = False
    await bench.looks(FULL_LOOK_EVERY * len(ROLES))


async def test_a_wallet_that_trails_for_a_moment_is_brought_up_to_date() -> None:
    bench = Bench()
    await bench.look()
    bench.wallets[Role.BUYER].at = CHAIN.height - 1
    await bench.looks(FULL_LOOK_EVERY * len(ROLES))
    assert bench.wallets[Role.BUYER].asked["refresh"] == 1
