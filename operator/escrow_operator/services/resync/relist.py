"""Full lists, for what watches missed, and the deletion of orphaned pods."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from escrow_operator.adapters.kube import PODS, POOLS, SESSIONS, Listing
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError, UnavailableError
from escrow_operator.core.manifests.common import SLOT_LABELS
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.namespaces import Namespaces
from escrow_operator.services.runtime.gather import both
from escrow_operator.services.state.newest import Listed
from escrow_operator.services.state.store import session_key

_LOG = logging.getLogger(__name__)

ORPHANS_AT_ONCE = 50
"""Orphans checked per namespace and sweep: a tenant who may create pods can fake orphans, and others must not wait."""


Versions = dict[str | None, str | None]
"""The version of each namespace's list of pods (None: of the cluster); None where the list was refused."""


class Relist:
    """Reads full lists and deletes orphaned pods; decides nothing that a reconciliation could decide."""

    def __init__(self, ctx: Context, namespaces: Namespaces) -> None:
        self._kube, self._store, self._wakeups = ctx.kube, ctx.store, ctx.wakeups
        self._namespaces = namespaces

    async def everything(self) -> tuple[set[SessionKey], Versions]:
        """Fill the store from full lists: at the start, and again for what watches missed.

        Returns the keys of the sessions with news, and the versions of the lists of pods. A namespace that refuses
        stays as it was known. Raises KubeError.
        """
        news: set[SessionKey] = set()
        versions: Versions = {}
        for namespace in self._namespaces.served:
            found = await self._namespaces.apart(namespace, self._list_all(namespace))
            versions[namespace] = found.version if found else None
            if found:
                news |= found.news
        return news, versions

    async def objects(self, namespace: str | None) -> None:
        """Relist sessions and pools of a namespace (None: of the cluster), drop those gone, requeue what changed."""
        found = await self._namespaces.apart(namespace, self._list_objects(namespace))
        if found is not None:
            self._wakeups.sessions(found)
            self._wakeups.all_pools()

    async def _list_objects(self, namespace: str | None) -> set[SessionKey]:
        """Relist pools and sessions; returns the keys of sessions that changed, are gone, or lost their pool."""
        gone = await self._list_pools(namespace)
        news = await self.list_sessions(namespace)
        return news.union(self._sessions_of(gone))

    async def _list_pools(self, namespace: str | None) -> list[PoolKey]:
        """Relist pools; returns the keys of those that are gone."""
        uids: set[str] = set()
        version = ""
        async for page in self._kube.pages(POOLS, namespace):
            for body in page.items:
                self._store.see_pool(body)
            uids |= _uids(page)
            version = page.version
        return self._store.drop_absent_pools(Listed(namespace, uids, version))

    def _sessions_of(self, pools: Iterable[PoolKey]) -> Iterator[SessionKey]:
        return (key for pool in pools for key in self._store.sessions_of_pool(pool))

    async def _list_all(self, namespace: str | None) -> _Found:
        gone = await self._list_pools(namespace)
        # Concurrently: the API server makes a page of one list while a page of the other is read.
        sessions, (slots, version) = await both(self.list_sessions(namespace), self.list_slots(namespace))
        return _Found(sessions.union(slots, self._sessions_of(gone)), version)

    async def list_sessions(self, namespace: str | None) -> set[SessionKey]:
        """Relist sessions; returns the keys of those that changed or are gone."""
        news: set[SessionKey] = set()
        uids: set[str] = set()
        version = ""
        async for page in self._kube.pages(SESSIONS, namespace):
            news.update(session_key(body) for body in page.items if self._store.see_session(body))
            uids |= _uids(page)
            version = page.version
        return news.union(self._store.drop_absent_sessions(Listed(namespace, uids, version)))

    async def list_slots(self, namespace: str | None) -> tuple[set[SessionKey], str]:
        """Relist wallet pods; returns the keys of sessions whose pods changed or are gone, and the list's version."""
        changed: list[Slot] = []
        uids: set[str] = set()
        version = ""
        async for page in self._kube.pages(PODS, namespace, labels=SLOT_LABELS):
            changed += filter(None, map(self._store.see_slot, page.items))
            uids |= _uids(page)
            version = page.version
        gone = self._store.drop_absent_slots(Listed(namespace, uids, version))
        return {SessionKey(s.namespace, s.session_name) for s in changed + gone if s.session_name}, version

    async def heal_orphans(self) -> None:
        """Delete adopted pods whose session no longer exists.

        Garbage collection usually does it; this is for a pod whose adoption was answered after its session had gone.
        """
        looked_at: Counter[str] = Counter()
        for slot in self._store.orphans():
            if slot.terminating or looked_at[slot.namespace] >= ORPHANS_AT_ONCE:
                continue
            looked_at[slot.namespace] += 1
            try:
                if await self._is_orphan(slot):
                    _LOG.warning("pod %s was adopted by a session that is gone; deleting it", slot.name)
                    await self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid)
            except UnavailableError:
                raise
            except (KubeError, ValueError) as error:
                # An error of one pod or its namespace: the next sweep tries again, and the other pods must not wait.
                _LOG.warning("orphaned pod %s was left alone: %s", slot.name, error)

    async def _is_orphan(self, slot: Slot) -> bool:
        """Whether the API server says that the session is gone: the store may be stale, and a trade's wallet open."""
        if not slot.session_name:
            return False
        try:
            body = await self._kube.get(SESSIONS, slot.namespace, slot.session_name)
        except NotFoundError as error:
            # The API server also answers 404 while it does not know the kind.
            return error.is_about(slot.session_name)
        self._store.see_session(body)
        return bool(body["metadata"]["uid"] != slot.session_uid)


class _Found(NamedTuple):
    """Sessions with news in a namespace, and the version of its list of pods."""

    news: set[SessionKey]
    version: str


def _uids(listing: Listing) -> set[str]:
    return {body["metadata"]["uid"] for body in listing.items}
