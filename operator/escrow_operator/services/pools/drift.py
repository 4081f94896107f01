"""Detects which objects of pools others changed or deleted.

It lists objects with the operator's label, a few requests for all pools of the cluster; nothing is written unless
something differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from escrow_operator.adapters.kube import DEPLOYMENTS, NETWORK_POLICIES, SERVICES, VOLUME_CLAIMS, Resource
from escrow_operator.core.manifests.common import BASE_LABELS
from escrow_operator.models.pool import Pool
from escrow_operator.services.context import Context
from escrow_operator.services.namespaces import Namespaces


class Mark(NamedTuple):
    """Identifies one object of a pool."""

    resource: str
    name: str


class State(NamedTuple):
    """The digest of an object's desired state, and the version that the API server answered with (None: removed)."""

    digest: str
    version: tuple[str, str] | None


@dataclass(slots=True)
class _Objects:
    """The objects of a pool that were applied."""

    states: dict[Mark, State] = field(default_factory=dict)


class Applied:
    """What the operator applied for each pool, so that it applies nothing twice.

    Kept by the pool's uid: what was applied for a former pool of the same name does not count for this one. The former
    pool's objects go by garbage collection, maybe not at once.
    """

    def __init__(self, ctx: Context) -> None:
        self._memory, self._store = ctx.memory, ctx.store

    def is_current(self, pool: Pool, resource: Resource, name: str, digest: str) -> bool:
        """Whether this was applied, and no change by others has been detected since."""
        state = self._states(pool).get(Mark(resource.plural, name))
        return state is not None and state.digest == digest

    def uid(self, pool: Pool, resource: Resource, name: str) -> str | None:
        """The uid of the object that was applied; None when none is known, or a change by others was detected."""
        state = self._states(pool).get(Mark(resource.plural, name))
        return state.version[0] if state and state.version else None

    def note(self, pool: Pool, resource: Resource, body: dict[str, Any], digest: str) -> None:
        """Record the API server's answer to applying an object."""
        self._states(pool)[Mark(resource.plural, body["metadata"]["name"])] = State(digest, _version(resource, body))

    def note_removed(self, pool: Pool, resource: Resource, name: str, digest: str) -> None:
        """Record that an object was deleted, or did not exist."""
        self._states(pool)[Mark(resource.plural, name)] = State(digest, None)

    def forget(self, pool: Pool) -> None:
        """Forget all that was applied for the pool, so that every object is checked again."""
        self._memory.drop(pool.uid, _Objects)

    def _states(self, pool: Pool) -> dict[Mark, State]:
        return self._memory.of(pool.uid, _Objects).states

    def compare(self, resource: Resource, namespace: str | None, found: Mapping[tuple[str, str], Any]) -> None:
        """Forget objects that are no longer as they were applied: the pool's next reconciliation applies them again.

        ``found`` are the versions of the existing objects, by namespace and name.
        """
        for pool in self._store.pools.values():
            if namespace not in (None, pool.key.namespace):
                continue
            states = self._states(pool)
            for mark, state in list(states.items()):
                if mark.resource == resource.plural and found.get((pool.key.namespace, mark.name)) != state.version:
                    del states[mark]


class DriftDetector:
    """Compares the applied objects with those in the cluster."""

    def __init__(self, ctx: Context, applied: Applied, namespaces: Namespaces) -> None:
        self._kube, self._store = ctx.kube, ctx.store
        self._applied = applied
        self._namespaces = namespaces

    async def look(self) -> None:
        """Compare by one list of each kind and namespace served. What changes meanwhile is compared the next time."""
        if not self._store.pools:
            return
        for namespace in self._namespaces.served:
            await self._namespaces.apart(namespace, self._compare(namespace))

    async def _compare(self, namespace: str | None) -> None:
        for resource in (VOLUME_CLAIMS, SERVICES, DEPLOYMENTS, NETWORK_POLICIES):
            found = {}
            # No page is kept: others may put these labels on their own objects, as many and as large as they like.
            async for page in self._kube.pages(resource, namespace, labels=BASE_LABELS):
                for body in page.items:
                    found[body["metadata"]["namespace"], body["metadata"]["name"]] = _version(resource, body)
            self._applied.compare(resource, namespace, found)


def _version(resource: Resource, body: dict[str, Any]) -> tuple[str, str]:
    """The uid, with the generation or, without one, the resourceVersion; of a volume claim only the uid."""
    meta = body["metadata"]
    if resource is VOLUME_CLAIMS:
        return meta["uid"], ""
    return meta["uid"], str(meta.get("generation") or meta["resourceVersion"])
