"""Invariant I7: all state is in the cluster. Kill the operator at any line and the next one carries on."""

from __future__ import annotations

import asyncio

from escrow_operator.models.common import FINALIZER, ROLES
from harness.api import Body
from harness.escrow import Escrow
from harness.operator import OperatorUnderTest
from harness.place import Place
from harness.waiting import wait_for


async def _uids(escrow: Escrow) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await escrow.pods()}


async def test_i7_killed_in_the_key_exchange_and_again_after_it(place: Place, operator: OperatorUnderTest) -> None:
    escrow = place.escrow("interrupted")
    await escrow.apply()
    await escrow.until_event("SlotsClaimed")
    await operator.kill()
    held = await _uids(escrow)
    assert len(held) == len(ROLES)
    await escrow.until_event("KeysExchanged")
    await operator.kill()
    status = await escrow.until_active()
    assert await _uids(escrow) == held, "a claim is sticky: the next operator takes the slots the session has"
    async with escrow.wallets() as wallets:
        addresses = await asyncio.gather(*(wallets[role].address() for role in ROLES))
    assert set(addresses) == {status["address"]}
    assert {(await escrow.deed(role))["address"] for role in ROLES} == {status["address"]}


async def test_i7_an_active_session_notices_nothing_of_a_crash(place: Place, operator: OperatorUnderTest) -> None:
    escrow = place.escrow("interrupted")
    before, held = await escrow.until_active(), await _uids(escrow)
    async with escrow.history() as history:
        await operator.kill()
        await operator.until_ready()
        # The next operator has certainly looked at it once it has served a session that is younger.
        probe = await place.active("probe")
        await probe.delete()
    assert {status["phase"] for status in history} == {"Active"}
    after = await escrow.until_active()
    assert await _uids(escrow) == held
    assert (after["address"], after["openedAt"], after["wallets"]) == (
        before["address"],
        before["openedAt"],
        before["wallets"],
    )


async def test_i7_deleted_applied_and_opened_while_no_operator_runs(place: Place, operator: OperatorUnderTest) -> None:
    leaving, coming = place.escrow("interrupted"), place.escrow("latecomer")
    before, held = await leaving.until_active(), await _uids(leaving)
    await operator.scale(0)
    try:
        await asyncio.gather(leaving.delete(wait=False), coming.apply())
        body = await leaving.get()
        assert "deletionTimestamp" in body["metadata"]
        assert FINALIZER in body["metadata"]["finalizers"], "its wallets were not closed yet"
        assert await _uids(leaving) == held, "its pods hold open wallets until they are closed"
    finally:
        await operator.scale(1)
    await asyncio.gather(leaving.until_gone(), coming.until_active())
    assert {(await leaving.deed(role))["address"] for role in ROLES} == {before["address"]}
    await coming.delete()
    await place.until_warm()


async def test_i7_killed_while_it_opens_existing_wallets(place: Place, operator: OperatorUnderTest) -> None:
    former = place.escrow("interrupted")
    wallets = await former.deeds_as_wallets()
    address = (await former.deed(ROLES[0]))["address"]
    escrow = place.escrow("reopened")
    await escrow.apply(setup="Open", wallets=wallets, address=address)

    async def opening() -> Body | None:
        status = await escrow.status()
        return status if status.get("phase") == "Opening" else None

    await wait_for(opening, what="the session to open its wallets", explain=escrow.explain)
    await operator.kill()
    assert (await escrow.until_active())["address"] == address
    await escrow.delete()
    await place.until_warm()
