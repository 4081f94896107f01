"""What a pool makes, and what it leaves alone because it is somebody else's."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from escrow_operator.adapters.kube import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    POOLS,
    SECRETS,
    SERVICES,
    VOLUME_CLAIMS,
    Resource,
)
from escrow_operator.core.login import key_id
from escrow_operator.core.manifests.common import deployment_name, login_key_name, service_name, volume_claim_name
from escrow_operator.models.common import API_VERSION, ROLES, Role
from escrow_operator.models.slot import Slot
from escrow_operator.settings import Settings, WalletPodSettings
from unit.factories import slot_body
from unit.services.pools.bench import KEY, PARTS, SPEC, Bench, foreign


async def test_a_pool_makes_what_it_consists_of_once() -> None:
    bench = Bench()
    await bench.look()
    assert bench.replicas() == dict.fromkeys(ROLES, 1)
    assert bench.api.find(SERVICES, service_name(KEY))
    written = len(bench.api.writes)
    await bench.look()
    assert bench.api.writes[written:] == []


async def test_what_the_release_says_of_wallet_pods_is_what_they_have() -> None:
    pods = WalletPodSettings(annotations={"mesh": "on"}, run_as_user=None, run_as_group=0, fs_group=7)
    bench = Bench(settings=Settings(slot_login_image="operator", wallet_pods=pods))
    await bench.look()
    for role in ROLES:
        template = (bench.api.find(DEPLOYMENTS, deployment_name(KEY, role)) or {})["spec"]["template"]
        assert template["metadata"]["annotations"]["mesh"] == "on"
        user = template["spec"]["securityContext"]
        assert ("runAsUser" in user, user["runAsGroup"], user["fsGroup"]) == (False, 0, 7)


@pytest.mark.parametrize(("resource", "name", "kind"), PARTS, ids=[kind for _, _, kind in PARTS])
async def test_what_is_somebody_elses_is_left_alone_and_named(resource: Resource, name: str, kind: str) -> None:
    bench = Bench()
    theirs = bench.api.put(resource, foreign(resource, name))
    await bench.look()
    assert bench.api.find(resource, name) == theirs, "it was taken over"
    status, reason, message = bench.condition("Ready")
    assert (status, reason) == ("False", "ObjectNotOurs")
    assert f"{kind} {name}" in message
    assert bench.condition("Stalled")[:2] == ("True", "ObjectNotOurs")
    for _ in range(2):
        written = len(bench.api.writes)
        await bench.look()
        parts = {write for write in bench.api.writes[written:] if write[1] != "walletpools/status"}
        assert not parts, "it starts and stops what is its own, again and again"
    running = {role: number for role, number in bench.replicas().items() if deployment_name(KEY, role) != name}
    assert set(running.values()) <= {0}, "slots are started in a pool that is not whole"
    bench.api.remove(resource, name)
    await bench.look()
    assert bench.replicas() == dict.fromkeys(ROLES, 1)
    assert bench.condition("Stalled") == ("", "", "")


@pytest.mark.parametrize("pretended", ["labels", "owner", "uid of another"])
async def test_a_login_key_that_somebody_made_before_is_not_used(pretended: str) -> None:
    """Whoever knows the key knows every slot's login. Labels anybody can write; the pool's uid nobody knows before."""
    bench = Bench()
    meta: dict[str, Any] = {}
    if pretended != "owner":
        meta["labels"] = {"app.kubernetes.io/managed-by": "xmr-escrow-operator", "xmr-escrow.dev/pool": "default"}
    if pretended != "labels":
        uid = bench.pool["metadata"]["uid"] if pretended == "owner" else "guessed"
        owner = {"apiVersion": API_VERSION, "kind": "WalletPool", "name": "other", "uid": uid, "controller": True}
        meta["ownerReferences"] = [owner]
    bench.api.put(SECRETS, foreign(SECRETS, login_key_name(KEY), **meta))
    await bench.look()
    assert bench.condition("Ready")[1] == "ObjectNotOurs"
    assert bench.replicas() == {}


async def test_a_key_that_was_read_for_a_pod_is_not_thereby_the_pools() -> None:
    """Whoever may label a pod can have any Secret of that name read, which says nothing of whose it is."""
    bench = Bench()
    bench.api.put(SECRETS, foreign(SECRETS, login_key_name(KEY)))
    body = slot_body("pretended")
    body["metadata"]["annotations"]["xmr-escrow.dev/login-key"] = key_id("known")
    await bench.wallets.access(Slot.parse(body))
    await bench.look()
    assert bench.condition("Ready")[1] == "ObjectNotOurs"
    assert bench.replicas() == {}


@pytest.mark.parametrize("data", [{}, {"key": ""}, {"key": "//79"}], ids=["none", "empty", "no text"])
async def test_a_login_key_that_was_emptied_is_none(data: dict[str, str]) -> None:
    bench = Bench()
    await bench.look()
    secret = bench.api.find(SECRETS, login_key_name(KEY))
    assert secret
    bench.api.put(SECRETS, secret | {"data": data})
    bench.start()
    await bench.look()
    assert bench.condition("Ready")[:2] == ("False", "SecretInvalid")
    assert bench.replicas() == dict.fromkeys(ROLES, 0)
    bench.api.remove(SECRETS, login_key_name(KEY))
    await bench.look()
    assert bench.replicas() == dict.fromkeys(ROLES, 1)


async def test_what_a_pool_of_the_same_name_left_is_waited_for() -> None:
    bench = Bench()
    await bench.look()
    bench.see(bench.put_pool(SPEC, uid="another-uid"))
    bench.start()
    again = await bench.look()
    assert bench.condition("Ready")[:2] == ("False", "FormerPool")
    assert bench.condition("Stalled") == ("", "", "")
    assert again is not None
    assert again <= 5
    for resource, name, _ in PARTS:
        bench.api.remove(resource, name)
    for role in (Role.BUYER, Role.ARBITER):
        bench.api.remove(DEPLOYMENTS, deployment_name(KEY, role))
    await bench.look()
    assert bench.replicas() == dict.fromkeys(ROLES, 1)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"app.kubernetes.io/managed-by": "xmr-escrow-operator", "xmr-escrow.dev/pool": "default"},
        {
            "app.kubernetes.io/managed-by": "xmr-escrow-operator",
            "xmr-escrow.dev/pool": "default",
            "xmr-escrow.dev/role": "vendor",
        },
    ],
    ids=["none", "of no role", "of another role"],
)
async def test_a_claim_of_somebody_else_gets_no_keys(labels: dict[str, str]) -> None:
    bench = Bench()
    name = volume_claim_name(KEY, Role.BUYER)
    theirs = bench.api.put(VOLUME_CLAIMS, {"metadata": {"name": name, "namespace": "shop", "labels": labels}})
    await bench.look()
    assert bench.api.find(VOLUME_CLAIMS, name) == theirs
    status, reason, message = bench.condition("Ready")
    assert (status, reason) == ("False", "VolumeClaimNotOurs")
    assert name in message
    assert "kubectl -n shop label" in message
    assert set(bench.replicas().values()) <= {0}


async def test_a_claim_that_was_exchanged_stops_the_slots() -> None:
    bench = Bench()
    await bench.look()
    name = volume_claim_name(KEY, Role.BUYER)
    bench.api.remove(VOLUME_CLAIMS, name)
    bench.api.put(VOLUME_CLAIMS, {"metadata": {"name": name, "namespace": "shop"}})
    bench.start()
    await bench.look()
    assert bench.condition("Ready")[1] == "VolumeClaimNotOurs"
    assert bench.replicas() == dict.fromkeys(ROLES, 0)


async def test_a_claim_of_a_former_pool_is_its_own() -> None:
    """Claims outlive pools (invariant I4), and so they have no owner: labels say whose they are."""
    bench = Bench()
    await bench.look()
    claims = [copy.deepcopy(bench.api.find(VOLUME_CLAIMS, volume_claim_name(KEY, role))) for role in ROLES]
    fresh = Bench()
    for claim in claims:
        assert claim
        fresh.api.put(VOLUME_CLAIMS, claim)
    await fresh.look()
    assert fresh.replicas() == dict.fromkeys(ROLES, 1)


async def test_slots_that_ran_are_ended_when_an_object_is_exchanged() -> None:
    bench = Bench()
    await bench.look()
    bench.api.remove(SERVICES, service_name(KEY))
    bench.api.put(SERVICES, foreign(SERVICES, service_name(KEY)))
    bench.start()
    await bench.look()
    assert bench.condition("Ready")[1] == "ObjectNotOurs"
    assert bench.replicas() == dict.fromkeys(ROLES, 0)


async def test_a_foreign_policy_is_not_deleted_where_the_pool_has_none() -> None:
    bench = Bench(spec=SPEC | {"networkPolicy": {"enabled": False}})
    theirs = bench.api.put(NETWORK_POLICIES, foreign(NETWORK_POLICIES, service_name(KEY)))
    await bench.look()
    assert bench.api.find(NETWORK_POLICIES, service_name(KEY)) == theirs
    assert bench.replicas() == dict.fromkeys(ROLES, 1)


async def test_a_policy_that_is_no_longer_wanted_goes() -> None:
    bench = Bench()
    await bench.look()
    body = bench.pool
    body["spec"]["networkPolicy"] = {"enabled": False}
    bench.see(bench.api.put(POOLS, body))
    await bench.look()
    assert bench.api.find(NETWORK_POLICIES, service_name(KEY)) is None


async def test_an_object_that_was_exchanged_between_two_looks_is_not_taken_over() -> None:
    bench = Bench()
    await bench.look()
    name = deployment_name(KEY, Role.BUYER)
    bench.api.remove(DEPLOYMENTS, name)
    theirs = bench.api.put(DEPLOYMENTS, foreign(DEPLOYMENTS, name))
    body = bench.pool
    body["spec"]["warmSlots"] = 2
    bench.see(bench.api.put(POOLS, body))
    for _ in range(3):
        await bench.look()
    assert bench.api.find(DEPLOYMENTS, name) == theirs
    assert bench.condition("Ready")[1] == "ObjectNotOurs"
