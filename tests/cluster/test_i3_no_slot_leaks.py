"""Invariants I2 and I3: a slot serves one session, a session has three, and every pod is counted exactly once."""

from __future__ import annotations

import asyncio

import pytest_asyncio

from escrow_operator.core.manifests.common import deployment_name
from escrow_operator.models.common import ROLES, Label
from escrow_operator.models.pool import PoolKey
from harness.api import NAMESPACES, Body
from harness.escrow import Escrow
from harness.place import POOL, Place
from harness.waiting import wait_for

BURST = 3
COUNTS = ("free", "adopted", "starting", "terminating")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def burst(place: Place) -> list[Escrow]:
    """Three sessions applied at once, with one warm slot per role: two of them have to wait for more."""
    escrows = [place.escrow(f"burst-{number}") for number in range(BURST)]
    await asyncio.gather(*(escrow.apply() for escrow in escrows))
    await asyncio.gather(*(escrow.until_active() for escrow in escrows))
    return escrows


def _uid(body: Body) -> str:
    uid: str = body["metadata"]["uid"]
    return uid


async def test_i2_three_sessions_at_once_get_nine_different_pods(place: Place, burst: list[Escrow]) -> None:
    held = {escrow.name: await escrow.pods() for escrow in burst}
    assert {len(pods) for pods in held.values()} == {len(ROLES)}
    assert len({_uid(pod) for pods in held.values() for pod in pods}) == BURST * len(ROLES)
    for escrow in burst:
        session = await escrow.get()
        for pod in held[escrow.name]:
            meta, role = pod["metadata"], pod["metadata"]["labels"][Label.ROLE]
            [owner] = meta["ownerReferences"]
            assert (owner["kind"], owner["uid"]) == ("EscrowSession", session["metadata"]["uid"])
            wallet = session["status"]["wallets"][role]
            assert wallet["pod"] == meta["name"]
            assert wallet["file"] == meta["annotations"][Label.WALLET_FILE]
    addresses = {(await escrow.status())["address"] for escrow in burst}
    assert len(addresses) == BURST
    assert place.namespace


async def test_i2_no_volume_holds_two_of_the_three_keys(burst: list[Escrow]) -> None:
    for escrow in burst:
        claims = [
            volume["persistentVolumeClaim"]["claimName"]
            for pod in await escrow.pods()
            for volume in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        assert sorted(claims) == sorted(f"{POOL}-{role}-wallets" for role in ROLES)


async def test_the_pool_is_refilled_by_itself(place: Place, burst: list[Escrow]) -> None:
    await place.until_refilled()
    held = {_uid(pod) for escrow in burst for pod in await escrow.pods()}
    free = {_uid(pod) for pod in await place.free_slots()}
    assert len(free) >= len(ROLES)
    assert not held & free


async def test_i3_all_slots_are_back_after_the_sessions_are_gone(place: Place, burst: list[Escrow]) -> None:
    held = {_uid(pod) for escrow in burst for pod in await escrow.pods()}
    assert len(held) == BURST * len(ROLES)
    assert await _miscounted(place) == ""
    await asyncio.gather(*(escrow.delete(wait=False) for escrow in burst))

    async def counted() -> bool:
        return await _miscounted(place) == ""

    # While pods come and go every one of them is in some count, or will be with the operator's next look.
    await wait_for(counted, what="counts that add up to the pods there are", explain=place.explain)
    await asyncio.gather(*(escrow.until_gone() for escrow in burst))
    status = await place.until_warm(1)
    assert status["activeSessions"] == 0
    assert status["waitingSessions"] == 0
    assert await _miscounted(place) == ""
    assert not held & {_uid(pod) for pod in await place.slots()}, "a slot that served a session is used again"


async def test_the_scale_subresource_sets_the_warm_slots(place: Place) -> None:
    await place.kubectl("scale", "wpool", POOL, "--replicas=2")
    await place.until_warm(2)
    for role in ROLES:
        name = deployment_name(PoolKey(place.namespace, POOL), role)
        assert (await place.kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}")) == "2"
    await place.kubectl("scale", "wpool", POOL, "--replicas=1")
    await place.until_warm(1)


async def test_i3_a_deleted_namespace_goes_with_its_active_session(place: Place) -> None:
    """Last here: it takes the place away. Wallets are closed, and no finalizer is left that nobody handles."""
    escrow = await place.active("last")
    assert len(await escrow.pods()) == len(ROLES)
    await place.close()

    async def gone() -> bool:
        return await place.api.find(NAMESPACES, None, place.namespace) is None

    await wait_for(gone, what=f"namespace {place.namespace} to be gone", explain=place.explain)


async def _miscounted(place: Place) -> str:
    """What the pool counts, if it is not the pods there are, by role."""
    status, pods = await place.pool(), await place.slots()
    for role in ROLES:
        there = sum(pod["metadata"]["labels"][Label.ROLE] == role for pod in pods)
        counts = {count: status[count][role.value] for count in COUNTS}
        if sum(counts.values()) != there:
            return f"{role}: {counts}, but {there} pods"
    return ""
