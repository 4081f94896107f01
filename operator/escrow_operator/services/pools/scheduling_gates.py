"""Delays the start of pods that replace claimed slots while it would take CPU from wallets that are being opened.

Opening a wallet takes seconds of CPU, and so does starting three pods. The ReplicaSets create the replacements at the
moment of a claim, just when the session's wallets open. So that the user waits for the wallets alone, the pods are
created with a scheduling gate, which the operator removes: at once when sessions wait for slots or no wallet is being
opened, else when the wallets are open, or after ``HOLD_SECONDS``; after ``CROWDED_SECONDS`` while so many sessions open
that some of them queue. Sessions that take prepared escrows open no wallets, but are told of within tenths of a second:
the pods wait until ``SETTLE_SECONDS`` after the last of these.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator

from escrow_operator.adapters.kube import PODS
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.core.manifests.pool import ungate
from escrow_operator.models.common import parse_time
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.gather import gather_all

HOLD_SECONDS = 15.0
"""Seconds that a pod keeps its gate at most, however many sessions open one by one: to exchange keys and prove it takes
ten. Nobody waits for such a pod: for each session that waits for slots pods start at once."""

CROWDED_SECONDS = 45.0
"""The same while more sessions open than may exchange keys at once: those that queue wait for CPU, of which the pods of
twenty sessions take a minute on two cores. Shorter than a Ready pool may lack slots (poolstatus.REPLACEMENT_GRACE)."""

SETTLE_SECONDS = 2.0
"""After a session took a prepared escrow: others often follow, each done in less than the start of a pod takes."""

LONGEST_SETTLE_SECONDS = 60.0
"""Seconds that a pod keeps its gate at most because sessions take prepared escrows one after another."""

PATIENCE_SECONDS = 30.0
"""After which an opening that does not end keeps nobody from preparing escrows: its wallet may hang."""

LEAST_SECONDS = 0.1
"""Least requeue delay for what comes due: a smaller one may be none at all, by the rounding of two clocks."""

AT_ONCE = 30
"""Gates removed in one reconciliation; each is a request, and the scheduler takes the pods one by one anyway."""


class SchedulingGates:
    """Removes scheduling gates, pool by pool."""

    def __init__(self, ctx: Context) -> None:
        self._kube, self._store, self._clock, self._wakeups = ctx.kube, ctx.store, ctx.clock, ctx.wakeups
        self._most = ctx.settings.sessions.max_key_exchanges
        self._opening = 0
        self._preparing = 0
        self._numbers = itertools.count()
        self._begun: dict[int, float] = {}
        """When (monotonic) the openings under way began."""
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._held: set[PoolKey] = set()
        self._settled_at = -math.inf

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Keep gates in place while the wallets of a session are created or opened."""
        self._opening += 1
        self._quiet.clear()
        number = next(self._numbers)
        self._begun[number] = self._clock.monotonic()
        try:
            yield
        finally:
            self._opening -= 1
            del self._begun[number]
            if not self._opening:
                self._quiet.set()
            if self._opening == self._most:
                self._wake_held()
            self._let_go()

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Keep gates in place while an escrow is prepared, for which nobody waits."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            self._let_go()

    def unsettle(self) -> None:
        """Note that a session takes a prepared escrow."""
        self._settled_at = self._clock.monotonic() + SETTLE_SECONDS

    @property
    def unsettled_for(self) -> float:
        """Seconds until no session has taken a prepared escrow for a while; 0 when that is so."""
        return max(0.0, self._settled_at - self._clock.monotonic())

    @property
    def quiet(self) -> bool:
        """Whether no session's wallets are being created or opened, but for those that have been for too long."""
        now = self._clock.monotonic()
        return all(now - begun > PATIENCE_SECONDS for begun in self._begun.values())

    async def wait_for_quiet(self, longest: float) -> None:
        """Wait until no session's wallets are being created or opened, for ``longest`` seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._quiet.wait()

    def _let_go(self) -> None:
        if not self._opening and not self._preparing:
            self._wake_held()

    def _wake_held(self) -> None:
        held, self._held = self._held, set()
        for pool in held:
            self._wakeups.pool(pool)

    async def look(self, pool: PoolKey, *, waiting: int) -> float | None:
        """Remove gates; ``waiting`` sessions lack a slot of each role. Returns the requeue delay in seconds or None."""
        slots = [slot for slot in self._store.gated_slots(pool) if not slot.terminating]
        unsettled_for = self.unsettled_for
        longest = max(self._hold_seconds, LONGEST_SETTLE_SECONDS if unsettled_for else 0.0)
        go = [slot for slot in slots if self._age(slot) >= longest]
        wanted = Counter({slot.role: waiting for slot in slots})
        wanted.subtract(slot.role for slot in go)
        for slot in slots:
            if wanted[slot.role] > 0 and slot not in go:
                wanted[slot.role] -= 1
                go.append(slot)
        await gather_all(self._start(slot) for slot in go[:AT_ONCE])
        if len(go) > AT_ONCE:
            return 0.0
        if len(go) == len(slots):
            return None
        self._held.add(pool)
        due = min(longest - self._age(slot) for slot in slots if slot not in go)
        return min(due, max(unsettled_for, LEAST_SECONDS)) if unsettled_for else due

    @property
    def _hold_seconds(self) -> float:
        if self._opening > self._most:
            return CROWDED_SECONDS
        return HOLD_SECONDS if self._opening or self._preparing else 0.0

    def _age(self, slot: Slot) -> float:
        # A clock that was set back makes no pod wait for longer.
        return max(0.0, (self._clock.now() - parse_time(slot.created_at)).total_seconds())

    async def _start(self, slot: Slot) -> None:
        try:
            self._store.see_slot(await self._kube.patch(PODS, slot.namespace, slot.name, ungate(slot)))
        except (ConflictError, NotFoundError):
            # Gone, or changed: its watch event requeues the pool.
            return
