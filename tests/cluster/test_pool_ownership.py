"""A pool takes nothing that is somebody else's, and a deleted one stays for as long as a session uses it."""

from __future__ import annotations

import asyncio

from escrow_operator.adapters.kube import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    POOLS,
    SECRETS,
    SERVICES,
    VOLUME_CLAIMS,
    Resource,
)
from escrow_operator.core.manifests.common import deployment_name, login_key_name, service_name, volume_claim_name
from escrow_operator.models.common import POOL_FINALIZER, ROLES, Label, Role
from escrow_operator.models.pool import PoolKey
from harness.api import NAMESPACES, Body
from harness.operator import OperatorUnderTest
from harness.place import POOL, Place
from harness.waiting import wait_for


def _named(name: str, **more: Body) -> Body:
    return {"metadata": {"name": name}, **more}


async def test_names_that_were_taken_before_are_left_to_their_owners(place: Place) -> None:
    """One pool for each kind; the operator mends itself when the name is free."""
    keys = {kind: PoolKey(place.namespace, f"taken-{kind}") for kind in ("secret", "service", "deployment", "policy")}
    labels = {"app": "theirs"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "theirs.invalid/x"}]}}
    taken: dict[str, tuple[Resource, str, Body]] = {
        "secret": (SECRETS, login_key_name(keys["secret"]), {"stringData": {"key": "00" * 32}}),
        "service": (SERVICES, service_name(keys["service"]), {"spec": {"selector": labels, "ports": [{"port": 1}]}}),
        "deployment": (
            DEPLOYMENTS,
            deployment_name(keys["deployment"], Role.VENDOR),
            {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}},
        ),
        "policy": (NETWORK_POLICIES, service_name(keys["policy"]), {"spec": {"podSelector": {"matchLabels": labels}}}),
    }
    theirs = {}
    for kind, (resource, name, more) in taken.items():
        theirs[kind] = await place.api.create(resource, place.namespace, _named(name, **more))
    await asyncio.gather(*(place.make_pool(key.name, networkPolicy={"enabled": True}) for key in keys.values()))
    for kind, (resource, name, _) in taken.items():
        ready = await place.until_pool("Ready", "False", "ObjectNotOurs", name=keys[kind].name)
        assert name in ready["message"]
        stalled = await place.until_pool("Stalled", "True", "ObjectNotOurs", name=keys[kind].name)
        assert stalled["observedGeneration"] == 1
        there = await place.api.get(resource, place.namespace, name)
        assert there["metadata"].get("labels") == theirs[kind]["metadata"].get("labels")
        assert there["metadata"]["uid"] == theirs[kind]["metadata"]["uid"]
        assert "ownerReferences" not in there["metadata"]
        assert not await place.slots(f"{Label.POOL}={keys[kind].name}")
    for resource, name, _ in taken.values():
        await place.api.delete(resource, place.namespace, name)
    await asyncio.gather(*(place.until_pool("Ready", "True", name=key.name) for key in keys.values()))
    assert not [c for c in (await place.pool(keys["secret"].name))["conditions"] if c["type"] == "Stalled"]
    await asyncio.gather(*(place.api.delete(POOLS, place.namespace, key.name) for key in keys.values()))


async def test_a_claim_of_somebody_else_gets_no_keys(place: Place) -> None:
    key = PoolKey(place.namespace, "claimed")
    name = volume_claim_name(key, Role.BUYER)
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    await place.api.create(VOLUME_CLAIMS, place.namespace, _named(name, spec=spec | {"storageClassName": "shared"}))
    await place.make_pool(key.name)
    ready = await place.until_pool("Ready", "False", "VolumeClaimNotOurs", name=key.name)
    assert name in ready["message"]
    assert not await place.slots(f"{Label.POOL}={key.name}")
    assert "labels" not in (await place.api.get(VOLUME_CLAIMS, place.namespace, name))["metadata"]
    # As the message says for a claim that was brought back from a backup.
    command = ready["message"].partition("kubectl ")[2].split()
    await place.kubectl(*command[2:])
    await place.until_pool("Ready", "True", name=key.name)
    await place.api.delete(POOLS, place.namespace, key.name)


async def test_ready_does_not_flip_with_a_claim_and_makes_no_event(place: Place) -> None:
    await place.until_pool("Ready", "True")

    async def since() -> tuple[str, list[str]]:
        pool = await place.api.get(POOLS, place.namespace, POOL)
        [ready] = [c for c in pool["status"]["conditions"] if c["type"] == "Ready"]
        events = await place.kubectl(
            *("get", "events", f"--field-selector=involvedObject.name={POOL}", "-o", "jsonpath={.items[*].reason}")
        )
        return ready["lastTransitionTime"], sorted(events.split())

    before = await since()
    escrow = await place.active("claims")
    await place.until_pool("Ready", "True")
    assert await since() == before
    await escrow.delete()


async def test_a_deleted_pool_waits_for_its_open_session(place: Place, operator: OperatorUnderTest) -> None:
    """Through a crash of the operator; what the session needs stays, and new ones are refused."""
    escrow = await place.active("kept-open")
    key = PoolKey(place.namespace, POOL)
    body = await place.api.get(POOLS, place.namespace, POOL)
    assert POOL_FINALIZER in body["metadata"]["finalizers"]
    held = {pod["metadata"]["uid"] for pod in await escrow.pods()}
    await place.api.delete(POOLS, place.namespace, POOL)
    ready = await place.until_pool("Ready", "False", "SessionsOpen")
    assert "kept-open" in ready["message"]
    await operator.kill()
    await operator.until_ready()

    async def no_free_slots() -> bool:
        return not await place.free_slots()

    await wait_for(no_free_slots, what="the free slots to be gone", explain=place.explain)
    newcomer = place.escrow("too-late")
    await newcomer.apply()
    refused = await newcomer.until_condition("Ready", "False", "PoolNotFound")
    assert "is being deleted" in refused["message"]
    await escrow.until_condition("Ready", "True")
    assert {pod["metadata"]["uid"] for pod in await escrow.pods()} == held
    async with escrow.wallets() as wallets:
        addresses = await asyncio.gather(*(wallets[role].address() for role in ROLES))
    assert set(addresses) == {(await escrow.status())["address"]}
    assert await place.api.find(SERVICES, place.namespace, service_name(key))
    assert await place.api.find(SECRETS, place.namespace, login_key_name(key))
    await escrow.delete()

    async def gone() -> bool:
        return await place.api.find(POOLS, place.namespace, POOL) is None

    await wait_for(gone, what="the pool to be gone", explain=place.explain)
    await place.make_pool()
    await newcomer.until_active()


async def test_a_deleted_namespace_goes_with_its_pool_and_open_session(place: Place) -> None:
    """Last here: it takes the place away."""
    assert len(await place.escrow("too-late").pods()) == len(ROLES)
    await place.api.delete(POOLS, place.namespace, POOL)
    await place.close()

    async def gone() -> bool:
        return await place.api.find(NAMESPACES, None, place.namespace) is None

    await wait_for(gone, what=f"namespace {place.namespace} to be gone", explain=place.explain)
