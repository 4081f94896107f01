"""What a pool makes, what it leaves alone because it is somebody else's, and how it goes."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    POOLS,
    SECRETS,
    SERVICES,
    VOLUME_CLAIMS,
    Resource,
)
from escrow_operator.core.daemon import DaemonView
from escrow_operator.core.login import key_id
from escrow_operator.core.manifests.common import deployment_name, login_key_name, service_name, volume_claim_name
from escrow_operator.models.common import API_VERSION, ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.pools.drift import Applied
from escrow_operator.services.pools.objects import PoolObjects
from escrow_operator.services.pools.reconciler import PoolReconciler
from escrow_operator.services.pools.scheduling_gates import SchedulingGates
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.wallets.clients import WalletClients
from unit.factories import at, daemon_info, session, slot_body
from unit.services.fake_api import Body, FakeApi
from unit.world.context import make_context, told

KEY = PoolKey("shop", "default")
FINALIZER = "xmr-escrow.dev/sessions-closed"
SPEC = {
    "image": "wallet",
    "daemon": {"address": "monerod:18081", "network": "regtest"},
    "networkPolicy": {"enabled": True},
}


class SteppedClock(Clock):
    """Stands still until it is told to go on."""

    seconds = 0.0

    def now(self) -> Any:
        return at(int(self.seconds))

    def monotonic(self) -> float:
        return self.seconds


class Daemons:
    """A monerod that answers, without Secrets."""

    view_now: DaemonView | None = DaemonView(daemon_info())
    secrets_now: str | None = ""

    def view(self, _: PoolKey) -> DaemonView | None:
        return self.view_now

    def secrets(self, _: Pool) -> str | None:
        return self.secrets_now

    def secrets_problem(self, _: PoolKey) -> None:
        return None

    async def forget(self, _: PoolKey) -> None: ...


class Bench:
    """A pool service on an API server in memory, with one pool."""

    def __init__(self, *, spec: Body | None = None) -> None:
        self.api = FakeApi()
        self.clock = SteppedClock()
        self.daemons = Daemons()
        self.ctx = make_context(self.api, clock=self.clock)
        self.store, self.told = self.ctx.store, told(self.ctx)
        self.see(self.put_pool(spec or SPEC))
        self.start()

    def start(self) -> None:
        """A fresh operator, that has seen what the last one had seen."""
        ctx = self.ctx
        for known in self.store.pools.values():
            ctx.memory.clear(known.uid)
        self.wallets = WalletClients(ctx)
        self.claims = SlotClaims(ctx, Capacity(ctx))
        daemons = cast("DaemonPoller", self.daemons)
        self.service = PoolReconciler(
            ctx,
            claims=self.claims,
            daemons=daemons,
            gates=SchedulingGates(ctx),
            objects=PoolObjects(ctx, applied=Applied(ctx), daemons=daemons, wallets=self.wallets),
            status=StatusWriter(ctx),
            wallets=self.wallets,
        )

    def put_pool(self, spec: Body, **meta: Any) -> Body:
        body = {
            "apiVersion": API_VERSION,
            "kind": "WalletPool",
            "metadata": {"name": KEY.name, "namespace": KEY.namespace, "generation": 1} | meta,
            "spec": copy.deepcopy(spec),
        }
        return self.api.put(POOLS, body)

    def see(self, body: Body) -> None:
        assert self.store.see_pool(body)

    def delete_pool(self) -> None:
        body = self.pool
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self.see(self.api.put(POOLS, body))

    @property
    def pool(self) -> Body:
        found = self.api.find(POOLS, KEY.name)
        assert found is not None, "the pool is gone"
        return copy.deepcopy(found)

    def condition(self, kind: str) -> tuple[str, str, str]:
        conditions = self.pool.get("status", {}).get("conditions") or ()
        found = next((c for c in conditions if c["type"] == kind), None)
        return (found["status"], found["reason"], found["message"]) if found else ("", "", "")

    async def look(self) -> float | None:
        return await self.service.reconcile(KEY)

    def free(self, *roles: Role, ready: bool = True, generation: str = "a") -> None:
        for role in roles or ROLES:
            assert self.store.see_slot(slot_body(f"{role}-{generation}", role, ready=ready))

    def adopt(self, name: str, generation: str = "a") -> Session:
        """A session takes the slots that were free."""
        owner = session(name, phase=Phase.ACTIVE)
        for role in ROLES:
            body = slot_body(f"{role}-{generation}", role, owner=owner, wallet_file=name)
            assert self.store.see_slot(body)
        return owner

    def end(self, generation: str = "a") -> None:
        """A session's pods are gone."""
        for role in ROLES:
            self.store.drop_slot(slot_body(f"{role}-{generation}", role))

    def replicas(self) -> dict[Role, int]:
        found = {role: self.api.find(DEPLOYMENTS, deployment_name(KEY, role)) for role in ROLES}
        return {role: body["spec"]["replicas"] for role, body in found.items() if body}


PARTS: list[tuple[Resource, str, str]] = [
    (SERVICES, service_name(KEY), "Service"),
    (NETWORK_POLICIES, service_name(KEY), "NetworkPolicy"),
    (DEPLOYMENTS, deployment_name(KEY, Role.VENDOR), "Deployment"),
    (SECRETS, login_key_name(KEY), "Secret"),
]


def foreign(resource: Resource, name: str, **meta: Any) -> Body:
    body: Body = {"metadata": {"name": name, "namespace": "shop"} | meta, "spec": {"replicas": 7}}
    if resource is SECRETS:
        body["data"] = {"key": "a25vd24="}
    return body


async def test_a_pool_makes_what_it_consists_of_once() -> None:
    bench = Bench()
    await bench.look()
    assert bench.replicas() == dict.fromkeys(ROLES, 1)
    assert bench.api.find(SERVICES, service_name(KEY))
    written = len(bench.api.writes)
    await bench.look()
    assert bench.api.writes[written:] == []


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
    await bench.wallets.login(Slot.parse(body))
    await bench.look()
    assert bench.condition("Ready")[1] == "ObjectNotOurs"
    assert bench.replicas() == {}


@pytest.mark.parametrize("data", [{}, {"key": ""}, {"key": "//79"}], ids=["none", "empty", "no text"])
async def test_a_login_key_that_was_emptied_is_none(data: dict[str, str]) -> None:
    bench = Bench()
    await bench.look()
    secret = bench.api.find(SECRETS, login_key_name(KEY))
    assert secret
    secret["data"] = data
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
    bench.api.remove(POOLS, KEY.name)
    bench.store.pools.clear()
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


async def test_a_pool_has_its_finalizer_before_it_makes_anything() -> None:
    bench = Bench()
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == [FINALIZER]
    assert bench.api.writes[0] == ("patch", "walletpools", KEY.name)


async def test_a_deleted_pool_keeps_what_open_sessions_use_and_says_for_whom_it_waits() -> None:
    bench = Bench()
    await bench.look()
    bench.adopt("trade-1")
    bench.delete_pool()
    await bench.look()
    status, reason, message = bench.condition("Ready")
    assert (status, reason) == ("False", "SessionsOpen")
    assert "trade-1" in message
    for resource, name, _ in PARTS:
        assert bench.api.find(resource, name), name
    assert bench.replicas() == dict.fromkeys(ROLES, 0), "it still starts slots"
    assert bench.pool["status"]["activeSessions"] == 1
    bench.end()
    await bench.look()
    assert bench.api.find(POOLS, KEY.name) is None


async def test_it_names_five_sessions_at_most() -> None:
    bench = Bench()
    await bench.look()
    for number in range(7):
        bench.adopt(f"trade-{number}", generation=str(number))
    bench.delete_pool()
    await bench.look()
    message = bench.condition("Ready")[2]
    assert "trade-4 and 2 more" in message
    assert "trade-5" not in message


async def test_a_killed_operators_successor_goes_on_with_the_deletion() -> None:
    bench = Bench()
    await bench.look()
    bench.adopt("trade-1")
    bench.delete_pool()
    bench.start()
    await bench.look()
    assert bench.condition("Ready")[1] == "SessionsOpen"
    bench.end()
    bench.start()
    await bench.look()
    assert bench.api.find(POOLS, KEY.name) is None


async def test_a_deleted_pool_without_sessions_goes_at_once_with_the_finalizers_of_others_kept() -> None:
    bench = Bench()
    bench.store.pools.clear()
    bench.see(bench.put_pool(SPEC, finalizers=["theirs.dev/first"]))
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == ["theirs.dev/first", FINALIZER]
    bench.delete_pool()
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == ["theirs.dev/first"]
    assert await bench.look() is None
    assert bench.pool["metadata"]["finalizers"] == ["theirs.dev/first"]


async def test_the_pool_of_an_ending_namespace_loses_its_finalizer_before_it_is_deleted_itself() -> None:
    """The operator's Role goes with the namespace's pools, and maybe before them."""
    bench = Bench()
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == [FINALIZER]
    bench.store.ending.add("shop")
    await bench.look()
    assert "deletionTimestamp" not in bench.pool["metadata"]
    assert not bench.pool["metadata"].get("finalizers")
    await bench.look()
    assert not bench.pool["metadata"].get("finalizers"), "and it is not put back"


async def test_a_claim_that_makes_no_news_makes_no_event() -> None:
    bench = Bench()
    await bench.look()
    bench.free()
    await bench.look()
    assert bench.condition("Ready")[0] == "True"
    since = len(bench.told)
    for number in range(3):
        bench.adopt(f"trade-{number}", generation="abc"[number])
        await bench.look()
        assert bench.condition("Ready")[0] == "True", "it flips with each claim"
        bench.free(ready=False, generation="bcd"[number])
        bench.clock.seconds += 5
        await bench.look()
        bench.free(generation="bcd"[number])
        await bench.look()
    assert bench.told[since:] == []


async def test_one_outage_of_monerod_is_one_event() -> None:
    bench = Bench()
    bench.free()
    await bench.look()
    since = len(bench.told)
    bench.daemons.view_now = DaemonView(None, "connection refused")
    await bench.look()
    assert bench.condition("Ready")[:2] == ("False", "DaemonUnreachable")
    assert bench.told[since:] == ["DaemonUnreachable"]


async def test_a_role_that_stays_without_a_slot_is_told_at_its_time() -> None:
    bench = Bench()
    bench.free()
    await bench.look()
    bench.adopt("trade-1")
    again = await bench.look()
    assert again is not None
    assert bench.condition("Ready")[0] == "True"
    bench.clock.seconds += again
    await bench.look()
    assert bench.condition("Ready")[:2] == ("False", "SlotsStarting")
