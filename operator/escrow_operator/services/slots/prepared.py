"""Which prepared escrows there are, which of them a session may get, and how many a pool lacks."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context

Slots = dict[Role, Slot]


@dataclass(frozen=True, slots=True)
class _Proven:
    """Kept of each pod of a prepared escrow: what its wallets were seen to hold, in which process, and since when."""

    escrow: PreparedEscrow
    incarnation: str
    since: float


@dataclass(frozen=True)
class Triple:
    """The pods of a prepared escrow, ending ones included.

    ``escrow`` is what all three of them were seen to hold, in the processes that they have now; None before that.
    ``seen`` is the same of at least one of them, whatever became of the others; ``seen_for`` is for how many seconds.
    """

    name: str
    pool: PoolKey
    slots: Slots
    escrow: PreparedEscrow | None
    seen: PreparedEscrow | None
    seen_for: float

    @property
    def address(self) -> str:
        """The address of the wallets; empty before it was proven."""
        return (self.escrow.address if self.escrow else None) or ""

    @property
    def complete(self) -> bool:
        """Whether all three pods can be called."""
        return len(self.slots) == len(ROLES) and all(slot.usable for slot in self.slots.values())

    @property
    def is_ending(self) -> bool:
        """Whether one of its pods is gone, or about to go."""
        return len(self.slots) < len(ROLES) or any(slot.terminating for slot in self.slots.values())


class PreparedEscrows:
    """The prepared escrows as their pods show them. All is synchronous: no two sessions are offered the same one."""

    def __init__(self, ctx: Context) -> None:
        self._store, self._memory, self._clock = ctx.store, ctx.memory, ctx.clock
        self._reserved: set[str] = set()
        self._making: set[PoolKey] = set()

    def of_pool(self, pool: PoolKey) -> list[Triple]:
        """All of a pool, oldest first, those that lack pods or are being prepared or claimed included."""
        found: defaultdict[str, Slots] = defaultdict(dict)
        for slot in self._store.prepared_slots(pool):
            if slot.prepared:
                found[slot.prepared][slot.role] = slot
        triples = [self._triple(name, pool, slots) for name, slots in found.items()]
        return sorted(triples, key=lambda triple: (min(s.created_at for s in triple.slots.values()), triple.name))

    def find(self, pool: PoolKey, name: str) -> Triple | None:
        """One of a pool as it is now; None when it has no pods any more."""
        slots = {slot.role: slot for slot in self._store.prepared_slots(pool) if slot.prepared == name}
        return self._triple(name, pool, slots) if slots else None

    def ready(self, pool: PoolKey) -> list[Triple]:
        """Those that a session may get now, oldest first."""
        return [one for one in self.of_pool(pool) if one.complete and one.escrow and one.name not in self._reserved]

    def is_reserved(self, name: str) -> bool:
        """Whether a prepared escrow is being made, claimed or ended by this process."""
        return name in self._reserved

    @contextlib.contextmanager
    def reserved(self, name: str) -> Iterator[None]:
        """Keep everybody else in this process off a prepared escrow for the block."""
        self.reserve(name)
        try:
            yield
        finally:
            self.release(name)

    def reserve(self, name: str) -> None:
        """Keep everybody else in this process off a prepared escrow."""
        self._reserved.add(name)

    def release(self, name: str) -> None:
        """End a reservation."""
        self._reserved.discard(name)

    @contextlib.contextmanager
    def making(self, pool: PoolKey) -> Iterator[None]:
        """Note that slots of a pool are being taken for the block."""
        self._making.add(pool)
        try:
            yield
        finally:
            self._making.discard(pool)

    def keeps(self, pool: PoolKey) -> bool:
        """Whether a pool has prepared escrows that do not end yet, or makes one."""
        slots = self._store.prepared_slots(pool)
        return pool in self._making or any(not slot.terminating for slot in slots)

    def prove(self, slots: Slots, escrow: PreparedEscrow) -> None:
        """Note that these pods' wallets were seen to be those of the escrow, open and unused."""
        now = self._clock.monotonic()
        for slot in slots.values():
            self._memory.put(slot.uid, _Proven(escrow, slot.incarnation, now))

    def doubt(self, slots: Slots) -> None:
        """Offer these pods' wallets to nobody before they are proven again."""
        for slot in slots.values():
            self._memory.drop(slot.uid, _Proven)

    def lacking(self, pool: Pool) -> int:
        """How many more the pool's spec wants."""
        if pool.deleting:
            return 0
        there = sum(1 for triple in self.of_pool(pool.key) if not triple.is_ending)
        return max(0, pool.spec.prepared_escrows - there)

    def _triple(self, name: str, pool: PoolKey, slots: Slots) -> Triple:
        known = {role: self._memory.find(slot.uid, _Proven) for role, slot in slots.items()}
        proven = [one for one in known.values() if one]
        sure = len(proven) == len(ROLES) and all(
            one and one.incarnation == slots[role].incarnation for role, one in known.items()
        )
        seen = proven[0] if proven else None
        return Triple(
            name,
            pool,
            slots,
            escrow=seen.escrow if seen and sure else None,
            seen=seen.escrow if seen else None,
            seen_for=self._clock.monotonic() - seen.since if seen else 0.0,
        )
