"""Gives sessions their three slots, each by one atomic adoption (invariants I1, I2 and I3)."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping

from escrow_operator.adapters.kube import PODS, Kube
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.core.claim import plan_claim, wallet_holders
from escrow_operator.core.manifests.session import adoption, give_back, note_wallet_file
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import BEFORE_OPENING, Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.blocked import RETRY_SECONDS, Blocked, no_pool
from escrow_operator.services.capacity import Capacity
from escrow_operator.services.line import WAIT_SECONDS, Line
from escrow_operator.services.store import Store
from escrow_operator.services.together import gather_all

_LOG = logging.getLogger(__name__)

ADOPTION_TRIES = 3
"""Kubelet's own status updates move a pod's version: a look at the newer version settles that."""

POOL_TROUBLE = frozenset(
    {
        "ClaimNotOurs",
        "DaemonSecretsNotRead",
        "ObjectNotOurs",
        "Rejected",
        "SecretNotMarked",
        "SlotsNotStarting",
        "StorageClassNotFound",
    }
)
"""Reasons of a pool that its waiting sessions tell as well."""

CONTENTION_SECONDS = 1.0
"""Until the next try after a slot went away under a claim."""

Slots = dict[Role, Slot]


class ClaimService:
    """Knows who holds and who waits. Slots are chosen and reserved with no await in between."""

    def __init__(
        self, kube: Kube, store: Store, *, capacity: Capacity, pool_changed: Callable[[PoolKey], None]
    ) -> None:
        self._kube = kube
        self._store = store
        self._capacity = capacity
        self._pool_changed = pool_changed
        self._waiting: dict[PoolKey, Line] = defaultdict(Line)
        self._taking: dict[tuple[PoolKey, Role, str], SessionKey] = {}

    def held(self, session: Session) -> Slots:
        """The living slots of a session. Of two for one role the one that its status names, else the older."""
        named = {
            role: wallet.get("pod")
            for role, wallet in (session.status.get("wallets") or {}).items()
            if isinstance(wallet, dict)
        }
        slots: Slots = {}
        for slot in self._store.slots_of_session(session.uid):
            if slot.terminating or slot.finished:
                continue
            rival = slots.get(slot.role)
            if rival is None or _rank(slot, named) < _rank(rival, named):
                slots[slot.role] = slot
        return slots

    def waiting(self, pool: PoolKey) -> list[SessionKey]:
        """Sessions that wait for slots of a pool, longest first."""
        return self._waiting[pool].in_order()

    def is_taking(self, pool: PoolKey) -> bool:
        """Whether slots of a pool are being adopted at this moment."""
        return any(taken_pool == pool for taken_pool, _, _ in self._taking)

    def stop_waiting(self, session: SessionKey, pool: PoolKey) -> None:
        """A session has what it wanted, or no longer wants it."""
        if self._waiting[pool].leave(session):
            self._pool_changed(pool)

    def must_have_turn(self, session: Session, pool: Pool) -> None:
        """Who waits for slots already, and would find none, need not prepare for them. Raises Blocked (PoolEmpty)."""
        line = self._waiting[pool.key]
        if session.key not in line:
            return
        held = self.held(session)
        wanted = [role for role in ROLES if role not in held]
        free = self._store.free_slots(pool.key)
        plan = plan_claim(free, wanted, ahead=0 if held else line.ahead(session))
        if plan.lacking:
            raise self._pool_empty(pool, plan.lacking)

    async def ensure(self, session: Session, pool: Pool, files: Mapping[Role, str]) -> Slots:
        """The session's three slots, claimed now where it lacks some; ``files`` are the wallets to be opened.

        Raises Blocked: WalletInUse, AtCapacity, PoolEmpty, Contention.
        """
        await self._drop_surplus(session)
        held = self.held(session)
        wanted = {role: files[role] for role in ROLES if role not in held}
        held = await self.renote(held, files)
        if not wanted:
            self.stop_waiting(session.key, pool.key)
            return held
        now = self._store.pools.get(pool.key)
        if not held and (now is None or now.deleting):
            # Since this look began: a pool goes when no session has slots of it or is about to.
            raise no_pool(pool.key.name, pool.key.namespace, deleting=now is not None)
        # No await between here and the end of the reservations: two sessions would choose the same slot, the same
        # place, or the same wallet.
        self._must_be_free(session, pool, wanted)
        plan = plan_claim(
            self._store.free_slots(pool.key),
            wanted,
            ahead=0 if held else self._waiting[pool.key].ahead(session),
            used_nodes={slot.node for slot in held.values() if slot.node},
        )
        if plan.lacking:
            if self._waiting[pool.key].join(session):
                self._pool_changed(pool.key)
            if held and session.phase in BEFORE_OPENING:
                await self.give_back(session)
            raise self._pool_empty(pool, plan.lacking)
        self._capacity.admit(session)
        self._store.reserve(plan.take)
        files_taken = {(pool.key, role, file): session.key for role, file in wanted.items()}
        self._taking |= files_taken
        try:
            taken = await gather_all(self._adopt(slot, session, wanted[slot.role]) for slot in plan.take)
        finally:
            for taken_file in files_taken:
                del self._taking[taken_file]
            self._store.unreserve(plan.take)
            self._capacity.settle_claim(session)
        if None in taken:
            if session.phase in BEFORE_OPENING:
                await self.give_back(session)
            raise Blocked("Contention", "A free slot went away while it was claimed.", retry_after=CONTENTION_SECONDS)
        self.stop_waiting(session.key, pool.key)
        return held | {slot.role: slot for slot in taken if slot}

    async def renote(self, slots: Slots, files: Mapping[Role, str]) -> Slots:
        """Write on each slot which file it is about to hold, before it holds it; returns them as they are then."""
        noted: Slots = {}
        for role, slot in slots.items():
            noted[role] = slot
            if slot.wallet_file != files[role]:
                patch = note_wallet_file(files[role])
                body = await self._kube.patch(PODS, slot.namespace, slot.name, patch)
                self._store.see_slot(body)
                noted[role] = Slot.parse(body)
        return noted

    async def give_back(self, session: Session) -> None:
        """Return slots in which no wallet was opened to their pool."""
        await asyncio.gather(*(self._give_back(slot) for slot in self.held(session).values()))

    def _must_be_free(self, session: Session, pool: Pool, wanted: Mapping[Role, str]) -> None:
        """Invariant I1: a wallet is opened nowhere while a pod that may hold it is still there."""
        slots = (slot for file in set(wanted.values()) for slot in self._store.slots_of_file(pool.key, file))
        holders = wallet_holders(slots, wanted, session.uid)
        for role, file in wanted.items():
            taker = self._taking.get((pool.key, role, file))
            if taker is not None:
                raise Blocked(
                    "WalletInUse",
                    f"The {role} wallet {file} is being opened by session {taker.name}.",
                    retry_after=RETRY_SECONDS,
                )
        if not holders:
            return
        role, slot = next(iter(holders.items()))
        state = "is still terminating" if slot.terminating else f"of session {slot.session_name} has it open"
        raise Blocked(
            "WalletInUse",
            f"The {role} wallet {wanted[role]} is not opened yet: pod {slot.name} {state}. A wallet is never open"
            " twice. If its node is gone for good, remove the node or force-delete the pod.",
            retry_after=RETRY_SECONDS,
        )

    def _pool_empty(self, pool: Pool, lacking: tuple[Role, ...]) -> Blocked:
        problem = pool.condition("Ready") or {}
        more = "it is being deleted and starts none" if pool.deleting else "more are being started"
        why = f" {problem['message']}" if problem.get("reason") in POOL_TROUBLE else ""
        return Blocked(
            "PoolEmpty",
            f"WalletPool {pool.key.name} has no free slot for {', '.join(lacking)}; {more}.{why}",
            retry_after=WAIT_SECONDS,
        )

    async def _adopt(self, slot: Slot, session: Session, file: str) -> Slot | None:
        for _ in range(ADOPTION_TRIES):
            try:
                body = await self._kube.patch(PODS, slot.namespace, slot.name, adoption(slot, session, file))
            except ConflictError:
                try:
                    fresh = Slot.parse(await self._kube.get(PODS, slot.namespace, slot.name))
                except NotFoundError:
                    return None
                if fresh.uid != slot.uid or not fresh.claimable:
                    return None
                slot = fresh
            except NotFoundError:
                return None
            else:
                self._store.see_slot(body)
                return Slot.parse(body)
        return None

    async def _give_back(self, slot: Slot) -> None:
        try:
            self._store.see_slot(await self._kube.patch(PODS, slot.namespace, slot.name, give_back(slot)))
        except (ConflictError, NotFoundError):
            # It changed under us; it stays the session's, which gives it back the next time or uses it.
            _LOG.info("slot %s could not be given back", slot.name)

    async def _drop_surplus(self, session: Session) -> None:
        """Delete ended pods, and second pods for one role (a claim whose answer was lost)."""
        held = {slot.uid for slot in self.held(session).values()}
        for slot in self._store.slots_of_session(session.uid):
            if slot.uid not in held and not slot.terminating:
                await self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid)


def _rank(slot: Slot, named: Mapping[str, str | None]) -> tuple[bool, str, str]:
    return (named.get(slot.role) != slot.name, slot.created_at, slot.name)
