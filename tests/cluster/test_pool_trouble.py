"""Pools that cannot work: a condition says why, sessions wait, and mending the pool mends them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest_asyncio

from escrow_operator.core.secretuse import SecretUse
from escrow_operator.models.common import Label
from harness.escrow import condition
from harness.place import Place
from harness.waiting import wait_for
from testbed import regtest

WARM_SLOTS = None

POOLS: dict[str, dict[str, Any]] = {
    "offline": {"daemon": {"address": "nowhere.invalid:18081", "network": "regtest"}, "warmSlots": 0},
    "foreign": {"daemon": {"address": regtest.RPC_ADDRESS, "network": "stagenet"}},
    "secretless": {
        "daemon": {"address": regtest.RPC_ADDRESS, "network": "regtest", "loginSecretRef": {"name": "made-later"}}
    },
    "imageless": {"image": "localhost/no-such-image:1"},
    "homeless": {"storage": {"storageClassName": "no-such-class"}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _pools(place: Place) -> None:
    """All of them at once, and a session for each: one sick pool delays no other (I10)."""
    await asyncio.gather(*(place.make_pool(name, **spec) for name, spec in POOLS.items()))
    await asyncio.gather(*(place.escrow(f"in-{name}").apply(poolRef={"name": name}) for name in POOLS))


async def test_a_monerod_that_does_not_answer(place: Place) -> None:
    synced = await place.until_pool("DaemonSynced", "False", "DaemonUnreachable", name="offline")
    assert "nowhere.invalid:18081" in synced["message"]
    escrow = place.escrow("in-offline")
    ready = await escrow.until_condition("Ready", "False", "DaemonUnreachable")
    assert "Check spec.daemon" in ready["message"]
    assert (await escrow.status())["phase"] == "Pending"


async def test_a_monerod_of_another_network(place: Place) -> None:
    synced = await place.until_pool("DaemonSynced", "False", "WrongNetwork", name="foreign")
    assert "is on fakechain, the WalletPool says stagenet" in synced["message"]
    escrow = place.escrow("in-foreign")
    ready = await escrow.until_condition("Ready", "False", "WrongNetwork")
    assert "No wallet is opened" in ready["message"]
    ready = await place.until_pool("Ready", "False", "WrongNetwork", name="foreign")
    assert ready["message"] == synced["message"]
    assert not await escrow.pods(), "it holds slots that it cannot use"
    assert (await escrow.status())["phase"] == "Pending"


async def test_a_login_whose_secret_is_made_later(place: Place) -> None:
    ready = await place.until_pool("Ready", "False", "DaemonSecretsNotRead", name="secretless")
    assert "made-later" in ready["message"]
    await place.secret("made-later", {"username": "nobody"}, use=None)
    ready = await place.until_pool("Ready", "False", "SecretNotMarked", name="secretless")
    assert "label secret made-later" in ready["message"]
    assert not await place.slots(f"{Label.POOL}=secretless")
    await place.secret("made-later", {"username": "nobody"}, use=SecretUse.MONEROD)

    async def a_key_is_missing() -> bool:
        ready = condition(await place.pool("secretless"), "Ready")
        return "does not have username and password" in ready.get("message", "")

    await wait_for(a_key_is_missing, what="the missing key to be named", explain=place.explain)
    await place.secret("made-later", {"username": "nobody", "password": "asks-for-it"}, use=SecretUse.MONEROD)
    await place.until_pool("Ready", "True", name="secretless")


async def test_a_storage_class_that_does_not_exist(place: Place) -> None:
    ready = await place.until_pool("Ready", "False", "StorageClassNotFound", name="homeless")
    assert "no-such-class" in ready["message"]
    assert "Create it" in ready["message"]
    await place.escrow("in-homeless").until_condition("Ready", "False", "PoolEmpty")


async def test_an_image_that_does_not_start_and_one_that_does(place: Place) -> None:
    ready = await place.until_pool("Ready", "False", "SlotsNotStarting", name="imageless")
    assert "Check spec.image" in ready["message"]
    escrow = place.escrow("in-imageless")
    waiting = await escrow.until_condition("Ready", "False", "PoolEmpty")
    assert "imageless has no free slot for buyer, vendor, arbiter" in waiting["message"]
    await place.make_pool("imageless")
    await escrow.until_active()
    await place.until_pool("Ready", "True", name="imageless")

    async def only_the_new_image() -> bool:
        pods = await place.slots(f"{Label.POOL}=imageless")
        return {pod["spec"]["containers"][0]["image"] for pod in pods} == {place.world.images.wallet}

    # The pool is Ready with its new pods, while kubelet may still end the old ones.
    await wait_for(only_the_new_image, what="the pods with the wrong image to be gone", explain=place.explain)


async def test_i10_sick_pools_end_with_their_sessions(place: Place) -> None:
    """A session that waits for a sick pool, and the pool itself, can be deleted like any other."""
    await asyncio.gather(*(place.escrow(f"in-{name}").delete() for name in POOLS))
