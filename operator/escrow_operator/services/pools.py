"""Keeps a WalletPool's claims, Deployments and Service as its spec says, and its status true."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import (
    CLAIMS,
    DEPLOYMENTS,
    NETWORK_POLICIES,
    SERVICES,
    STORAGE_CLASSES,
    Kube,
    Resource,
)
from escrow_operator.adapters.kube_errors import (
    ConflictError,
    InvalidNameError,
    KubeError,
    NotFoundError,
    UnavailableError,
)
from escrow_operator.core.conditions import Condition, merge_conditions
from escrow_operator.core.daemon import daemon_condition
from escrow_operator.core.manifests import pool as manifests
from escrow_operator.core.manifests.common import claim_name, service_name
from escrow_operator.core.poolstatus import pool_status, ready_condition
from escrow_operator.models.common import ROLES, Role, parse_time
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.services.claims import ClaimService
from escrow_operator.services.daemons import DaemonService
from escrow_operator.services.drift import Applied
from escrow_operator.services.reporter import CONFLICT_SECONDS, Reporter
from escrow_operator.services.store import Store
from escrow_operator.services.wallets import Wallets
from escrow_operator.services.warmups import WarmUps
from escrow_operator.settings import Settings

CREATED = "created"
REMOVED = "removed"
"""Digests of what was made once, and of what must not be there."""


class PoolService:
    """Reconciles pools; the queue calls it for one pool at a time."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        settings: Settings,
        clock: Clock,
        *,
        applied: Applied,
        claims: ClaimService,
        daemons: DaemonService,
        reporter: Reporter,
        wallets: Wallets,
        warm_ups: WarmUps,
        wake: Callable[[SessionKey], None],
    ) -> None:
        self._kube = kube
        self._store = store
        self._settings = settings
        self._clock = clock
        self._claims = claims
        self._daemons = daemons
        self._reporter = reporter
        self._wallets = wallets
        self._warm_ups = warm_ups
        self._wake = wake
        self._applied = applied
        self._classes: set[str] = set()

    async def reconcile(self, key: PoolKey) -> float | None:
        """One look. Objects are applied only when what is wanted of them changed or somebody changed them."""
        pool = self._store.pools.get(key)
        if pool is None or pool.deleting:
            self._applied.forget(key)
            await self._daemons.forget(key)
            return None
        problem = None
        try:
            await self._apply_all(pool)
        except UnavailableError:
            raise
        except KubeError as error:
            if error.is_namespace_ending:
                return None
            problem = Condition(
                "Ready",
                False,
                "Rejected",
                f"The API server refused a part of the pool: {error}. Correct the spec.",
            )
        problem = problem or self._secrets_problem(pool) or await self._storage_problem(pool)
        next_start = await self._warm_ups.look(key, waiting=len(self._claims.waiting(key)))
        try:
            await self._report(pool, problem)
        except ConflictError:
            return CONFLICT_SECONDS
        return next_start

    def wake_waiting(self, key: PoolKey) -> None:
        """A slot became free: let as many of those who wait look again as may find one, longest first."""
        for session in self._claims.waiting(key)[: self._store.count_free(key)]:
            self._wake(session)

    async def _apply_all(self, pool: Pool) -> None:
        key_id = await self._wallets.ensure_login_key(pool)
        replicas = pool.spec.warm_slots + len(self._claims.waiting(pool.key))
        login_image = self._settings.slot_login_image
        for role in ROLES:
            await self._ensure_claim(pool, manifests.claim(pool, role), claim_name(pool.key, role))
        wanted: list[tuple[Resource, dict[str, Any]]] = [(SERVICES, manifests.service(pool))]
        secrets = self._daemons.secrets(pool)
        if secrets is not None:
            # Before monerod's Secrets were read no slot could start; those that run are kept as they are.
            wanted += [
                (
                    DEPLOYMENTS,
                    manifests.deployment(
                        pool,
                        role,
                        replicas=replicas,
                        login_key=key_id,
                        daemon_secrets=secrets,
                        login_image=login_image,
                    ),
                )
                for role in ROLES
            ]
        if pool.spec.network_policy.enabled:
            policy = manifests.network_policy(pool, self._settings.own_namespace)
            wanted.append((NETWORK_POLICIES, policy))
        else:
            await self._remove_policy(pool)
        await asyncio.gather(*(self._apply(pool, resource, body) for resource, body in wanted))

    async def _apply(self, pool: Pool, resource: Resource, body: dict[str, Any]) -> None:
        digest, name = _digest(body), body["metadata"]["name"]
        if self._applied.is_current(pool.key, resource, name, digest):
            return
        seen = await self._kube.apply(resource, pool.key.namespace, body)
        self._applied.note(pool.key, resource, seen, digest)

    async def _ensure_claim(self, pool: Pool, body: dict[str, Any], name: str) -> None:
        """Claims are made once and never changed or deleted: they hold the wallets (invariant I4)."""
        if self._applied.is_current(pool.key, CLAIMS, name, CREATED):
            return
        try:
            seen = await self._kube.create(CLAIMS, pool.key.namespace, body)
        except ConflictError:
            seen = await self._kube.get(CLAIMS, pool.key.namespace, name)
        self._applied.note(pool.key, CLAIMS, seen, CREATED)

    async def _remove_policy(self, pool: Pool) -> None:
        name = service_name(pool.key)
        if not self._applied.is_current(pool.key, NETWORK_POLICIES, name, REMOVED):
            await self._kube.delete(NETWORK_POLICIES, pool.key.namespace, name)
            self._applied.note_removed(pool.key, NETWORK_POLICIES, name, REMOVED)

    def _secrets_problem(self, pool: Pool) -> Condition | None:
        view = self._daemons.view(pool.key)
        if view is None or self._daemons.secrets(pool) is not None:
            return None
        return Condition(
            "Ready",
            False,
            "DaemonSecretsNotRead",
            f"No slots are started without the Secrets that spec.daemon names: {view.problem}. Create or correct them.",
        )

    async def _storage_problem(self, pool: Pool) -> Condition | None:
        name = pool.spec.storage.storage_class_name
        if name is None or name in self._classes or pool.status.get("warmSlots", 0) > 0:
            return None
        try:
            await self._kube.get(STORAGE_CLASSES, None, name)
        except (NotFoundError, InvalidNameError):
            return Condition(
                "Ready",
                False,
                "StorageClassNotFound",
                f"There is no StorageClass {name!r} (kubectl get storageclass). Create it, or delete this pool and"
                " make one with another class; the claims it made hold no wallets yet.",
            )
        self._classes.add(name)
        return None

    async def _report(self, pool: Pool, problem: Condition | None) -> None:
        slots = self._store.slots_of_pool(pool.key)
        conditions = (
            problem or ready_condition(pool, slots, now=self._clock.now()),
            daemon_condition(self._daemons.view(pool.key), pool.spec.daemon),
        )
        view = self._daemons.view(pool.key)
        active = {slot.session_uid for slot in slots if slot.session_uid and not slot.terminating}
        sessions = (
            self._store.session_by_uid(slot.namespace, slot.session_name, slot.session_uid)
            for slot in slots
            if slot.role is Role.BUYER and not slot.terminating
        )
        opened = [parse_time(s.status["openedAt"]) for s in sessions if s and "openedAt" in s.status]
        status = pool_status(
            pool,
            slots,
            opened=opened,
            active=len(active),
            waiting=len(self._claims.waiting(pool.key)),
            max_active=self._settings.sessions.max_active,
            daemon=view.info if view else None,
        )
        status["conditions"] = merge_conditions(
            pool.status.get("conditions") or (),
            conditions,
            generation=pool.generation,
            now=self._clock.now(),
        )
        await self._reporter.report_pool(pool, status, conditions)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
