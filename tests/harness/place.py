"""A namespace of the test cluster with a WalletPool of its own."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from contextlib import AsyncExitStack
from typing import Any

from escrow_operator.adapters.kube import EVENTS, PODS, POOLS, SECRETS, SESSIONS
from escrow_operator.core.manifests.common import RPC_PORT, SLOT_LABELS
from escrow_operator.core.secretuse import SecretUse
from escrow_operator.models.common import API_VERSION, ROLES, Label, Role
from testbed import regtest

from .api import NAMESPACES, Api, ApiError, Body, is_ready
from .chain import forwarded
from .escrow import Escrow, condition, decode
from .waiting import PATIENCE, wait_for
from .world import World

TEST_LABEL = "xmr-escrow.dev/test-place"
POOL = "pool"

FIRST_PATIENCE = 2 * PATIENCE
"""Seconds for a new pool: its volumes are made first, and a module's pool is made while the one before is busy."""

_SLOTS = ",".join(f"{key}={value}" for key, value in SLOT_LABELS.items())


class Place:
    """Where one test module, or one test, plays."""

    def __init__(self, world: World, title: str) -> None:
        self.world = world
        self.api = world.api
        self.namespace = f"{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')[:40]}-{secrets.token_hex(2)}"
        self.pool_name = POOL

    async def open(self, *, warm_slots: int | None = 1) -> None:
        """Make the namespace, and its pool unless ``warm_slots`` is None."""
        labels = {TEST_LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
        await self.api.create(NAMESPACES, None, {"metadata": {"name": self.namespace, "labels": labels}})
        if warm_slots is not None:
            await self.make_pool(warmSlots=warm_slots)
            await self.until_warm(within=FIRST_PATIENCE)

    async def close(self) -> None:
        """Ask for the namespace's removal; ``remove_places`` waits for it before the next run."""
        found = await self.api.find(NAMESPACES, None, self.namespace)
        if found and "deletionTimestamp" not in found["metadata"]:
            await self.api.delete(NAMESPACES, None, self.namespace)

    def escrow(self, name: str) -> Escrow:
        """A session by name."""
        return Escrow(self, name)

    async def active(self, name: str, **spec: Any) -> Escrow:
        """A session that was applied and is Active."""
        escrow = self.escrow(name)
        await escrow.apply(**spec)
        await escrow.until_active()
        return escrow

    def pool_spec(self, **spec: Any) -> Body:
        """A WalletPool's spec: this machine's image and monerod, storage that both nodes share, and ``spec``."""
        return {
            "image": self.world.images.wallet,
            "daemon": {"address": regtest.RPC_ADDRESS, "network": "regtest", "trusted": True},
            "warmSlots": 1,
            "preparedEscrows": 0,
            "storage": {"storageClassName": "shared", "size": "100Mi", "accessModes": ["ReadWriteMany"]},
            "terminationGracePeriodSeconds": 30,
            **spec,
        }

    async def make_pool(self, name: str = POOL, **spec: Any) -> Body:
        """Apply a WalletPool. Raises ApiError when refused."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "WalletPool",
            "metadata": {"name": name},
            "spec": self.pool_spec(**spec),
        }
        return await self.api.apply(POOLS, self.namespace, body)

    async def pool(self, name: str = POOL) -> Body:
        """The status of a pool."""
        status: Body = (await self.api.get(POOLS, self.namespace, name)).get("status") or {}
        return status

    async def until_pool(
        self, kind: str, status: str, reason: str | None = None, *, name: str = POOL, within: float = PATIENCE
    ) -> Body:
        """Wait for a condition of a pool; the condition then."""

        async def look() -> Body | None:
            found = condition(await self.pool(name), kind)
            return found if found.get("status") == status and reason in (None, found.get("reason")) else None

        return await wait_for(
            look, what=f"pool {name}: {kind} {status} {reason or ''}", within=within, explain=self.explain
        )

    async def until_prepared(self, number: int = 1, *, within: float = PATIENCE) -> None:
        """Wait until so many prepared escrows wait for sessions, by the pool's word and by what there is."""

        async def look() -> bool:
            pods = await self.slots(f"{Label.SLOT}=prepared")
            if len(pods) != number * len(ROLES) or not all(map(is_ready, pods)):
                return False
            return bool((await self.pool()).get("preparedEscrows") == number)

        await wait_for(look, what=f"{number} prepared escrows", within=within, explain=self.explain)

    async def until_refilled(self) -> None:
        """Wait for a free slot of each role: Ready does not wait for what replaces taken ones."""

        async def look() -> bool:
            free = (await self.pool()).get("free") or {}
            return all(free.get(role.value) for role in ROLES)

        await wait_for(look, what="a free slot of each role", explain=self.explain)

    async def until_warm(self, slots: int | None = None, *, within: float = PATIENCE) -> Body:
        """Wait until the pool has its free slots, none starting or ending, and nothing adopted; its status then."""

        async def look() -> Body | None:
            body = await self.api.get(POOLS, self.namespace, POOL)
            status: Body = body.get("status") or {}
            wanted = {role.value: slots if slots is not None else body["spec"]["warmSlots"] for role in ROLES}
            none = dict.fromkeys(wanted, 0)
            counts = [status.get(count) for count in ("free", "starting", "terminating", "adopted")]
            return status if counts == [wanted, none, none, none] else None

        return await wait_for(look, what="the pool to be warm", within=within, explain=self.explain)

    async def until_free(self, slots: int, *, within: float = PATIENCE) -> None:
        """Wait until there are so many free slots of each role, whatever else there is."""

        async def look() -> bool:
            free: dict[str, int] = (await self.pool()).get("free") or {}
            return min(free.values(), default=0) >= slots

        await wait_for(look, what=f"{slots} free slots of each role", within=within, explain=self.explain)

    async def slots(self, labels: str = "") -> list[Body]:
        """All wallet-rpc pods of the namespace."""
        return await self.api.list(PODS, self.namespace, labels=f"{_SLOTS},{labels}" if labels else _SLOTS)

    async def free_slots(self) -> list[Body]:
        """Those that nobody has adopted."""
        return await self.slots(f"{Label.SLOT}=free")

    async def free_slot(self, role: Role) -> str:
        """The name of one that nobody has adopted, once its containers run: new ones need a moment."""

        async def look() -> str | None:
            free = await self.slots(f"{Label.SLOT}=free,{Label.POOL}={self.pool_name},{Label.ROLE}={role.value}")
            return next((pod["metadata"]["name"] for pod in free if is_ready(pod)), None)

        return await wait_for(look, what=f"a free {role} slot that is ready", explain=self.explain)

    async def secret(
        self, name: str, data: dict[str, str], *, use: SecretUse | None = SecretUse.WALLET_PASSWORD
    ) -> Body:
        """Create or change a Secret; ``use`` is what specs may name it for."""
        labels = {Label.SECRET_USE: use.value} if use else {}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": labels},
            "stringData": data,
        }
        return await self.api.apply(SECRETS, self.namespace, body)

    async def read_secret(self, name: str) -> dict[str, str]:
        """A Secret's data, decoded. Raises ApiError when there is none."""
        return decode(await self.api.get(SECRETS, self.namespace, name))

    async def forward(self, stack: AsyncExitStack, pod: str, port: int = RPC_PORT) -> str:
        """URL on this machine of a pod's port, until the stack closes."""
        return await forwarded(stack, self.world.cluster, self.namespace, f"pod/{pod}", port)

    async def kubectl(self, *args: str) -> str:
        """What kubectl prints, in this namespace."""
        return await asyncio.to_thread(self.world.cluster.kubectl, "--namespace", self.namespace, *args)

    async def explain(self) -> str:
        """All there is to say about its pools and pods when a test fails."""
        pools = {p["metadata"]["name"]: p.get("status") for p in await self.api.list(POOLS, self.namespace)}
        events = "\n".join(
            f"{e['type']} {e['involvedObject']['kind']}/{e['involvedObject'].get('name')} {e['reason']}: {e['message']}"
            for e in await self.api.list(EVENTS, self.namespace)
            if e["type"] != "Normal" or e["involvedObject"]["kind"] == "WalletPool"
        )
        pods = await self.kubectl("get", "pods", "-o", "wide", "--show-labels")
        log = await self.world.operator.tail()
        return f"--- pools\n{json.dumps(pools, indent=1)}\n--- pods\n{pods}\n--- events\n{events}\n{log}"


async def remove_places(api: Api) -> None:
    """Remove what earlier runs left, and wait until it is gone: its slots would count against the operator's cap."""

    async def gone() -> bool:
        return not await api.list(NAMESPACES, labels=f"{TEST_LABEL}=true")

    for namespace in await api.list(NAMESPACES, labels=f"{TEST_LABEL}=true"):
        await api.delete(NAMESPACES, None, namespace["metadata"]["name"])

    async def explain() -> str:
        names = [n["metadata"]["name"] for n in await api.list(NAMESPACES, labels=f"{TEST_LABEL}=true")]
        left = []
        for name in names:
            for resource in (SESSIONS, POOLS, PODS):
                try:
                    found = await api.list(resource, name)
                except ApiError as error:
                    left.append(str(error))
                else:
                    left += [
                        f"{name}: {resource.plural} {o['metadata']['name']} {o['metadata'].get('finalizers')}"
                        for o in found
                    ]
        return "\n".join(left)

    await wait_for(gone, what="namespaces of an earlier run to be gone", within=150, explain=explain)
