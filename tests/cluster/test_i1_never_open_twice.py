"""Invariant I1: a wallet file is never open in two pods."""

from __future__ import annotations

import asyncio

from escrow_operator.models.common import Label
from harness.escrow import Escrow
from harness.place import Place

WARM_SLOTS = 2


async def test_i1_a_second_session_on_the_same_wallets_waits_until_the_first_has_closed_them(place: Place) -> None:
    maker = await place.active("maker")
    wallets = await maker.deeds_as_wallets()
    await maker.delete()
    first, second = place.escrow("first"), place.escrow("second")
    await asyncio.gather(first.apply(setup="Open", wallets=wallets), second.apply(setup="Open", wallets=wallets))

    async def either() -> Escrow:
        tasks = {asyncio.create_task(escrow.until_active()): escrow for escrow in (first, second)}
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        winner = done.pop()
        await winner
        return tasks[winner]

    opened = await either()
    waiting = second if opened is first else first
    ready = await waiting.until_condition("Ready", "False", "WalletInUse")
    assert opened.name in ready["message"]
    assert (await waiting.status())["phase"] == "Pending"
    assert not await waiting.pods(), "a session that waits for a wallet holds slots that others could use"
    files = [pod["metadata"]["annotations"].get(Label.WALLET_FILE) for pod in await place.slots()]
    assert {files.count(wallet["file"]) for wallet in wallets.values()} == {len(wallets)}, "one name, a pod per role"
    address = (await opened.status())["address"]
    await opened.delete()
    assert (await waiting.until_active())["address"] == address
    await waiting.delete()
