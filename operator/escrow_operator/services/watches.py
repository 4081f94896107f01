"""What watches see of sessions and wallet pods, noted in the store and passed on to the queues."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from escrow_operator.adapters.kube import PODS, SESSIONS, Kube
from escrow_operator.core.manifests.common import SLOT_LABELS
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.services.capacity import Capacity
from escrow_operator.services.pools import PoolService
from escrow_operator.services.reflector import Reflector
from escrow_operator.services.stages import Stages
from escrow_operator.services.store import Store, session_key
from escrow_operator.services.sweep import Sweep, Versions


class Watches:
    """Decides nothing but who is to be looked at."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        *,
        sweep: Sweep,
        stages: Stages,
        capacity: Capacity,
        pools: PoolService,
        wake_sessions: Callable[[Iterable[SessionKey]], None],
        wake_pool: Callable[[PoolKey], None],
        pod_ends: Callable[[str], None],
    ) -> None:
        self._store = store
        self._sweep = sweep
        self._stages = stages
        self._capacity = capacity
        self._pools = pools
        self._wake_sessions = wake_sessions
        self._wake_pool = wake_pool
        self._pod_ends = pod_ends
        self._sessions = Reflector(
            "sessions",
            watch=lambda namespace, version: kube.watch(SESSIONS, namespace, version=version),
            seen=self._session_seen,
            level=self._level_sessions,
        )
        self._slots = Reflector(
            "wallet pods",
            watch=lambda namespace, version: kube.watch(PODS, namespace, version=version, labels=SLOT_LABELS),
            seen=self._slot_seen,
            level=self._level_slots,
        )

    def start(self, versions: Versions) -> None:
        """Go on from the versions of full lists."""
        self._sessions.start(versions.sessions)
        self._slots.start(versions.slots)

    async def close(self) -> None:
        """See no more."""
        await self._sessions.close()
        await self._slots.close()

    async def _session_seen(self, kind: str, body: dict[str, Any]) -> None:
        key = session_key(body)
        if kind == "DELETED":
            self._store.drop_session(body)
            self._stages.forget(body["metadata"]["uid"])
        else:
            if key not in self._store.sessions and "status" not in body:
                self._stages.begin(body["metadata"]["uid"])
            if not self._store.see_session(body):
                return
        self._wake_sessions([key])
        self._wake_pool(PoolKey(key.namespace, body["spec"]["poolRef"]["name"]))

    async def _slot_seen(self, kind: str, body: dict[str, Any]) -> None:
        if kind == "DELETED":
            slot = self._store.drop_slot(body)
            if slot:
                self._sweep.slot_gone(slot)
                self._capacity.wake_waiting()
        else:
            slot = self._store.see_slot(body)
        if slot is None:
            return
        if slot.terminating:
            self._pod_ends(slot.namespace)
        if slot.session_name:
            self._wake_sessions([SessionKey(slot.namespace, slot.session_name)])
        if slot.claimable:
            self._pools.wake_waiting(slot.pool)
        self._wake_pool(slot.pool)

    async def _level_sessions(self, namespace: str | None) -> str:
        changed, version = await self._sweep.level_sessions(namespace)
        self._wake_sessions(changed)
        self._wake_all_pools()
        return version

    async def _level_slots(self, namespace: str | None) -> str:
        changed, version = await self._sweep.level_slots(namespace)
        self._wake_sessions(changed)
        self._wake_all_pools()
        self._capacity.wake_waiting()
        return version

    def _wake_all_pools(self) -> None:
        for pool in self._store.pools:
            self._wake_pool(pool)
            self._pools.wake_waiting(pool)
