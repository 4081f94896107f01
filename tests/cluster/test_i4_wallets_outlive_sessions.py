"""Invariant I4: nothing that could unlock money goes with a session; applied again, it opens the same wallets."""

from __future__ import annotations

import asyncio

import pytest_asyncio

from escrow_operator.adapters.kube import POOLS, SECRETS, VOLUME_CLAIMS
from escrow_operator.models.common import ROLES
from harness.api import Body
from harness.chain import Chain
from harness.escrow import AMOUNT, Escrow, condition
from harness.place import POOL, Place
from harness.waiting import wait_for


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed(place: Place, chain: Chain) -> tuple[Escrow, Body]:
    """A session that was funded and deleted, and its last status."""
    escrow = await place.active("kept", confirmations=1)
    await chain.pay((await escrow.status())["address"], AMOUNT)
    await chain.mine(1)
    status = await escrow.until(lambda s: condition(s, "Funded").get("status") == "True", "funded")
    await escrow.delete()
    return escrow, status


def _files(status: Body) -> dict[str, str]:
    return {role: wallet["file"] for role, wallet in status["wallets"].items()}


async def _reopened(escrow: Escrow, before: Body) -> None:
    status = await escrow.until(lambda s: condition(s, "Funded").get("status") == "True", "funded again")
    assert status["address"] == before["address"]
    assert _files(status) == _files(before)
    assert status["balance"]["total"] == before["balance"]["total"] == AMOUNT


async def test_i4_deeds_and_volumes_stay_and_connections_go(place: Place, closed: tuple[Escrow, Body]) -> None:
    escrow, before = closed
    for role in ROLES:
        secret = await place.api.get(SECRETS, place.namespace, f"kept-{role}-wallet")
        assert "ownerReferences" not in secret["metadata"]
        deed = await escrow.deed(role)
        assert deed["address"] == before["address"]
        assert deed["file"] == _files(before)[role]
        claim = await place.api.get(VOLUME_CLAIMS, place.namespace, f"{POOL}-{role}-wallets")
        assert "ownerReferences" not in claim["metadata"]

    async def withdrawn() -> bool:
        left = [await place.api.find(SECRETS, place.namespace, f"kept-{role}-rpc") for role in ROLES]
        return not any(left)

    await wait_for(withdrawn, what="the connection Secrets to be collected as garbage")


async def test_i4_a_deleted_session_applied_again_opens_the_same_wallets(closed: tuple[Escrow, Body]) -> None:
    escrow, before = closed
    await escrow.apply(confirmations=1)
    await _reopened(escrow, before)
    await escrow.until_event("WalletsReused")
    await escrow.delete()


async def test_i4_setup_open_reopens_the_wallets_of_a_deleted_session(
    place: Place, closed: tuple[Escrow, Body]
) -> None:
    former, before = closed
    escrow = place.escrow("opener")
    wallets = await former.deeds_as_wallets()
    await escrow.apply(setup="Open", wallets=wallets, address=before["address"], confirmations=1)
    await _reopened(escrow, before)
    await escrow.delete()
    assert await asyncio.gather(*(former.deed(role) for role in ROLES))


async def test_i4_wallets_outlive_even_their_pool(place: Place, closed: tuple[Escrow, Body]) -> None:
    escrow, before = closed
    await place.api.delete(POOLS, place.namespace, POOL)

    async def gone() -> bool:
        return not await place.slots() and not await place.api.find(POOLS, place.namespace, POOL)

    await wait_for(gone, what="the pool and its pods to be gone", explain=place.explain)
    await place.make_pool()
    await escrow.apply(confirmations=1)
    await _reopened(escrow, before)
    await escrow.delete()


async def test_i4_a_lost_deed_stops_the_session_instead_of_making_fresh_wallets(
    place: Place, closed: tuple[Escrow, Body]
) -> None:
    """Last here: it takes a deed away, and puts it back."""
    escrow, before = closed
    name = "kept-vendor-wallet"
    deed = await place.api.get(SECRETS, place.namespace, name)
    await place.api.delete(SECRETS, place.namespace, name)
    await escrow.apply(confirmations=1)
    ready = await escrow.until_condition("Ready", "False", "DeedMissing")
    assert name in ready["message"]
    assert not await escrow.pods()
    meta = {key: deed["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    backup = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": deed["type"], "data": deed["data"]}
    await place.api.apply(SECRETS, place.namespace, backup)
    await escrow.change(ttl="3h")
    await _reopened(escrow, before)
    await escrow.delete()
