"""Reconciles a WalletPool and its status, and lets a deleted pool go when no session needs it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from escrow_operator.adapters.kube import STORAGE_CLASSES
from escrow_operator.adapters.kube_errors import (
    ConflictError,
    InvalidNameError,
    KubeError,
    NotFoundError,
    UnavailableError,
)
from escrow_operator.core.conditions import Condition, merge_conditions
from escrow_operator.core.daemon import daemon_condition
from escrow_operator.core.poolstatus import (
    REPLACEMENT_GRACE,
    Problem,
    deleting_conditions,
    lacking_roles,
    pool_conditions,
    pool_status,
)
from escrow_operator.core.secretuse import SECRET_NOT_MARKED
from escrow_operator.models.common import POOL_FINALIZER, Role, SlotState, parse_time
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.pools.objects import PoolObjects
from escrow_operator.services.pools.scheduling_gates import SchedulingGates
from escrow_operator.services.pools.stalled import StalledReplicaSets
from escrow_operator.services.reporting.status import StatusWriter
from escrow_operator.services.runtime.outcomes import RECHECK_SECONDS, RETRY_SECONDS, NotOurs
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.slots.prepared import PreparedEscrows
from escrow_operator.services.slots.requested_memory import requested_memory
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.writing import if_unchanged, patch_pool, requeue_delay


@dataclass(frozen=True, slots=True)
class _Lacking:
    """Monotonic time since which some role has been without a free slot."""

    since: float


class PoolReconciler:
    """Reconciles pools; the queue calls it for one pool at a time."""

    def __init__(
        self,
        ctx: Context,
        *,
        claims: SlotClaims,
        daemons: DaemonPoller,
        gates: SchedulingGates,
        objects: PoolObjects,
        prepared: PreparedEscrows,
        stalled: StalledReplicaSets,
        status: StatusWriter,
        wallets: WalletClients,
    ) -> None:
        self._ctx, self._kube, self._store, self._clock = ctx, ctx.kube, ctx.store, ctx.clock
        self._settings, self._memory, self._wakeups = ctx.settings, ctx.memory, ctx.wakeups
        self._claims = claims
        self._daemons = daemons
        self._gates = gates
        self._objects = objects
        self._prepared = prepared
        self._stalled = stalled
        self._status = status
        self._wallets = wallets
        self._classes: set[str] = set()

    async def reconcile(self, key: PoolKey) -> float | None:
        """Reconcile a pool; returns the requeue delay in seconds, or None."""
        pool = self._store.pools.get(key)
        if pool is None:
            await self._daemons.forget(key)
            await self._objects.gone(key)
            return None
        self._wallets.notice(key, self._store.slots_of_pool(key))
        self._wakeups.prepare(key)
        try:
            if pool.deleting or key.namespace in self._store.ending:
                return await self._let_go(pool)
            return await self._keep(await self._protect(pool))
        except ConflictError as error:
            return requeue_delay(error)

    async def _keep(self, pool: Pool) -> float | None:
        problem: Problem | None = None
        replicas = self._replicas(pool)
        again: list[float | None] = []
        try:
            await self._objects.apply_all(pool, replicas=replicas)
            again.append(await self._stalled.look(pool, replicas=replicas))
        except NotOurs as error:
            problem = error.problem
        except (ConflictError, UnavailableError):
            raise
        except KubeError as error:
            if error.is_namespace_ending:
                return None
            problem = Problem("Rejected", f"The API server refused a part of the pool: {error}. Correct the spec.")
        problem = problem or self._secrets_problem(pool) or await self._storage_problem(pool)
        again.append(await self._gates.look(pool.key, waiting=len(self._claims.waiting(pool.key))))
        slots = self._store.slots_of_pool(pool.key)
        lacking_for = self._note_lacking(pool, slots)
        conditions = pool_conditions(
            pool,
            slots,
            daemon=self._daemon(pool),
            problem=problem,
            lacking_for=lacking_for,
            now=self._clock.now(),
        )
        await self._report(pool, slots, conditions)
        if problem:
            again.append(RETRY_SECONDS if problem.passes else RECHECK_SECONDS)
        if self._memory.find(pool.uid, _Lacking) and lacking_for < REPLACEMENT_GRACE:
            again.append((REPLACEMENT_GRACE - lacking_for).total_seconds())
        return min((seconds for seconds in again if seconds is not None), default=None)

    def _replicas(self, pool: Pool) -> int:
        """Free slots of each role: those of the spec, one for each waiting session, one to prepare an escrow in."""
        preparing = 1 if self._prepared.lacking(pool) else 0
        return pool.spec.warm_slots + len(self._claims.waiting(pool.key)) + preparing

    async def _protect(self, pool: Pool) -> Pool:
        """Add the finalizer before a session can have slots. Raises ConflictError."""
        if pool.finalizers.own is not None:
            return pool
        return await patch_pool(self._ctx, pool, if_unchanged(pool, pool.finalizers.added(POOL_FINALIZER)))

    async def _let_go(self, pool: Pool) -> float | None:
        """Finalize a deleted pool: start no slots, and keep its objects until no session has slots of it."""
        index = pool.finalizers.own
        if index is None:
            return None
        slots = self._store.slots_of_pool(pool.key)
        held = {s.session_name or s.name for s in slots if s.state is SlotState.ADOPTED and not s.terminating}
        if not held and not self._prepared.keeps(pool.key) and not self._claims.is_taking(pool.key):
            # No await since the slots were read: a claim that begins now finds the pool deleted.
            drop = {"op": "remove", "path": f"/metadata/finalizers/{index}"}
            await patch_pool(self._ctx, pool, if_unchanged(pool, drop))
            return None
        await self._objects.stop(pool)
        await self._report(pool, slots, deleting_conditions(held, self._daemon(pool)))
        return RECHECK_SECONDS

    def _note_lacking(self, pool: Pool, slots: list[Slot]) -> timedelta:
        """For how long some role has been without a free slot."""
        if not lacking_roles(pool, slots):
            self._memory.drop(pool.uid, _Lacking)
            return timedelta()
        now = self._clock.monotonic()
        lacking = self._memory.find(pool.uid, _Lacking)
        if lacking is None:
            lacking = _Lacking(now)
            self._memory.put(pool.uid, lacking)
        return timedelta(seconds=now - lacking.since)

    def _daemon(self, pool: Pool) -> Condition:
        return daemon_condition(self._daemons.view(pool.key), pool.spec.daemon)

    def _secrets_problem(self, pool: Pool) -> Problem | None:
        problem = self._daemons.secrets_problem(pool.key) if pool.spec.daemon.has_secrets else None
        if problem is None:
            return None
        reason, message = problem
        todo = "" if reason == SECRET_NOT_MARKED else ". Create or correct them."
        return Problem(reason, f"No slots are started without the Secrets that spec.daemon names: {message}{todo}")

    async def _storage_problem(self, pool: Pool) -> Problem | None:
        name = pool.spec.storage.storage_class_name
        if name is None or name in self._classes or pool.status.get("warmSlots", 0) > 0:
            return None
        try:
            await self._kube.get(STORAGE_CLASSES, None, name)
        except (NotFoundError, InvalidNameError):
            return Problem(
                "StorageClassNotFound",
                f"There is no StorageClass {name!r} (kubectl get storageclass). Create it, or delete this pool and"
                " make one with another class; the volume claims it made hold no wallets yet.",
            )
        self._classes.add(name)
        return None

    async def _report(self, pool: Pool, slots: list[Slot], conditions: tuple[Condition, ...]) -> None:
        """Write the status. Raises ConflictError."""
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
            prepared=len(self._prepared.ready(pool.key)),
            memory=requested_memory(pool.spec),
            max_active=self._settings.sessions.max_active,
            daemon=view.info if view else None,
        )
        status["conditions"] = merge_conditions(
            pool.status.get("conditions") or (),
            conditions,
            generation=pool.generation,
            now=self._clock.now(),
        )
        await self._status.report_pool(pool, status, conditions)
