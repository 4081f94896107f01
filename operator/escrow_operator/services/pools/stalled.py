"""Has another ReplicaSet made for a role whose ReplicaSet no longer starts the pods that it is told to start.

The controller of ReplicaSets counts the deletions that it has asked for, and does nothing else until it has seen them
(``expectations`` in kubernetes/pkg/controller/controller_utils.go). When it deletes a surplus pod at the moment in
which a session adopts that pod, it never sees the deletion, because the pod belongs to the session by then. It waits
for five minutes, and after that until something happens to the ReplicaSet. Another pod template makes the Deployment
create another ReplicaSet, which waits for nothing. The old one ends no pods either while it waits: that is done here,
when the new one has all of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from escrow_operator.adapters.kube import DEPLOYMENTS, PODS
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.core.manifests.common import deployment_name
from escrow_operator.core.poolstatus import count_of
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import Pool
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.gather import gather_all

logger = logging.getLogger(__name__)

STALL_SECONDS = 60.0
"""Seconds for which a role may have fewer pods than its Deployment is to have, and no new one. A ReplicaSet creates
pods within a second, even when it cannot start them, unless its controller is busy with many others."""

PATIENCE_GROWS = 5
"""How much longer each further stamp waits than the one before, as long as the role has too few pods: if the first one
changed nothing, the cause is another."""

LONGEST_STALL_SECONDS = 3600.0

SURPLUS_SECONDS = 60.0
"""Seconds for which a former ReplicaSet may keep pods when the new one has all that it needs. Usually it ends them as
the new ones become ready."""

LONGEST_STAMP = 20
"""Digits of a generation, a 64-bit number."""


@dataclass(frozen=True, slots=True)
class _Lacking:
    """A role has had too few pods since a monotonic time; ``newest`` was created last, of all that it ever had."""

    since: float
    newest: str
    patience: float = STALL_SECONDS


@dataclass(slots=True)
class _Progress:
    """Kept of a pool: roles with too few pods, since when one has had too many, and the stamps of its Deployments."""

    lacking: dict[Role, _Lacking] = field(default_factory=dict)
    surplus_since: dict[Role, float] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)


class StalledReplicaSets:
    """Watches whether pods are created, and stamps the pod templates of Deployments that have to begin anew."""

    def __init__(self, ctx: Context) -> None:
        self._kube, self._store, self._clock = ctx.kube, ctx.store, ctx.clock
        self._memory, self._wakeups = ctx.memory, ctx.wakeups

    def stamped(self, pool: Pool, deployment: dict[str, Any]) -> dict[str, Any]:
        """The Deployment with the stamp in its pod template, if it has one. Pods with and without are of equal use.

        Its new ReplicaSet starts all pods at once: the old one still counts with as many as it was told to have.
        """
        stamp = self._memory.of(pool.uid, _Progress).stamps.get(deployment["metadata"]["name"])
        if stamp is None:
            return deployment
        spec = deployment["spec"]
        meta = spec["template"]["metadata"]
        template = spec["template"] | {"metadata": meta | {"annotations": meta["annotations"] | {Label.ANEW: stamp}}}
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%"}}
        return deployment | {"spec": spec | {"template": template, "strategy": strategy}}

    def found(self, pool: Pool, deployment: dict[str, Any]) -> None:
        """Keep the stamp that a Deployment of the pool has from an operator before: free slots are not replaced."""
        annotations = deployment["spec"]["template"]["metadata"].get("annotations") or {}
        stamp = annotations.get(Label.ANEW, "")
        if stamp.isdecimal() and len(stamp) <= LONGEST_STAMP:
            self._memory.of(pool.uid, _Progress).stamps.setdefault(deployment["metadata"]["name"], stamp)

    async def look(self, pool: Pool, *, replicas: int) -> float | None:
        """Stamp Deployments that should have ``replicas`` pods and create none, and end what former ones left.

        Returns the requeue delay in seconds or None. Raises KubeError.
        """
        progress, now = self._memory.of(pool.uid, _Progress), self._clock.monotonic()
        slots = self._store.slots_of_pool(pool.key)
        due = []
        for role in ROLES:
            of_role = [slot for slot in slots if slot.role is role]
            # As the ReplicaSet counts them.
            live = [slot for slot in of_role if count_of(slot) in ("free", "starting")]
            if len(live) >= replicas:
                progress.lacking.pop(role, None)
            else:
                due.append(
                    await self._lacks(pool, role, progress, newest=max((s.created_at for s in of_role), default=""))
                )
            stamp = progress.stamps.get(deployment_name(pool.key, role), "")
            former = [slot for slot in live if stamp and slot.anew != stamp]
            if not former or len(live) - len(former) < replicas:
                progress.surplus_since.pop(role, None)
            elif now - progress.surplus_since.setdefault(role, now) < SURPLUS_SECONDS:
                due.append(SURPLUS_SECONDS - (now - progress.surplus_since[role]))
            else:
                await self._end(pool, former)
        return min(due, default=None)

    async def _lacks(self, pool: Pool, role: Role, progress: _Progress, *, newest: str) -> float:
        """Note that a role lacks pods, and stamp its Deployment when it has for too long; the requeue delay."""
        now, known = self._clock.monotonic(), progress.lacking.get(role)
        if known is None:
            known = _Lacking(now, newest)
        elif newest > known.newest:
            known = _Lacking(now, newest, known.patience)
        elif now - known.since >= known.patience:
            patience = known.patience
            if await self._stamp(pool, deployment_name(pool.key, role)):
                patience = min(patience * PATIENCE_GROWS, LONGEST_STALL_SECONDS)
            known = _Lacking(now, known.newest, patience)
        progress.lacking[role] = known
        return known.patience - (now - known.since)

    async def _stamp(self, pool: Pool, name: str) -> bool:
        try:
            body = await self._kube.get(DEPLOYMENTS, pool.key.namespace, name)
        except NotFoundError:
            return False
        if not _stalls(body):
            return False
        generation = body["metadata"]["generation"]
        self._memory.of(pool.uid, _Progress).stamps[name] = str(generation)
        logger.warning(
            "%s: Deployment %s has too few pods and creates none: it gets another ReplicaSet", pool.key, name
        )
        self._wakeups.pool(pool.key)
        return True

    async def _end(self, pool: Pool, former: list[Slot]) -> None:
        """Delete free pods of a former ReplicaSet, but for those that a session is about to adopt, or has."""
        free = {slot.uid for slot in self._store.free_slots(pool.key)}
        await gather_all(
            self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid, version=slot.resource_version)
            for slot in former
            if slot.uid in free
        )


def _stalls(deployment: dict[str, Any]) -> bool:
    """Whether the Deployment's ReplicaSet was told how many pods to have, is not refused any, and has fewer."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    told = status.get("observedGeneration") == deployment["metadata"]["generation"]
    refused = any(c["type"] == "ReplicaFailure" and c["status"] == "True" for c in status.get("conditions") or ())
    few = status.get("updatedReplicas", 0) < spec["replicas"]
    return told and few and not refused and not spec.get("paused", False)
