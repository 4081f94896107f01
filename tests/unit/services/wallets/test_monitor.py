"""A look at a session of which nothing can have changed costs one request, and misses nothing."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, cast

import pytest

from escrow_operator.adapters.clock import Clock
from escrow_operator.core.agreement import NOTHING
from escrow_operator.core.daemon import ChainMark
from escrow_operator.core.funding import Reading
from escrow_operator.core.keyimages import RETRY_SECONDS, SECONDS_BETWEEN, Wanted
from escrow_operator.errors import BadMultisigInfo, NoWalletOpen, WalletDaemonUnavailable
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import ChainFacts, ChainTransaction, Output, Transfer, parse_xmr
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Blocked, CutOff
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.monitor import FULL_LOOK_EVERY, Survey, WalletMonitor
from escrow_operator.services.wallets.opener import WalletOpener
from unit.factories import slot
from unit.money import chain, in_pool, output, transaction
from unit.world.context import make_context

ADDRESS = "4escrow"
CHAIN = ChainMark("top", 100, 0)
PAYMENT = in_pool("0.35")
HELD = output("0.35")
MIX = [method for method in ("address", "refresh", "transfers", "outputs", "height") for _ in ROLES]


@dataclasses.dataclass
class FakeWallet:
    """Holds what a test says, and counts what it is asked."""

    held: str | None = ADDRESS
    pool: list[Transfer] = dataclasses.field(default_factory=list)
    mined: list[Output] = dataclasses.field(default_factory=list)
    at: int = 100
    cut_off: bool = False
    info: str = "info"
    asked: Counter[str] = dataclasses.field(default_factory=Counter)
    imported: list[list[str]] = dataclasses.field(default_factory=list)

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

    async def transfers(self, *, pool: bool) -> list[Transfer]:
        assert pool
        self._ask("transfers")
        return list(self.pool)

    async def outputs(self) -> list[Output]:
        self._ask("outputs")
        return list(self.mined)

    async def export_multisig_info(self) -> str:
        self._ask("export")
        return self.info

    async def import_multisig_info(self, infos: list[str]) -> None:
        self._ask("import")
        if "garbage" in infos:
            raise BadMultisigInfo("not acceptable")
        self.imported.append(infos)
        self.mined = [dataclasses.replace(o, key_image=o.key_image or f"{o.txid[:8]:e>64}") for o in self.mined]

    async def height(self) -> int:
        self._ask("height")
        return self.at


class Bench:
    def __init__(self) -> None:
        self.wallets = {role: FakeWallet() for role in ROLES}
        self.slots: dict[Role, Slot] = {role: slot(role.value, role) for role in ROLES}
        self.forgotten: list[str] = []
        opener = cast("WalletOpener", self)
        self.now = 1000.0
        self.monitor = WalletMonitor(make_context(clock=cast("Clock", self)), cast("WalletClients", self), opener)

    def monotonic(self) -> float:
        return self.now

    async def client(self, slot: Slot) -> Any:
        return self.wallets[slot.role]

    def forget(self, slot: Slot) -> None:
        self.forgotten.append(slot.uid)

    def all_hold(self, *said: Output | Transfer, at: int = 100) -> None:
        for wallet in self.wallets.values():
            wallet.mined = [each for each in said if isinstance(each, Output)]
            wallet.pool = [each for each in said if isinstance(each, Transfer)]
            wallet.at = at

    async def look(self, mark: ChainMark = CHAIN) -> tuple[Survey, int]:
        """The survey, and the requests that it took."""
        before = sum(wallet.asked.total() for wallet in self.wallets.values())
        survey = await self.monitor.read("uid", self.slots, ADDRESS, mark)
        return survey, sum(wallet.asked.total() for wallet in self.wallets.values()) - before

    async def looks(self, number: int) -> None:
        for _ in range(number):
            await self.look()

    async def share(self, facts: ChainFacts, payout: str | None = None, mark: ChainMark = CHAIN) -> bool:
        """Look, and exchange key images if it is time; whether it was."""
        survey, _ = await self.look(mark)
        wanted = Wanted(parse_xmr("0.35"), payout)
        return await self.monitor.share_key_images("uid", self.slots, Reading(survey.money, facts), wanted)

    @property
    def exports(self) -> list[int]:
        return [self.wallets[role].asked["export"] for role in ROLES]


async def test_an_unchanged_session_costs_one_request_and_all_three_wallets_get_their_turn() -> None:
    bench = Bench()
    first, _ = await bench.look()
    for _ in ROLES:
        again, requests = await bench.look()
        assert again is first
        assert requests == 1
    assert [wallet.asked["address"] for wallet in bench.wallets.values()] == [2, 1, 1]


async def test_now_and_then_everything_is_read_whatever_seems_unchanged() -> None:
    bench = Bench()
    first, _ = await bench.look()
    looks = [(await bench.look())[0] is first for _ in range(FULL_LOOK_EVERY)]
    assert looks == [True] * (FULL_LOOK_EVERY - 1) + [False]


@pytest.mark.parametrize("mark", [CHAIN._replace(top="other"), CHAIN._replace(pool_size=3)])
async def test_a_payment_is_seen_after_a_block_and_in_the_mempool(mark: ChainMark) -> None:
    bench = Bench()
    await bench.look()
    bench.all_hold(PAYMENT)
    survey, _ = await bench.look(mark)
    assert [payment.txid for payment in survey.money.announced] == [PAYMENT.txid]


async def test_a_mempool_that_brought_nothing_is_asked_about_once() -> None:
    bench = Bench()
    first, _ = await bench.look()
    busy = CHAIN._replace(pool_size=3)
    again, requests = await bench.look(busy)
    assert again is first
    assert requests == len(["address", "transfers"])
    assert (await bench.look(busy))[1] == 1


async def test_after_a_block_that_brought_nothing_one_wallet_is_asked_and_after_one_that_did_all_three() -> None:
    bench = Bench()
    bench.all_hold(HELD)
    assert (await bench.look())[1] == 5 + len(MIX)
    for height in (101, 102, 103):
        bench.all_hold(HELD, at=height)
        survey, requests = await bench.look(ChainMark(str(height), height, 0))
        assert (requests, survey.height, len(survey.money.outputs)) == (5, height, 1)
    assert [wallet.asked["refresh"] for wallet in bench.wallets.values()] == [3, 2, 2]
    bench.all_hold(HELD, output("1", "b"), at=104)
    survey, requests = await bench.look(ChainMark("104", 104, 0))
    assert (requests, len(survey.money.outputs)) == (5 + len(MIX), 2)


async def test_what_was_read_at_another_height_than_monerods_is_not_kept() -> None:
    bench = Bench()
    ahead = CHAIN._replace(top="next", height=101)
    late, _ = await bench.look(ahead)
    assert late.height == CHAIN.height
    bench.all_hold(at=101)
    assert (await bench.look(ahead))[0].height == 101


@pytest.mark.parametrize("liar", ROLES)
async def test_i13_a_payment_that_one_wallet_alone_reports_is_none(liar: Role) -> None:
    bench = Bench()
    await bench.look()
    bench.wallets[liar].mined, bench.wallets[liar].pool = [HELD], [in_pool("1", "b")]
    for number in range(len(ROLES)):
        survey, _ = await bench.look(CHAIN._replace(top=str(number)))
        assert (survey.money.outputs, survey.money.announced) == ((), ())
    assert survey.money.dissenters == (liar,)


@pytest.mark.parametrize("liar", ROLES)
async def test_i13_a_payment_that_one_wallet_hides_is_noticed_within_two_blocks(liar: Role) -> None:
    bench = Bench()
    await bench.look()
    bench.all_hold(HELD)
    bench.wallets[liar].mined = []
    await bench.look(CHAIN._replace(top="1"))
    survey, _ = await bench.look(CHAIN._replace(top="2"))
    assert len(survey.money.outputs) == 1
    assert survey.money.dissenters == (liar,)


@pytest.mark.parametrize("liar", ROLES)
async def test_i13_a_wallet_on_another_chain_has_no_say_and_is_named(liar: Role) -> None:
    bench = Bench()
    bench.all_hold(HELD)
    bench.wallets[liar].at, bench.wallets[liar].mined = 5000, [output("9", "9")]
    survey, _ = await bench.look()
    assert (survey.height, [held.txid for held in survey.money.outputs]) == (100, [HELD.txid])
    assert "WalletSyncing" in str(survey.trouble)
    assert f"The {liar} wallet is at block 5000, monerod is at 100." in str(survey.trouble)


async def test_where_wallets_disagreed_all_are_asked_at_the_next_news() -> None:
    """A payment came while they were asked: the one that had it already has nothing new to say."""
    bench = Bench()
    bench.wallets[ROLES[0]].pool = [PAYMENT]
    assert (await bench.look())[0].money == NOTHING
    bench.all_hold(PAYMENT)
    for _ in range(2):
        await bench.look()
    survey, _ = await bench.look(CHAIN._replace(pool_size=1))
    assert len(survey.money.announced) == 1


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


async def test_the_tellers_closed_wallet_is_noticed_by_a_read() -> None:
    bench = Bench()
    await bench.look()
    teller = ROLES[1]
    bench.wallets[teller].held = None
    with pytest.raises(Blocked, match="WalletClosed"):
        await bench.look(CHAIN._replace(top="other"))
    assert bench.forgotten == [bench.slots[teller].uid]


async def test_after_a_look_that_failed_all_three_wallets_are_asked() -> None:
    """Else the next look, at another wallet, would call a session Ready of which one wallet is gone."""
    bench = Bench()
    await bench.look()
    gone = ROLES[1]
    bench.wallets[gone].held = None
    with pytest.raises(Blocked):
        await bench.looks(len(ROLES))
    for _ in range(3):
        survey, _ = await bench.look()
        assert f"The {gone} wallet" in str(survey.trouble)
    bench.wallets[gone].held = ADDRESS
    before = [wallet.asked["address"] for wallet in bench.wallets.values()]
    assert (await bench.look())[0].trouble is None
    after = [wallet.asked["address"] for wallet in bench.wallets.values()]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
    assert (await bench.look())[1] == 1


async def test_one_wallet_is_not_enough() -> None:
    bench = Bench()
    await bench.look()
    for role in ROLES[:2]:
        bench.wallets[role].held = None
    with pytest.raises(Blocked):
        await bench.looks(len(ROLES))
    with pytest.raises(Blocked, match="WalletClosed"):
        await bench.look()


@pytest.mark.parametrize("role", ROLES)
async def test_a_wallet_that_does_not_reach_monerod_is_noticed_and_told_until_it_does(role: Role) -> None:
    bench = Bench()
    await bench.look()
    wallet = bench.wallets[role]
    wallet.cut_off = True
    with pytest.raises(CutOff):
        await bench.looks(FULL_LOOK_EVERY * len(ROLES))
    assert isinstance((await bench.look())[0].trouble, CutOff)
    wallet.cut_off = False
    await bench.looks(FULL_LOOK_EVERY * len(ROLES))
    assert (await bench.look())[0].trouble is None


UNKNOWN = output("0.35", known=False)


async def test_key_images_are_exchanged_once_when_the_payment_was_mined() -> None:
    bench = Bench()
    bench.all_hold(UNKNOWN)
    facts = chain({"a": 1})
    assert await bench.share(facts)
    assert bench.exports == [1, 1, 1]
    assert [len(wallet.imported[0]) for wallet in bench.wallets.values()] == [2, 2, 2]
    survey, _ = await bench.look()
    assert all(held.key_image for held in survey.money.outputs)
    assert not await bench.share(facts)


async def test_dust_in_every_block_erases_no_nonces() -> None:
    bench = Bench()
    bench.all_hold(UNKNOWN)
    names = {"a": 100} | {f"d{number:02}": 1 for number in range(31)}
    await bench.share(chain(names))
    for number in range(31):
        bench.now += 120
        for wallet in bench.wallets.values():
            wallet.mined.append(output("0.000001", f"d{number:02}", known=False))
            wallet.at += 1
        height = 101 + number
        await bench.share(chain(names), mark=ChainMark(str(height), height, 0))
    assert bench.exports == [2, 2, 2], "the payment's, and one an hour"
    assert bench.now - 1000 > SECONDS_BETWEEN


async def test_what_completes_the_sum_is_exchanged_at_once_and_spent_money_completes_nothing() -> None:
    bench = Bench()
    bench.all_hold(output("0.35", "9"), output("0.2", "a", known=False))
    spent = chain({"9": 90, "a": 5, "b": 1}, spent=["9"])
    assert await bench.share(spent)
    for wallet in bench.wallets.values():
        wallet.mined.append(output("0.1", "d", known=False))
    assert not await bench.share(spent, mark=CHAIN._replace(top="1"))
    for wallet in bench.wallets.values():
        wallet.mined.append(output("0.15", "b", known=False))
    assert await bench.share(spent, mark=CHAIN._replace(top="2"))


async def test_a_reorganisation_makes_the_payment_new_again() -> None:
    bench = Bench()
    bench.all_hold(UNKNOWN)
    assert await bench.share(chain({"a": 5}))
    assert not await bench.share(chain({"a": 5}))
    bench.all_hold(UNKNOWN, at=101)
    assert await bench.share(chain({"a": 1}), mark=ChainMark("other", 101, 0))


async def test_one_wallets_garbage_keeps_the_others_from_nothing() -> None:
    bench = Bench()
    bench.all_hold(UNKNOWN)
    bench.wallets[Role.BUYER].info = "garbage"
    assert await bench.share(chain({"a": 5}))
    survey, _ = await bench.look()
    assert all(held.key_image for held in survey.money.outputs)
    assert bench.wallets[Role.VENDOR].imported == [["info"]]


async def test_an_exchange_that_changes_nothing_is_not_repeated_at_every_look() -> None:
    bench = Bench()
    bench.all_hold(UNKNOWN)
    for role in (Role.BUYER, Role.VENDOR):
        bench.wallets[role].info = "garbage"
    bench.wallets[Role.ARBITER].info = "garbage"
    facts = chain({"a": 5})
    assert await bench.share(facts)
    for _ in range(3):
        bench.now += RETRY_SECONDS + 1
        assert not await bench.share(facts)
    bench.now += SECONDS_BETWEEN
    assert await bench.share(facts)


async def test_a_wallet_that_lists_other_outputs_gives_no_key_images() -> None:
    """wallet-rpc takes them by their place in the list: they would be those of other outputs."""
    bench = Bench()
    bench.all_hold(UNKNOWN)
    bench.wallets[Role.VENDOR].mined.insert(0, output("9", "9", known=False))
    assert await bench.share(chain({"a": 5}))
    assert bench.exports == [1, 0, 1]
    assert bench.wallets[Role.VENDOR].imported == []


async def test_a_payout_needs_key_images_once_to_be_matched_and_once_for_its_change() -> None:
    bench = Bench()
    payout = "c".ljust(64, "0")
    before: dict[str, ChainTransaction | int] = {"9": 50, "a": 50, "c": 20}

    async def holding(*names: str, facts: ChainFacts) -> bool:
        """With dust that came since the last look."""
        bench.all_hold(output("0.35", "9"), *(output("0.01", name, known=False) for name in names))
        return await bench.share(facts, payout=payout, mark=CHAIN._replace(top="".join(names)))

    assert await holding("a", facts=chain(before))
    assert not await holding("a", "d", facts=chain(before | {"d": 3}))
    paid_out = before | {"c": transaction(20, spends=["9"]), "d": 3, "b": 3}
    assert not await holding("a", "d", "b", facts=chain(paid_out, spent_in_pool=["9"]))
    assert await holding("a", "d", facts=chain(paid_out, spent=["9"]))
    assert not await holding("a", "d", "b", facts=chain(paid_out, spent=["9"]))
