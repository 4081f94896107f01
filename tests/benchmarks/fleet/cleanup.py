"""Removes what a run made, also when tens of thousands of objects are left and nobody is there to finalize them."""

from __future__ import annotations

from benchmarks.fleet.client import JSON_PATCH, Client, in_parallel
from benchmarks.fleet.kwok import remove_nodes
from benchmarks.fleet.objects import LABELS, STORAGE_CLASS
from escrow_operator.adapters.kube import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    PODS,
    POOLS,
    SECRETS,
    SESSIONS,
    STORAGE_CLASSES,
    Resource,
)
from harness.api import NAMESPACES, Api, Body
from harness.operator import NAMESPACE, RELEASE, OperatorUnderTest
from harness.waiting import wait_for
from testbed import progress

VOLUMES = Resource("/api/v1", "persistentvolumes", namespaced=False)
SELECTOR = ",".join(f"{key}={value}" for key, value in LABELS.items())
GONE_SECONDS = 300.0

# Pods last: until the Deployments are gone, others take their places.
_COLLECTIONS = (POOLS, DEPLOYMENTS, SESSIONS, ENDPOINT_SLICES, SECRETS, PODS)


async def remove_all(api: Api, client: Client, operator: OperatorUnderTest) -> None:
    """Remove the namespaces, volumes and nodes of this run or an earlier one, and wait until they are gone."""
    if await api.find(DEPLOYMENTS, NAMESPACE, RELEASE):
        # It would close wallets one by one that are removed all at once here.
        await operator.scale(0)
    names = [found["metadata"]["name"] for found in await api.list(NAMESPACES, labels=SELECTOR)]
    if names:
        with progress.step(f"removing what was simulated in {', '.join(names)}"):
            for name in names:
                await empty(client, name)
                await api.delete(NAMESPACES, None, name)
            await wait_for(lambda: _gone(api), what="namespaces to be gone", within=GONE_SECONDS)
    await remove_nodes(api)
    for volume in await api.list(VOLUMES, labels=SELECTOR):
        await api.delete(VOLUMES, None, volume["metadata"]["name"])
    await api.delete(STORAGE_CLASSES, None, STORAGE_CLASS)


async def empty(client: Client, namespace: str) -> None:
    """Delete the large collections at once, with nobody's leave; the namespace's own end would take them singly."""
    waiting = [
        (resource, meta)
        for resource in (POOLS, SESSIONS)
        for meta in await client.metadata(resource, namespace)
        if meta.get("finalizers")
    ]

    async def unblock(waits: tuple[Resource, Body]) -> None:
        resource, meta = waits
        patch = [{"op": "remove", "path": "/metadata/finalizers"}]
        await client.request("PATCH", resource.path(namespace, meta["name"]), patch, content_type=JSON_PATCH)

    await in_parallel(waiting, unblock)
    for resource in _COLLECTIONS:
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        await client.request("DELETE", resource.path(namespace), options | {"propagationPolicy": "Background"})


async def _gone(api: Api) -> bool:
    return not await api.list(NAMESPACES, labels=SELECTOR)
