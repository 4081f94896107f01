"""The end of a trade: a payout followed until it is final, and what can go wrong with it."""

from __future__ import annotations

import asyncio

import pytest

from escrow_operator.models.common import Role
from escrow_operator.models.monero import parse_xmr
from harness.chain import Chain
from harness.escrow import AMOUNT, Escrow, condition
from harness.operator import OperatorUnderTest
from harness.place import Place
from regtest.payout import Platform

CONFIRMATIONS = 3
LOCK_BLOCKS = 10
UNKNOWN = "ab" * 32


async def funded(place: Place, chain: Chain, *names: str) -> list[Escrow]:
    """Sessions that were paid, and whose money can be spent."""
    escrows = await asyncio.gather(*(place.active(name, confirmations=CONFIRMATIONS) for name in names))
    for escrow in escrows:
        await chain.pay((await escrow.status())["address"], AMOUNT)
        await escrow.until(lambda s: s["funding"]["state"] == "Mempool", "the payment in the mempool")
    await chain.mine(LOCK_BLOCKS)
    for escrow in escrows:
        await escrow.until(
            lambda s: condition(s, "Funded").get("status") == "True" and s["balance"]["blocksToUnlock"] == 0, "funded"
        )
    return escrows


async def pay_out(escrow: Escrow, chain: Chain, xmr: str | None = None) -> str:
    """The platform pays all, or an amount, to somebody, with the vendor's and the arbiter's wallets."""
    async with escrow.wallets(Role.VENDOR, Role.ARBITER) as wallets:
        platform = Platform(wallets[Role.VENDOR], wallets[Role.ARBITER])
        if xmr:
            return await platform.pay(chain.customer.address, parse_xmr(xmr))
        [txid] = await platform.sweep(chain.customer.address)
        return txid


@pytest.mark.timeout(600, func_only=True)
async def test_release_and_refund_end_in_their_phases_and_free_the_slots(place: Place, chain: Chain) -> None:
    release, refund = await funded(place, chain, "release", "refund")
    for escrow, outcome, phase in ((release, "Release", "Completed"), (refund, "Refund", "Refunded")):
        txid = await pay_out(escrow, chain)
        await escrow.change(settlement={"outcome": outcome, "txid": txid})
        settling = await escrow.until_phase("Settling")
        assert settling["settlement"] == {"txid": txid, "confirmations": 0, "state": "Mempool"}
        assert "expiresAt" not in settling
        assert condition(settling, "Funded")["reason"] == "PaidOut"
        await chain.mine(1)
        await escrow.until(lambda s: s["settlement"]["state"] == "Confirming", "the payout in a block")
        await chain.mine(CONFIRMATIONS - 1)
        done = await escrow.until_phase(phase)
        assert condition(done, "Settled")["status"] == "True"
        assert condition(done, "Ready")["reason"] == "Settled"
        assert done["settlement"]["confirmations"] >= CONFIRMATIONS
        assert "wallets" not in done
    await place.until_warm()
    status = await place.pool()
    assert (status["activeSessions"], status["utilisation"]) == (0, "0%")


async def test_a_payout_nobody_knows_leaves_the_session_usable_until_the_right_one_is_named(
    place: Place, chain: Chain
) -> None:
    [escrow] = await funded(place, chain, "mistaken")
    await escrow.change(settlement={"outcome": "Release", "txid": UNKNOWN})
    missing = await escrow.until_condition("Settled", "False", "TransactionNotFound")
    assert "make another payout and set spec.settlement" in missing["message"]
    status = await escrow.status()
    assert status["phase"] == "Active"
    assert condition(status, "Ready")["status"] == "True"

    funding = status["funding"]["txid"]
    await escrow.change(settlement={"outcome": "Release", "txid": funding})
    await escrow.until_condition("Settled", "False", "NotAPayout")

    await escrow.change(settlement={"outcome": "Release", "txid": await pay_out(escrow, chain)})
    await escrow.until_phase("Settling")
    with pytest.raises(Exception, match="cannot change while its transaction is being followed"):
        await escrow.change(settlement={"outcome": "Refund", "txid": UNKNOWN})
    await chain.mine(CONFIRMATIONS)
    await escrow.until_phase("Completed")
    with pytest.raises(Exception, match="cannot change while its transaction is being followed"):
        await escrow.change(settlement={"outcome": "Refund", "txid": UNKNOWN})
    await escrow.delete()


async def test_a_payout_that_vanishes_from_the_mempool_leaves_the_session_usable(place: Place, chain: Chain) -> None:
    [escrow] = await funded(place, chain, "vanishing")
    await escrow.change(settlement={"outcome": "Release", "txid": await pay_out(escrow, chain)})
    await escrow.until_phase("Settling")
    await chain.daemon.flush_mempool()
    await chain.mine(1)
    back = await escrow.until_phase("Active")
    assert condition(back, "Settled")["reason"] == "TransactionNotFound"
    await escrow.delete()


@pytest.mark.timeout(600, func_only=True)
async def test_i7_killed_while_settling_and_while_closing_the_next_operator_finishes(
    place: Place, chain: Chain, operator: OperatorUnderTest
) -> None:
    [escrow] = await funded(place, chain, "killed")
    await escrow.change(settlement={"outcome": "Refund", "txid": await pay_out(escrow, chain)})
    await escrow.until_phase("Settling")
    await operator.kill()
    await chain.mine(CONFIRMATIONS)
    await escrow.until_phase("Refunded")
    await operator.kill()
    await place.until_warm()
    assert not await escrow.pods()


@pytest.mark.timeout(600, func_only=True)
async def test_a_payout_that_leaves_money_ends_the_trade_only_when_that_is_wanted(place: Place, chain: Chain) -> None:
    [escrow] = await funded(place, chain, "partial")
    settlement = {"outcome": "Release", "txid": await pay_out(escrow, chain, "0.3")}
    await escrow.change(settlement=settlement)
    await escrow.until_phase("Settling")
    await chain.mine(CONFIRMATIONS)
    left = await escrow.until_condition("Settled", "True", "RemainderLeft")
    status = await escrow.until_active()
    assert f"{status['settlement']['remainder']} XMR are left in the escrow" in left["message"]
    remainder = status["settlement"]["remainder"]
    # Known when the change's key image is: the wallets exchange theirs after the payout was seen in a block.
    await escrow.until(lambda s: (s.get("balance") or {}).get("total") == remainder, "the remainder as its balance")
    assert "expiresAt" in status
    await escrow.change(settlement={**settlement, "remainder": "Keep"})
    done = await escrow.until_phase("Completed")
    assert condition(done, "Settled")["reason"] == "Final"
    await escrow.delete()


@pytest.mark.timeout(600, func_only=True)
async def test_a_session_applied_again_is_not_funded_by_what_was_spent(place: Place, chain: Chain) -> None:
    [escrow] = await funded(place, chain, "again")
    await escrow.change(settlement={"outcome": "Release", "txid": await pay_out(escrow, chain)})
    await escrow.until_phase("Settling")
    await chain.mine(CONFIRMATIONS)
    await escrow.until_phase("Completed")
    await escrow.delete()
    await escrow.apply(confirmations=CONFIRMATIONS)
    refused = await escrow.until_condition("Ready", "False", "NameSettled")
    assert "reuseSettledWallets" in refused["message"]
    assert not await escrow.pods()
    await escrow.change(reuseSettledWallets=True)
    status = await escrow.until_active()
    assert condition(status, "Funded")["reason"] == "Spent"
    assert "moneyMovedAt" not in status, "that was the former trade's"
    async with escrow.history() as history:
        payment = await chain.pay(status["address"], AMOUNT)
        seen = await escrow.until(lambda s: s["funding"].get("txid") == payment.txid, "the payment in the mempool")
        assert (seen["funding"]["received"], seen["funding"]["pending"]) == (AMOUNT, AMOUNT)
        assert condition(seen, "Funded")["reason"] == "InMempool"
    assert all(condition(status, "Funded").get("status") != "True" for status in history)
    await chain.mine(CONFIRMATIONS)
    await escrow.until_condition("Funded", "True")
    await escrow.delete()
