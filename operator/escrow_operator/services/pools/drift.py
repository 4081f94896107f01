"""Notices what others changed in, or deleted of, the objects that pools are made of.

By lists that carry the operator's label, a few requests for all pools of the cluster; nothing is written before
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
    """One object of a pool."""

    resource: str
    name: str


class State(NamedTuple):
    """What was wanted of an object, and which version of it the API server answered with; None for one removed."""

    digest: str
    version: tuple[str, str] | None


@dataclass
class _Objects:
    """The objects of a pool that were applied."""

    states: dict[Mark, State] = field(default_factory=dict)


class Applied:
    """What the operator applied of each pool, so that it applies nothing twice.

    By the pool's uid: what was applied of another one of its name says nothing of this one. Its objects go with it, by
    garbage collection, and maybe not at once.
    """

    def __init__(self, ctx: Context) -> None:
        self._memory, self._store = ctx.memory, ctx.store

    def is_current(self, pool: Pool, resource: Resource, name: str, digest: str) -> bool:
        """Whether this was applied, and nobody was seen to change it since."""
        state = self._states(pool).get(Mark(resource.plural, name))
        return state is not None and state.digest == digest

    def uid(self, pool: Pool, resource: Resource, name: str) -> str | None:
        """The uid of the object that was applied; None when none is known, or somebody was seen to change it."""
        state = self._states(pool).get(Mark(resource.plural, name))
        return state.version[0] if state and state.version else None

    def note(self, pool: Pool, resource: Resource, body: dict[str, Any], digest: str) -> None:
        """The API server's answer to applying something."""
        self._states(pool)[Mark(resource.plural, body["metadata"]["name"])] = State(digest, _version(resource, body))

    def note_removed(self, pool: Pool, resource: Resource, name: str, digest: str) -> None:
        """Something was deleted, or was not there."""
        self._states(pool)[Mark(resource.plural, name)] = State(digest, None)

    def forget(self, pool: Pool) -> None:
        """Look at all objects of the pool again."""
        self._memory.drop(pool.uid, _Objects)

    def _states(self, pool: Pool) -> dict[Mark, State]:
        return self._memory.of(pool.uid, _Objects).states

    def compare(self, resource: Resource, namespace: str | None, found: Mapping[tuple[str, str], Any]) -> None:
        """Forget what is no longer as it was applied: the pool's next look applies it again.

        ``found`` are the versions of what there is, by namespace and name.
        """
        for pool in self._store.pools.values():
            if namespace not in (None, pool.key.namespace):
                continue
            states = self._states(pool)
            for mark, state in list(states.items()):
                if mark.resource == resource.plural and found.get((pool.key.namespace, mark.name)) != state.version:
                    del states[mark]


class DriftDetector:
    """Compares with what there is."""

    def __init__(self, ctx: Context, applied: Applied, namespaces: Namespaces) -> None:
        self._kube, self._store = ctx.kube, ctx.store
        self._applied = applied
        self._namespaces = namespaces

    async def look(self) -> None:
        """One list of each kind and namespace served. What changes while they are read is compared the next time."""
        if not self._store.pools:
            return
        for namespace in self._namespaces.served:
            await self._namespaces.apart(namespace, self._compare(namespace))

    async def _compare(self, namespace: str | None) -> None:
        for resource in (VOLUME_CLAIMS, SERVICES, DEPLOYMENTS, NETWORK_POLICIES):
            found = {}
            # No page is kept: others may give objects of theirs these labels, and as many and as long as they like.
            async for page in self._kube.pages(resource, namespace, labels=BASE_LABELS):
                for body in page.items:
                    found[body["metadata"]["namespace"], body["metadata"]["name"]] = _version(resource, body)
            self._applied.compare(resource, namespace, found)


def _version(resource: Resource, body: dict[str, Any]) -> tuple[str, str]:
    """Changes with an object's spec, where that is counted; of a volume claim, only that it is the same one matters."""
    meta = body["metadata"]
    if resource is VOLUME_CLAIMS:
        return meta["uid"], ""
    return meta["uid"], str(meta.get("generation") or meta["resourceVersion"])
