"""Invariant I8: status never says Ready or Funded on stale knowledge."""

from __future__ import annotations

import pytest
import pytest_asyncio

from harness.api import Body
from harness.chain import Chain
from harness.escrow import AMOUNT, Escrow, condition
from harness.place import Place
from harness.waiting import PATIENCE

HUNG_WALLET_SECONDS = 600.0
"""A wallet that was scanning when monerod's pod went waits on the dead connection, on its only thread, until Monero's
own timeout of 210 s, and may do so once more before it connects anew."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def funded(place: Place, chain: Chain) -> Escrow:
    """A session that one confirmation funds, and that has it."""
    escrow = await place.active("funded", confirmations=1)
    await chain.pay((await escrow.status())["address"], AMOUNT)
    await chain.mine(1)
    await _until_funded(escrow)
    return escrow


async def _until_funded(escrow: Escrow, *, within: float = PATIENCE) -> Body:
    return await escrow.until(
        lambda s: condition(s, "Funded").get("status") == condition(s, "Ready").get("status") == "True",
        "Ready and Funded",
        within=within,
    )


@pytest.mark.timeout(900, func_only=True)
async def test_i8_not_ready_and_not_funded_while_monerod_is_down(funded: Escrow, chain: Chain) -> None:
    async with funded.history() as history:
        await chain.scale(0)
        try:
            down = await funded.until_condition("DaemonSynced", "False", "DaemonUnreachable")
            await funded.place.until_pool("DaemonSynced", "False", "DaemonUnreachable")
            ready = await funded.until_condition("Ready", "False", "DaemonUnreachable")
            funding = await funded.until_condition("Funded", "Unknown")
            assert "Check spec.daemon" in down["message"]
            assert ready["message"] == down["message"]
            assert funding["reason"] == "DaemonUnreachable"
        finally:
            await chain.scale(1)
        await _until_funded(funded, within=HUNG_WALLET_SECONDS)
    for status in history:
        if condition(status, "DaemonSynced")["status"] != "True":
            assert condition(status, "Ready")["status"] != "True"
            assert condition(status, "Funded")["status"] != "True"
    assert {status["phase"] for status in history} == {"Active"}, "the wallets stay open meanwhile"
    assert condition(await funded.status(), "DaemonSynced")["status"] == "True"


async def test_i8_a_reorganisation_takes_funded_back(funded: Escrow, chain: Chain) -> None:
    status = await _until_funded(funded)
    await chain.daemon.pop_blocks(status["funding"]["confirmations"])
    await chain.daemon.flush_mempool()
    # A longer chain without the payment.
    await chain.mine(status["funding"]["confirmations"] + 1)
    lost = await funded.until_condition("Funded", "False", "AwaitingPayment")
    assert AMOUNT in lost["message"]
    status = await funded.until_active()
    assert status["balance"]["total"] == "0"
    assert status["funding"] == {"state": "Awaiting", "received": "0", "confirmations": 0}

    payment = await chain.pay(status["address"], AMOUNT)
    await chain.mine(1)
    status = await _until_funded(funded)
    assert status["funding"]["txid"] == payment.txid
    assert status["balance"]["total"] == AMOUNT
