"""A pool on an API server in memory, looked at one reconciliation at a time."""

from __future__ import annotations

import copy
from typing import Any, cast

from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    POOLS,
    SECRETS,
    SERVICES,
    Resource,
)
from escrow_operator.core.daemon import DaemonView
from escrow_operator.core.manifests.common import deployment_name, login_key_name, service_name
from escrow_operator.models.common import API_VERSION, ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Phase, Session
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.pools.drift import Applied
from escrow_operator.services.pools.gateway_logins import GatewayLogins
from escrow_operator.services.pools.objects import PoolObjects
from escrow_operator.services.pools.reconciler import PoolReconciler
from escrow_operator.services.pools.scheduling_gates import SchedulingGates
from escrow_operator.services.pools.stalled import StalledReplicaSets
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.slots.prepared import PreparedEscrows
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.settings import Settings
from unit.clocks import FakeClock
from unit.factories import daemon_info, session, slot_body
from unit.kube import InstantKube
from unit.world.context import make_context, told

Body = dict[str, Any]

KEY = PoolKey("shop", "default")
FINALIZER = "xmr-escrow.dev/sessions-closed"
SPEC = {
    "image": "wallet",
    "daemon": {"address": "monerod:18081", "network": "regtest"},
    "networkPolicy": {"enabled": True},
    "preparedEscrows": 0,
}


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

    def __init__(self, *, spec: Body | None = None, settings: Settings | None = None) -> None:
        self.api = InstantKube()
        self.clock = FakeClock()
        self.daemons = Daemons()
        self.ctx = make_context(self.api, clock=self.clock, settings=settings)
        self.store, self.told = self.ctx.store, told(self.ctx)
        self.see(self.put_pool(spec or SPEC))
        self.start()

    def start(self) -> None:
        """A fresh operator, that has seen what the last one had seen."""
        ctx = self.ctx
        for known in self.store.pools.values():
            ctx.memory.clear(known.uid)
        self.wallets = WalletClients(ctx, rpc_session)
        self.prepared = PreparedEscrows(ctx)
        self.claims = SlotClaims(ctx, Capacity(ctx), self.prepared)
        daemons = cast("DaemonPoller", self.daemons)
        logins, stalled = GatewayLogins(ctx, self.wallets), StalledReplicaSets(ctx)
        self.service = PoolReconciler(
            ctx,
            claims=self.claims,
            daemons=daemons,
            gates=SchedulingGates(ctx),
            objects=PoolObjects(
                ctx, applied=Applied(ctx), daemons=daemons, logins=logins, stalled=stalled, wallets=self.wallets
            ),
            prepared=self.prepared,
            stalled=stalled,
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
        self.api.remove(POOLS, KEY.name)
        self.see(self.pool)

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
