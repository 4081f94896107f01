"""One trade from its application to the payout, with real coins."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal

import pytest
import pytest_asyncio

from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import MultisigInfo, format_xmr, parse_xmr
from harness.api import ApiError, Body
from harness.chain import Chain
from harness.escrow import AMOUNT, Escrow, condition
from harness.place import Place
from harness.waiting import wait_for
from regtest.calls import transfer_by_txid
from regtest.payout import Platform

PAYOUT = "0.2"
LOCK_BLOCKS = 10


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trade(place: Place) -> Escrow:
    """A session with three wallets that the operator made."""
    return await place.active("trade")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def funded(trade: Escrow, chain: Chain) -> list[Body]:
    """The trade, paid by the customer: its status with the payment in the mempool, in a block, and final."""
    address = (await trade.status())["address"]
    payment = await chain.pay(address, AMOUNT)
    mempool = await trade.until(lambda s: s["funding"]["state"] == "Mempool", "the payment in the mempool")
    assert mempool["funding"]["txid"] == payment.txid
    await chain.mine(1)
    confirming = await trade.until(lambda s: s["funding"]["state"] == "Confirming", "the payment in a block")
    await chain.mine(LOCK_BLOCKS - 1)
    confirmed = await trade.until(
        lambda s: condition(s, "Funded").get("status") == "True" and s["balance"]["blocksToUnlock"] == 0, "funded"
    )
    return [mempool, confirming, confirmed]


async def test_the_three_wallets_are_one_2_of_3_multisig_with_the_published_address(trade: Escrow) -> None:
    status = await trade.status()
    async with trade.wallets() as wallets:
        addresses = await asyncio.gather(*(wallets[role].address() for role in ROLES))
        states = await asyncio.gather(*(wallets[role].is_multisig() for role in ROLES))
    assert set(addresses) == {status["address"]}
    assert set(states) == {MultisigInfo(multisig=True, ready=True, threshold=2, total=3)}


async def test_connection_secrets_and_status_name_the_same_endpoints(trade: Escrow) -> None:
    status = await trade.status()
    for role in ROLES:
        secret, wallet = await trade.connection(role), status["wallets"][role.value]
        assert secret["url"] == wallet["endpoint"] == f"https://{secret['host']}:{secret['port']}"
        assert wallet["secret"] == f"trade-{role}-rpc"
        assert wallet["opened"] is True
    assert len({(await trade.connection(role))["password"] for role in ROLES}) == len(ROLES)


async def test_a_payment_is_followed_from_the_mempool_to_confirmed(funded: list[Body]) -> None:
    mempool, confirming, confirmed = funded
    assert condition(mempool, "Funded")["reason"] == "InMempool"
    assert mempool["funding"] | {"txid": ""} == {
        "txid": "",
        "state": "Mempool",
        "received": AMOUNT,
        "confirmations": 0,
        "pending": AMOUNT,
    }
    assert condition(confirming, "Funded")["status"] == "False"
    assert confirming["funding"]["confirmations"] == 1
    assert confirmed["funding"]["state"] == "Confirmed"
    assert confirmed["funding"]["confirmations"] == LOCK_BLOCKS


async def test_the_balance_is_exact_and_says_when_it_can_be_spent(funded: list[Body], trade: Escrow) -> None:
    confirmed = funded[-1]
    assert confirmed["balance"] == {"total": AMOUNT, "unlocked": AMOUNT, "blocksToUnlock": 0}
    confirming = funded[1]
    if "balance" in confirming:  # absent while the wallets have yet to exchange key images
        assert confirming["balance"] == {"total": AMOUNT, "unlocked": "0", "blocksToUnlock": LOCK_BLOCKS - 1}
    assert condition(await trade.status(), "DaemonSynced")["status"] == "True"


async def test_kubectl_get_reads_well(funded: list[Body], trade: Escrow) -> None:
    assert funded
    sessions = (await trade.place.kubectl("get", "escrow")).splitlines()
    assert sessions[0].split() == ["NAME", "PHASE", "OPEN", "FUNDED", "BALANCE", "CONFIRMATIONS", "AGE"]
    name, phase, is_open, was_funded, balance, confirmations, _ = sessions[1].split()
    assert (name, phase, is_open, was_funded) == ("trade", "Active", "True", "True")
    assert Decimal(balance) <= Decimal(AMOUNT)
    assert int(confirmations) >= LOCK_BLOCKS
    await trade.place.until_pool("Ready", "True")
    await trade.place.until_refilled()
    pools = (await trade.place.kubectl("get", "wpool")).splitlines()
    assert pools[0].split() == ["NAME", "READY", "WARM", "FREE", "PREPARED", "ADOPTED", "SESSIONS", "SYNCED", "AGE"]
    assert pools[1].split()[:8] == ["pool", "True", "1", "1/1/1", "0", "1/1/1", "1", "True"]
    both = await trade.place.kubectl("get", "escrow,wpool", "-o", "wide")
    assert (await trade.status())["address"] in both


@pytest.mark.parametrize("change", [{"amount": "0.1"}, {"confirmations": 1}])
async def test_what_a_payer_relies_on_cannot_change_once_there_is_an_address(
    trade: Escrow, change: dict[str, object]
) -> None:
    with pytest.raises(ApiError, match="cannot change once the address was published"):
        await trade.change(**change)


async def test_kubectl_describe_tells_the_story(funded: list[Body], trade: Escrow) -> None:
    assert funded
    told = await trade.place.kubectl("describe", "escrow", "trade")
    events = told[told.index("\nEvents:") :]
    story = ["SlotsClaimed", "KeysExchanged", "WalletsOpen", "InMempool", "Confirming", "Confirmed"]
    places = [events.find(f"  {reason}  ") for reason in story]
    assert -1 not in places, f"{dict(zip(story, places, strict=True))} in\n{events}"
    assert places == sorted(places)
    assert not re.search(r"(?m)^ +Warning", events), events


async def test_two_wallets_pay_out_and_the_money_arrives(funded: list[Body], trade: Escrow, chain: Chain) -> None:
    """The vendor's wallet proposes and the arbiter's signs, over the RPC that the connection Secrets open."""
    before = parse_xmr(funded[-1]["balance"]["total"])
    async with trade.wallets(Role.VENDOR, Role.ARBITER) as wallets:
        platform = Platform(wallets[Role.VENDOR], wallets[Role.ARBITER])
        txid = await platform.pay(chain.customer.address, parse_xmr(PAYOUT))
    await chain.mine(1)

    async def arrived() -> int:
        await chain.customer_wallet.refresh()
        transfer = await transfer_by_txid(chain.customer_wallet, txid)
        return transfer.integer("amount") if transfer and transfer.integer("confirmations", 0) else 0

    assert await wait_for(arrived, what="the payout to arrive") == parse_xmr(PAYOUT)
    status = await trade.until(
        lambda s: "balance" in s and parse_xmr(s["balance"]["total"]) < before - parse_xmr(PAYOUT),
        "the balance without the payout and its fee",
    )
    left = parse_xmr(status["balance"]["total"])
    fee = before - parse_xmr(PAYOUT) - left
    assert 0 < fee < parse_xmr("0.01"), format_xmr(fee)
