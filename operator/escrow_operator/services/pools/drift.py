"""Notices what others changed in, or deleted of, the objects that pools are made of.

By lists that carry the operator's label, a few requests for all pools of the cluster; nothing is written before
something differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from escrow_operator.adapters.kube import CLAIMS, DEPLOYMENTS, NETWORK_POLICIES, SERVICES, Kube, Resource
from escrow_operator.core.manifests.common import BASE_LABELS
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.services.state.namespaces import Namespaces
from escrow_operator.services.state.store import Store


class Mark(NamedTuple):
    """One object of a pool."""

    resource: str
    name: str


class State(NamedTuple):
    """What was wanted of an object, and which version of it the API server answered with; None for one removed."""

    digest: str
    version: tuple[str, str] | None


class Applied:
    """What the operator applied of each pool, so that it applies nothing twice."""

    def __init__(self) -> None:
        self._pools: dict[PoolKey, dict[Mark, State]] = {}
        self._uids: dict[PoolKey, str] = {}

    def begin(self, pool: Pool) -> None:
        """A pool is about to be looked at: what was applied of another of its name says nothing of this one.

        Its objects go with it, by garbage collection, and maybe not at once.
        """
        if self._uids.get(pool.key) != pool.uid:
            self._pools.pop(pool.key, None)
            self._uids[pool.key] = pool.uid

    def is_current(self, pool: PoolKey, resource: Resource, name: str, digest: str) -> bool:
        """Whether this was applied, and nobody was seen to change it since."""
        state = self._pools.get(pool, {}).get(Mark(resource.plural, name))
        return state is not None and state.digest == digest

    def uid(self, pool: PoolKey, resource: Resource, name: str) -> str | None:
        """The uid of the object that was applied; None when none is known, or somebody was seen to change it."""
        state = self._pools.get(pool, {}).get(Mark(resource.plural, name))
        return state.version[0] if state and state.version else None

    def note(self, pool: PoolKey, resource: Resource, body: dict[str, Any], digest: str) -> None:
        """The API server's answer to applying something."""
        mark = Mark(resource.plural, body["metadata"]["name"])
        self._pools.setdefault(pool, {})[mark] = State(digest, _version(resource, body))

    def note_removed(self, pool: PoolKey, resource: Resource, name: str, digest: str) -> None:
        """Something was deleted, or was not there."""
        self._pools.setdefault(pool, {})[Mark(resource.plural, name)] = State(digest, None)

    def forget(self, pool: PoolKey) -> None:
        """The pool is gone."""
        self._pools.pop(pool, None)
        self._uids.pop(pool, None)

    def compare(self, resource: Resource, namespace: str | None, found: Mapping[tuple[str, str], Any]) -> None:
        """Forget what is no longer as it was applied: the pool's next look applies it again.

        ``found`` are the versions of what there is, by namespace and name.
        """
        for pool, states in self._pools.items():
            if namespace not in (None, pool.namespace):
                continue
            for mark, state in list(states.items()):
                if mark.resource == resource.plural and found.get((pool.namespace, mark.name)) != state.version:
                    del states[mark]


class Drift:
    """Compares with what there is."""

    def __init__(self, kube: Kube, store: Store, applied: Applied, namespaces: Namespaces) -> None:
        self._kube = kube
        self._store = store
        self._applied = applied
        self._namespaces = namespaces

    async def look(self) -> None:
        """One list of each kind and namespace served. What changes while they are read is compared the next time."""
        if not self._store.pools:
            return
        for namespace in self._namespaces.served:
            await self._namespaces.apart(namespace, self._compare(namespace))

    async def _compare(self, namespace: str | None) -> None:
        for resource in (CLAIMS, SERVICES, DEPLOYMENTS, NETWORK_POLICIES):
            found = {}
            # No page is kept: others may give objects of theirs these labels, and as many and as long as they like.
            async for page in self._kube.pages(resource, namespace, labels=BASE_LABELS):
                for body in page.items:
                    found[body["metadata"]["namespace"], body["metadata"]["name"]] = _version(resource, body)
            self._applied.compare(resource, namespace, found)


def _version(resource: Resource, body: dict[str, Any]) -> tuple[str, str]:
    """Changes with what matters of an object: its spec where that is counted, of a claim only that it is the same."""
    meta = body["metadata"]
    if resource is CLAIMS:
        return meta["uid"], ""
    return meta["uid"], str(meta.get("generation") or meta["resourceVersion"])
