"""The periodic look at everything: what watch events missed, orphans, and sessions whose time is up."""

from __future__ import annotations

import logging

from escrow_operator.adapters.kube import PODS, POOLS, SESSIONS, Kube
from escrow_operator.core.manifests.common import SLOT_LABELS
from escrow_operator.models.session import SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.opener import Opener
from escrow_operator.services.store import Store
from escrow_operator.services.wallets import Wallets

_LOG = logging.getLogger(__name__)


class Sweep:
    """Lists, compares and heals. It decides nothing that a reconciliation could decide."""

    def __init__(self, kube: Kube, store: Store, wallets: Wallets, opener: Opener, namespaces: tuple[str, ...]) -> None:
        self._kube = kube
        self._store = store
        self._wallets = wallets
        self._opener = opener
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)

    async def level(self) -> set[SessionKey]:
        """Fill the store from full lists: at start, and again for what silent watches missed.

        Returns the sessions of which that said something new.
        """
        news: set[SessionKey] = set()
        for namespace in self._namespaces:
            self._store.replace_pools(namespace, await self._kube.list(POOLS, namespace))
            news.update(self._store.replace_sessions(namespace, await self._kube.list(SESSIONS, namespace)))
            pods = await self._kube.list(PODS, namespace, labels=SLOT_LABELS)
            changed, gone = self._store.replace_slots(namespace, pods)
            for slot in gone:
                await self.slot_gone(slot)
            news.update(SessionKey(slot.namespace, slot.session_name) for slot in changed + gone if slot.session_name)
        return news

    async def slot_gone(self, slot: Slot) -> None:
        """Forget all about a pod."""
        self._opener.forget(slot.uid)
        await self._wallets.forget(slot.uid)

    async def heal_orphans(self) -> None:
        """Delete adopted pods whose session no longer exists.

        Garbage collection does it; this is for the pod whose adoption was answered after its session had gone.
        """
        for slot in self._store.orphans():
            if not slot.terminating:
                _LOG.warning("pod %s was adopted by a session that is gone; deleting it", slot.name)
                await self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid)
