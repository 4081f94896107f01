"""The objects of a pool: created, kept as its spec says, and never taken over from another owner."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.kube import DEPLOYMENTS, NETWORK_POLICIES, SERVICES, VOLUME_CLAIMS, Resource
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.core.manifests import pool as manifests
from escrow_operator.core.manifests.common import deployment_name, service_name, volume_claim_name
from escrow_operator.core.manifests.slot import SlotOptions
from escrow_operator.core.ownership import object_problem, volume_claim_problem
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.services.context import Context
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.pools.drift import Applied
from escrow_operator.services.pools.gateway_logins import GatewayLogins
from escrow_operator.services.pools.stalled import StalledReplicaSets
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import NotOurs
from escrow_operator.services.wallets.clients import WalletClients

CREATED = "created"
REMOVED = "removed"
STOPPED = "stopped"
"""Digests of objects that are created once, of objects that must not exist, and of Deployments scaled to zero."""

KINDS = {SERVICES.plural: "Service", DEPLOYMENTS.plural: "Deployment", NETWORK_POLICIES.plural: "NetworkPolicy"}


@dataclass(frozen=True, slots=True)
class CurrentTemplates:
    """Kept of a pool: the digests of the pod templates that its spec calls for; none while no slots may start."""

    digests: frozenset[str]


class PoolObjects:
    """Applies objects only when their desired state changed, or others changed them."""

    def __init__(
        self,
        ctx: Context,
        *,
        applied: Applied,
        daemons: DaemonPoller,
        logins: GatewayLogins,
        stalled: StalledReplicaSets,
        wallets: WalletClients,
    ) -> None:
        self._kube, self._settings, self._memory = ctx.kube, ctx.settings, ctx.memory
        self._applied = applied
        self._daemons = daemons
        self._logins = logins
        self._stalled = stalled
        self._wallets = wallets

    async def apply_all(self, pool: Pool, *, replicas: int) -> None:
        """Apply all objects of the pool, with ``replicas`` free slots of each role.

        Raises NotOurs when one of them is not the pool's own, or KubeError. An incomplete pool starts no slots: without
        its own login key, volume claims, Service and policy they would depend on another owner's.
        """
        try:
            await self._apply_all(pool, replicas)
        except NotOurs:
            await self.stop(pool)
            raise

    async def _apply_all(self, pool: Pool, replicas: int) -> None:
        key_id = await self._wallets.ensure_login_key(pool)
        await self._logins.publish(pool)
        for role in ROLES:
            await self._ensure_volume_claim(pool, role)
        guards: list[tuple[Resource, dict[str, Any]]] = [(SERVICES, manifests.service(pool))]
        if pool.spec.network_policy.enabled:
            guards.append((NETWORK_POLICIES, manifests.network_policy(pool, self._settings.own_namespace)))
        else:
            await self._remove_policy(pool)
        secrets, pods = self._daemons.secrets(pool), self._settings.wallet_pods
        # Until monerod's Secrets have been read, and found labelled for it, no slot may start with them; running slots
        # are kept as they are.
        slots: list[tuple[Resource, dict[str, Any]]] = [
            (
                DEPLOYMENTS,
                manifests.deployment(
                    pool,
                    role,
                    replicas=replicas,
                    login_key=key_id,
                    daemon_secrets=secrets,
                    login_image=self._settings.slot_login_image,
                    options=SlotOptions(pods.run_as_user, pods.run_as_group, pods.fs_group, pods.tls),
                    annotations=pods.annotations,
                ),
            )
            for role in ROLES
            if secrets is not None
        ]
        self._memory.put(pool.uid, CurrentTemplates(frozenset(manifests.template_of(body) for _, body in slots)))
        # The owners of all are checked before any is changed; and slots start only behind their policy.
        uids = await gather_all(self._own_uid(pool, resource, body) for resource, body in guards + slots)
        slots = [(resource, self._stalled.stamped(pool, body)) for resource, body in slots]
        for group, known in ((guards, uids[: len(guards)]), (slots, uids[len(guards) :])):
            await gather_all(
                self._apply(pool, resource, body, uid) for (resource, body), uid in zip(group, known, strict=True)
            )

    async def gone(self, pool: PoolKey) -> None:
        """Do what is left to do after a pool is gone; its objects are collected as garbage."""
        await self._logins.withdraw(pool)

    async def stop(self, pool: Pool) -> None:
        """Scale the Deployments to zero, which ends the free slots. Adopted pods belong to no Deployment any more."""
        await gather_all(self._stop(pool, deployment_name(pool.key, role)) for role in ROLES)

    async def _stop(self, pool: Pool, name: str) -> None:
        if self._applied.is_current(pool, DEPLOYMENTS, name, STOPPED):
            return
        found = await self._find(DEPLOYMENTS, pool, name)
        if found is None or object_problem(pool, KINDS[DEPLOYMENTS.plural], found):
            return
        if found["spec"]["replicas"]:
            ops = [
                {"op": "test", "path": "/metadata/uid", "value": found["metadata"]["uid"]},
                {"op": "replace", "path": "/spec/replicas", "value": 0},
            ]
            found = await self._kube.patch(DEPLOYMENTS, pool.key.namespace, name, ops)
        self._applied.note(pool, DEPLOYMENTS, found, STOPPED)

    async def _own_uid(self, pool: Pool, resource: Resource, body: dict[str, Any]) -> str | None:
        """The uid of the object of this name; None when there is none. Raises NotOurs, or KubeError."""
        name = body["metadata"]["name"]
        uid = self._applied.uid(pool, resource, name)
        if uid is not None:
            return uid
        found = await self._find(resource, pool, name)
        if found is None:
            return None
        problem = object_problem(pool, KINDS[resource.plural], found)
        if problem:
            raise NotOurs(problem)
        if resource is DEPLOYMENTS:
            self._stalled.found(pool, found)
        found_uid: str = found["metadata"]["uid"]
        return found_uid

    async def _apply(self, pool: Pool, resource: Resource, body: dict[str, Any], uid: str | None) -> None:
        """Apply the object with this uid. Raises ConflictError when it was replaced meanwhile."""
        digest, name = _digest(body), body["metadata"]["name"]
        if self._applied.is_current(pool, resource, name, digest):
            return
        # With the uid exactly this object is changed, or none. (Without it, an object that others created in the
        # milliseconds since would be taken over: server-side apply has no "only if there is none".)
        exactly = body if uid is None else body | {"metadata": body["metadata"] | {"uid": uid}}
        try:
            seen = await self._kube.apply(resource, pool.key.namespace, exactly)
        except ConflictError:
            # The name belongs to another object now: check all objects of the pool again.
            self._applied.forget(pool)
            raise
        self._applied.note(pool, resource, seen, digest)

    async def _find(self, resource: Resource, pool: Pool, name: str) -> dict[str, Any] | None:
        try:
            return await self._kube.get(resource, pool.key.namespace, name)
        except NotFoundError:
            return None

    async def _ensure_volume_claim(self, pool: Pool, role: Role) -> None:
        """Volume claims are created once and never changed or deleted: they hold the wallets (invariant I4)."""
        name = volume_claim_name(pool.key, role)
        if self._applied.is_current(pool, VOLUME_CLAIMS, name, CREATED):
            return
        try:
            seen = await self._kube.create(VOLUME_CLAIMS, pool.key.namespace, manifests.volume_claim(pool, role))
        except ConflictError:
            seen = await self._kube.get(VOLUME_CLAIMS, pool.key.namespace, name)
            problem = volume_claim_problem(pool, role, seen)
            if problem:
                raise NotOurs(problem) from None
        self._applied.note(pool, VOLUME_CLAIMS, seen, CREATED)

    async def _remove_policy(self, pool: Pool) -> None:
        name = service_name(pool.key)
        if self._applied.is_current(pool, NETWORK_POLICIES, name, REMOVED):
            return
        found = await self._find(NETWORK_POLICIES, pool, name)
        if found and not object_problem(pool, KINDS[NETWORK_POLICIES.plural], found):
            await self._kube.delete(NETWORK_POLICIES, pool.key.namespace, name, uid=found["metadata"]["uid"])
        self._applied.note_removed(pool, NETWORK_POLICIES, name, REMOVED)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
