"""A namespace with pools of simulated slots, and sessions in it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from benchmarks.fleet import objects
from benchmarks.fleet.cleanup import VOLUMES
from benchmarks.fleet.client import PAGE, in_parallel
from benchmarks.fleet.fakes import DAEMON_PORT
from benchmarks.fleet.world import World
from escrow_operator.adapters.kube import PODS, POOLS, SECRETS, SESSIONS
from escrow_operator.models.common import Label, Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.slot import Slot
from harness.api import NAMESPACES, Body
from harness.waiting import wait_for
from testbed import progress

POOL_MOST = 500
"""Warm slots per role that a pool may have."""

REFILL_SECONDS = 600.0


class Place:
    """Pools that together keep ``warm`` slots per role."""

    def __init__(self, world: World, namespace: str, *, warm: int, daemon_port: int = DAEMON_PORT) -> None:
        self.world = world
        self.namespace = namespace
        count = -(-warm // POOL_MOST)
        self.warm = -(-warm // count)
        self.pools = [PoolKey(namespace, f"pool-{number}") for number in range(count)]
        self._daemon_port = daemon_port
        self._numbers = itertools.count()

    async def open(self) -> None:
        """Make all of it, and wait until every slot is free."""
        api = self.world.api
        await api.create(NAMESPACES, None, {"metadata": {"name": self.namespace, "labels": objects.LABELS}})
        await api.create(SECRETS, self.namespace, objects.password_secret())
        for key in self.pools:
            for volume in objects.volumes(key):
                await api.create(VOLUMES, None, volume)
            body = objects.pool(
                key,
                image=self.world.images.wallet,
                daemon=self.world.daemon,
                warm_slots=self.warm,
                daemon_port=self._daemon_port,
            )
            await api.create(POOLS, self.namespace, body)
        await self.until_warm()

    async def until_warm(self) -> None:
        """Wait until all slots are free, none starting or ending, and nothing adopted."""

        async def warm() -> bool:
            return all(map(self._is_warm, await self.world.api.list(POOLS, self.namespace)))

        with progress.step(f"filling {len(self.pools)} pools with {3 * self.warm} simulated slots each"):
            explain = self.world.operator.tail
            await wait_for(warm, what="the pools to be warm", within=REFILL_SECONDS, explain=explain)

    def _is_warm(self, body: Body) -> bool:
        status = body.get("status") or {}
        counts = {count: status.get(count) or {} for count in ("free", "starting", "terminating", "adopted")}
        free = counts.pop("free")
        return len(free) == 3 and min(free.values()) >= self.warm and not any(sum(c.values()) for c in counts.values())

    async def create(self) -> Body:
        """One session more, in the pools by turns."""
        number = next(self._numbers)
        body = objects.session(f"session-{number}", self.pools[number % len(self.pools)].name)
        return await self.world.client.send("POST", SESSIONS.path(self.namespace), body)

    async def adopted(self) -> dict[str, list[str]]:
        """The roles of the pods that each session has, by its uid."""
        roles: dict[str, list[str]] = {}
        for meta in await self.world.client.metadata(PODS, self.namespace, labels=Label.SESSION_UID):
            roles.setdefault(meta["labels"][Label.SESSION_UID], []).append(meta["labels"][Label.ROLE])
        return roles

    async def free_slots(self) -> list[Slot]:
        """Those that can be claimed."""
        query = {"limit": str(PAGE), "labelSelector": f"{Label.SLOT}=free"}
        slots: list[Slot] = []
        while True:
            page = await self.world.client.send("GET", PODS.path(self.namespace), query=query)
            slots += [slot for item in page["items"] or () if (slot := Slot.parse(item)).claimable]
            if not (token := page["metadata"].get("continue")):
                return slots
            query["continue"] = token

    async def until_free(self, number: int) -> dict[Role, Sequence[Slot]]:
        """Wait until so many slots of each role are free, whoever counts them."""

        async def enough() -> dict[Role, Sequence[Slot]] | None:
            found: dict[Role, list[Slot]] = {role: [] for role in Role}
            for slot in await self.free_slots():
                found[slot.role].append(slot)
            return {**found} if all(len(slots) >= number for slots in found.values()) else None

        return await wait_for(enough, what=f"{number} free slots per role", within=REFILL_SECONDS)

    async def delete_sessions(self) -> None:
        """Delete all sessions as their owners would, and wait until the last one is gone."""
        client = self.world.client
        names = [meta["name"] for meta in await client.metadata(SESSIONS, self.namespace)]
        await in_parallel(names, lambda name: client.request("DELETE", SESSIONS.path(self.namespace, name)))

        async def gone() -> bool:
            return not await client.metadata(SESSIONS, self.namespace)

        await wait_for(gone, what="the sessions to be gone", within=REFILL_SECONDS, explain=self.world.operator.tail)
