"""Prepares escrows before there is a session for them: keys are exchanged while nobody waits.

A prepared escrow is proven exactly as a session's wallets are: its wallets are stored, closed, and opened again from
the files and with the passwords as the API server returns them, and share one address. Whatever is not proven, no
longer current, or left over from an operator that died meanwhile is thrown away: nothing was paid to it, since no
address is published before a session has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import secrets
from dataclasses import dataclass

from escrow_operator.adapters.kube import PODS, SECRETS
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError
from escrow_operator.core.claim import plan_claim
from escrow_operator.core.daemon import daemon_condition
from escrow_operator.core.manifests.prepared import (
    ID_BYTES,
    preparation,
    prepared_file,
    prepared_name,
    prepared_secret,
    proof,
)
from escrow_operator.errors import WalletError
from escrow_operator.models.common import ROLES
from escrow_operator.models.deed import SecretDataError
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.pools.objects import CurrentTemplates
from escrow_operator.services.pools.prepared_upkeep import PreparedUpkeep
from escrow_operator.services.pools.scheduling_gates import SchedulingGates
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import RETRY_SECONDS, Blocked
from escrow_operator.services.slots.claims import ADOPTION_TRIES, SlotClaims, Slots
from escrow_operator.services.slots.prepared import PreparedEscrows, Triple
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.key_exchange import Begun, ExchangeIncomplete, begin, exchange_keys
from escrow_operator.services.wallets.opener import WalletOpener

_LOG = logging.getLogger(__name__)

BUSY_SECONDS = 2.0
"""Requeue delay while sessions are being served."""

PAUSE_SECONDS = 10.0
"""Seconds for which a call of the exchange waits for sessions that are being opened, at most: its pods are taken."""

LONGEST_SECONDS = 300.0
"""For one exchange, pauses included: other pools wait for it."""

LEAST_SECONDS = 1.0
"""Least requeue delay for what comes due: a smaller one may be none at all, by the rounding of two clocks."""

FIRST_FAILURE_SECONDS = 30.0
LONGEST_FAILURE_SECONDS = 3_600.0
"""Requeue delays after failed preparations in a row, doubled each time: each may leave three files for ever."""


@dataclass(frozen=True, slots=True)
class _Failures:
    """Kept of a pool: how many preparations failed in a row, and when (monotonic) the next may begin."""

    number: int = 0
    next_at: float = 0.0


class EscrowPreparer:
    """Keeps the number of prepared escrows that each pool's spec wants, making one at a time."""

    def __init__(
        self,
        ctx: Context,
        *,
        claims: SlotClaims,
        daemons: DaemonPoller,
        gates: SchedulingGates,
        opener: WalletOpener,
        prepared: PreparedEscrows,
        upkeep: PreparedUpkeep,
        wallets: WalletClients,
    ) -> None:
        self._kube, self._store, self._clock = ctx.kube, ctx.store, ctx.clock
        self._memory, self._events, self._fence = ctx.memory, ctx.events, ctx.fence
        self._claims = claims
        self._daemons = daemons
        self._gates = gates
        self._opener = opener
        self._prepared = prepared
        self._upkeep = upkeep
        self._wallets = wallets
        self._busy = False

    async def reconcile(self, key: PoolKey) -> float | None:
        """End what is no longer to be kept, and prepare what is lacking; returns the requeue delay in seconds."""
        again: list[float] = []
        kept = 0
        for name in [triple.name for triple in self._prepared.of_pool(key)]:
            # As both are now: another one may have taken a minute to be looked into.
            pool, triple = self._store.pools.get(key), self._prepared.find(key, name)
            if pool is None or triple is None or self._prepared.is_reserved(name):
                continue
            with self._prepared.reserved(name):
                again.append(await self._keep(pool, triple, surplus=kept >= self._wanted(pool)))
            kept += not triple.is_ending
        pool = self._store.pools.get(key)
        if pool is not None and self._wanted(pool) and self._prepared.lacking(pool):
            again.append(await self._prepare(pool))
        least = min(again, default=math.inf)
        return None if math.isinf(least) else least

    async def _keep(self, pool: Pool, triple: Triple, *, surplus: bool) -> float:
        """Seconds until it is to be looked at again; an error concerns no other one."""
        try:
            delay = await self._upkeep.keep(pool, triple, surplus=surplus)
        except KubeError as error:
            _LOG.warning("prepared escrow %s is looked at again: %s", triple.name, error)
            return RETRY_SECONDS
        return math.inf if delay is None else delay

    def _wanted(self, pool: Pool) -> int:
        return 0 if pool.deleting or pool.key.namespace in self._store.ending else pool.spec.prepared_escrows

    async def _prepare(self, pool: Pool) -> float:
        """Make one prepared escrow, if that takes nothing from anybody now; returns the requeue delay in seconds.

        It is infinite where something else requeues the pool: monerod's state, or a slot that is ready.
        """
        failures = self._memory.find(pool.uid, _Failures) or _Failures()
        wait = failures.next_at - self._clock.monotonic()
        if wait > 0:
            return max(wait, LEAST_SECONDS)
        view = self._daemons.view(pool.key)
        if view is None or view.info is None or daemon_condition(view, pool.spec.daemon).status is not True:
            return math.inf
        if self._busy or not self._gates.quiet or self._claims.waiting(pool.key):
            return BUSY_SECONDS
        if self._gates.unsettled_for and self._prepared.ready(pool.key):
            # The next session may come any moment, and has what it needs.
            return max(self._gates.unsettled_for, LEAST_SECONDS)
        take = self._choose(pool)
        if not take:
            # One more slot of each role is being started for this.
            return math.inf
        number = secrets.token_hex(ID_BYTES)
        name = prepared_name(pool.key, number)
        self._busy = True
        self._store.reserve(take)
        try:
            with self._prepared.reserved(name), self._gates.preparing(), self._prepared.making(pool.key):
                return await self._make(pool, name, prepared_file(pool.key, number), take, view.info.height)
        finally:
            self._store.unreserve(take)
            self._busy = False

    def _choose(self, pool: Pool) -> tuple[Slot, ...]:
        """A free slot of each role beyond those that are kept warm, of the present template: others are replaced."""
        templates = self._memory.find(pool.uid, CurrentTemplates)
        free = self._store.free_slots(pool.key)
        current = [slot for slot in free if templates and slot.template in templates.digests]
        plan = plan_claim(current, ROLES, daemon=pool.spec.daemon.digest)
        enough = plan_claim(free, ROLES, daemon=pool.spec.daemon.digest, ahead=pool.spec.warm_slots)
        return plan.take if enough.take else ()

    async def _make(self, pool: Pool, name: str, file: str, take: tuple[Slot, ...], height: int) -> float:
        try:
            slots: Slots = {}
            for slot in await gather_all(self._take(pool, slot, name, file) for slot in take):
                slots[slot.role] = slot
        except (ConflictError, NotFoundError) as error:
            # A slot or the pool changed meanwhile: no file was made.
            await self._end(pool, name, str(error))
            return BUSY_SECONDS
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                escrow = await self._exchange(pool, name, file, slots, height)
        except (KubeError, WalletError, Blocked, SecretDataError, TimeoutError) as error:
            await self._end(pool, name, str(error))
            return self._failed(pool, str(error) or "it took too long")
        self._memory.drop(pool.uid, _Failures)
        self._upkeep.offer(slots, escrow)
        return LEAST_SECONDS

    async def _end(self, pool: Pool, name: str, why: str) -> None:
        """Throw away what was taken for a prepared escrow, as far as it got; what fails is done by the next look."""
        triple = self._prepared.find(pool.key, name)
        if triple is not None:
            with contextlib.suppress(KubeError, WalletError):
                await self._upkeep.end(pool, triple, why)

    async def _take(self, pool: Pool, slot: Slot, name: str, file: str) -> Slot:
        """Take a free slot out of its Deployment. Raises ConflictError or NotFoundError."""
        for _ in range(ADOPTION_TRIES - 1):
            with contextlib.suppress(ConflictError):
                return await self._take_as_seen(pool, slot, name, file)
            # Kubelet's status updates change a pod's version.
            fresh = Slot.parse(await self._kube.get(PODS, slot.namespace, slot.name))
            if fresh.uid == slot.uid and fresh.claimable:
                slot = fresh
        return await self._take_as_seen(pool, slot, name, file)

    async def _take_as_seen(self, pool: Pool, slot: Slot, name: str, file: str) -> Slot:
        body = await self._kube.patch(
            PODS, slot.namespace, slot.name, preparation(slot, pool, name, file, self._fence.token)
        )
        self._store.see_slot(body)
        return Slot.parse(body)

    async def _exchange(self, pool: Pool, name: str, file: str, slots: Slots, height: int) -> PreparedEscrow:
        """Exchange keys, and open the wallets again to prove it; returns the escrow with its address.

        Raises KubeError, WalletError, Blocked, or SecretDataError.
        """
        passwords = {role: secrets.token_urlsafe(32) for role in ROLES}
        fresh = PreparedEscrow(name, file, passwords, height)
        body = prepared_secret(pool, fresh, slots.values(), self._fence.token)
        escrow = PreparedEscrow.from_secret(await self._kube.create(SECRETS, pool.key.namespace, body))
        deeds = escrow.deeds(pool.key.name)
        clients = {role: await self._wallets.client(slots[role]) for role in ROLES}
        begun = await begin(clients, deeds, self._pause)
        if set(begun.values()) != {Begun.BLANK}:
            raise ExchangeIncomplete("a file of a fresh name was there already")
        address = await exchange_keys(clients, deeds, self._pause)
        stored = PreparedEscrow.from_secret(await self._kube.get(SECRETS, pool.key.namespace, name))
        await self._opener.open_all(slots, stored.deeds(pool.key.name), address)
        patch = proof(dataclasses.replace(stored, address=address))
        return PreparedEscrow.from_secret(await self._kube.patch(SECRETS, pool.key.namespace, name, patch))

    async def _pause(self) -> None:
        await self._gates.wait_for_quiet(PAUSE_SECONDS)

    def _failed(self, pool: Pool, message: str) -> float:
        former = self._memory.find(pool.uid, _Failures) or _Failures()
        delay = min(FIRST_FAILURE_SECONDS * 2.0**former.number, LONGEST_FAILURE_SECONDS)
        self._memory.put(pool.uid, _Failures(former.number + 1, self._clock.monotonic() + delay))
        self._events.record(
            pool,
            "PreparationFailed",
            f"An escrow could not be prepared: {message}. Sessions make their own wallets; it is tried again in"
            f" {delay:.0f} s.",
            warning=True,
        )
        return delay
