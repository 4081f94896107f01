"""A world whose pool prepares escrows."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from escrow_operator.adapters.kube import PODS, POOLS, SECRETS
from escrow_operator.core.manifests.prepared import PREPARED_TYPE
from escrow_operator.models.common import ROLES, Label, Role, SlotState
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Session, SessionKey
from escrow_operator.services.pools.objects import CurrentTemplates
from escrow_operator.services.slots.prepared import Triple

from .place import SHOP, Body, World

KEY = PoolKey(SHOP, "default")


class Preparing(World):
    """``prepare`` makes an escrow from free slots, as a pool's reconciliation would have it made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, wanted: int = 1, **sessions: Any) -> None:
        super().__init__(monkeypatch, **sessions)
        self.set_spec(preparedEscrows=wanted, warmSlots=0)

    def set_spec(self, **spec: Any) -> None:
        """Change the pool's spec."""
        body = self.kube.server.get(POOLS, *KEY)
        body["spec"] |= spec
        self.kube.put(POOLS, body)

    @property
    def pool(self) -> Pool:
        """The pool as the operator knows it."""
        return self.operator.store.pools[KEY]

    async def prepare(self, number: int = 1) -> list[Triple]:
        """So many more, each from a free slot of each role."""
        for _ in range(number):
            self.warm()
            await self.reconcile()
        return self.operator.prepared.ready(KEY)

    async def reconcile(self) -> float | None:
        """One reconciliation of the pool's prepared escrows; slots have the template that the spec calls for."""
        memory, slots = self.operator.context.memory, self.operator.store.slots_of_pool(KEY)
        if memory.find(self.pool.uid, CurrentTemplates) is None:
            memory.put(self.pool.uid, CurrentTemplates(frozenset(slot.template for slot in slots)))
        return await self.operator.preparer.reconcile(KEY)

    def pods(self) -> dict[Role, Body]:
        """Copies of the pods of the prepared escrow that no session has; of several the last."""
        return {
            Role(pod["metadata"]["labels"][Label.ROLE]): copy.deepcopy(pod)
            for pod in self.kube.all(PODS)
            if pod["metadata"]["labels"][Label.SLOT] == SlotState.PREPARED
        }

    def secrets(self) -> list[Body]:
        """Copies of those of prepared escrows."""
        return [copy.deepcopy(secret) for secret in self.kube.all(SECRETS) if secret.get("type") == PREPARED_TYPE]

    def known(self, name: str = "trade") -> Session:
        """A session as the operator knows it."""
        return self.operator.store.sessions[SessionKey(SHOP, name)]

    def marks(self) -> dict[Role, str]:
        """What wallets are marked with in their files."""
        return {
            role: file.stored[Label.CLAIMED_BY]
            for role in ROLES
            for (of, _), file in self.wallets.disk.items()
            if of is role and Label.CLAIMED_BY in file.stored
        }
