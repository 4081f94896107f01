"""Which prepared escrows there are, which of them a session may get, and how many a pool lacks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context

Slots = dict[Role, Slot]


@dataclass(frozen=True, slots=True)
class _Proven:
    """Kept of the pod of the first role: the escrow that its wallets were seen to hold, and in which processes."""

    escrow: PreparedEscrow
    incarnations: tuple[str, ...]


@dataclass(frozen=True)
class Triple:
    """The three pods of a prepared escrow, with what was proven of them; None before that."""

    name: str
    pool: PoolKey
    slots: Slots
    escrow: PreparedEscrow | None

    @property
    def address(self) -> str:
        """The address of the wallets; empty before it was proven."""
        return (self.escrow.address if self.escrow else None) or ""

    @property
    def complete(self) -> bool:
        """Whether all three pods can be called."""
        return len(self.slots) == len(ROLES) and all(slot.usable for slot in self.slots.values())


class PreparedEscrows:
    """The prepared escrows as their pods show them. All is synchronous: no two sessions are offered the same one."""

    def __init__(self, ctx: Context) -> None:
        self._store, self._memory = ctx.store, ctx.memory
        self._reserved: set[str] = set()

    def of_pool(self, pool: PoolKey) -> list[Triple]:
        """All of a pool, oldest first, those that lack pods or are being prepared or claimed included."""
        found: defaultdict[str, Slots] = defaultdict(dict)
        for slot in self._store.prepared_slots(pool):
            if slot.prepared and not slot.terminating:
                found[slot.prepared][slot.role] = slot
        triples = [Triple(name, pool, slots, self._proven(slots)) for name, slots in found.items()]
        return sorted(triples, key=lambda triple: (min(s.created_at for s in triple.slots.values()), triple.name))

    def find(self, pool: PoolKey, name: str) -> Triple | None:
        """One of a pool as it is now; None when it has no pods any more."""
        return next((triple for triple in self.of_pool(pool) if triple.name == name), None)

    def ready(self, pool: PoolKey) -> list[Triple]:
        """Those that a session may get now, oldest first."""
        return [one for one in self.of_pool(pool) if one.complete and one.escrow and one.name not in self._reserved]

    def is_reserved(self, name: str) -> bool:
        """Whether a prepared escrow is being made, claimed or ended by this process."""
        return name in self._reserved

    def reserve(self, name: str) -> None:
        """Keep everybody else in this process off a prepared escrow."""
        self._reserved.add(name)

    def release(self, name: str) -> None:
        """End a reservation."""
        self._reserved.discard(name)

    def prove(self, slots: Slots, escrow: PreparedEscrow) -> None:
        """Note that these pods' wallets were seen to be those of the escrow, open and unused."""
        seen = tuple(slots[role].incarnation for role in ROLES)
        self._memory.put(slots[ROLES[0]].uid, _Proven(escrow, seen))

    def doubt(self, slots: Slots) -> None:
        """Offer these pods' wallets to nobody before they are proven again."""
        self._memory.drop(slots[ROLES[0]].uid, _Proven)

    def lacking(self, pool: Pool) -> int:
        """How many more the pool's spec wants."""
        if pool.deleting:
            return 0
        return max(0, pool.spec.prepared_escrows - len(self.of_pool(pool.key)))

    def _proven(self, slots: Slots) -> PreparedEscrow | None:
        """What was proven of pods; None if one of them is missing, or its process is another by now."""
        if len(slots) < len(ROLES):
            return None
        proven = self._memory.find(slots[ROLES[0]].uid, _Proven)
        if proven is None or proven.incarnations != tuple(slots[role].incarnation for role in ROLES):
            return None
        return proven.escrow
