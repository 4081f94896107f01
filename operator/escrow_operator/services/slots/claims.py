"""Gives sessions their three slots, each by one atomic adoption (invariants I1, I2 and I3)."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from escrow_operator.adapters.kube import PODS
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.core.claim import ClaimPlan, plan_claim, wallet_holders
from escrow_operator.core.manifests.session import adoption, note_wallet_file
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import OPEN_PHASES, Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import RECHECK_SECONDS, RETRY_SECONDS, Blocked, no_pool
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.prepared import PreparedEscrows, Triple
from escrow_operator.services.slots.waiting_list import WAIT_SECONDS, WaitingList

ADOPTION_TRIES = 3
"""Kubelet's status updates change a pod's resourceVersion: reading the newer version and retrying settles that."""

POOL_TROUBLE = frozenset(
    {
        "VolumeClaimNotOurs",
        "DaemonSecretsNotRead",
        "ObjectNotOurs",
        "Rejected",
        "SecretNotMarked",
        "SlotsNotStarting",
        "StorageClassNotFound",
    }
)
"""Reasons of a pool's Ready condition whose message its waiting sessions report as well."""

CONTENTION_SECONDS = 1.0
"""Requeue delay in seconds after a slot went away during a claim."""

STARTING_SECONDS = 120.0
"""Seconds for which a place under the cap is kept for a session whose slots are being started. A pod that takes longer
may never start, and the place is free for other sessions until there are slots."""

Slots = dict[Role, Slot]


class SlotClaims:
    """Knows which sessions hold slots and which wait. Slots are chosen and reserved with no await in between."""

    def __init__(self, ctx: Context, capacity: Capacity, prepared: PreparedEscrows) -> None:
        self._kube, self._store, self._clock, self._wakeups = ctx.kube, ctx.store, ctx.clock, ctx.wakeups
        self._fence = ctx.fence
        self._capacity = capacity
        self._prepared = prepared
        self._waiting: dict[PoolKey, WaitingList] = defaultdict(WaitingList)
        self._waits_since: dict[SessionKey, float] = {}
        self._taking: dict[tuple[PoolKey, Role, str], SessionKey] = {}

    def held(self, session: Session) -> Slots:
        """A session's slots by role, none ending or finished. Of two the one that its status names, else the older."""
        named = {
            role: wallet.get("pod")
            for role, wallet in (session.status.get("wallets") or {}).items()
            if isinstance(wallet, dict)
        }
        slots: Slots = {}
        for slot in self._store.slots_of_session(session.key.namespace, session.uid):
            if slot.terminating or slot.finished:
                continue
            rival = slots.get(slot.role)
            if rival is None or _rank(slot, named) < _rank(rival, named):
                slots[slot.role] = slot
        return slots

    def waiting(self, pool: PoolKey) -> list[SessionKey]:
        """Sessions that wait for slots of a pool, the longest waiting first."""
        return self._waiting[pool].in_order()

    def wake_waiting(self, pool: PoolKey) -> None:
        """Requeue as many sessions that wait for slots of a pool as may find one, the longest waiting first.

        Those that make new wallets may also find a prepared escrow.
        """
        waiting = self.waiting(pool)
        if not waiting:
            return
        for session in waiting[: self._store.count_free(pool) + len(self._prepared.ready(pool))]:
            self._wakeups.session(session)

    def is_taking(self, pool: PoolKey) -> bool:
        """Whether slots of a pool are being adopted at this moment."""
        return any(taken_pool == pool for taken_pool, _, _ in self._taking)

    def stop_waiting(self, session: SessionKey, pool: PoolKey) -> None:
        """Take a session off the waiting list of a pool: it has its slots, or no longer wants any."""
        self._waits_since.pop(session, None)
        if pool in self._waiting and self._waiting[pool].leave(session):
            if not self._waiting[pool]:
                del self._waiting[pool]
            self._wakeups.pool(pool)

    def wait(self, session: Session, pool: Pool) -> None:
        """Put a session that has three slots on the waiting list, so that the pool starts slots to replace them."""
        if self._waiting[pool.key].join(session):
            self._wakeups.pool(pool.key)

    def forget(self, session: SessionKey) -> None:
        """Take a session off all waiting lists, whatever pool it named."""
        self._capacity.leave(session)
        for pool in [pool for pool, line in self._waiting.items() if session in line]:
            self.stop_waiting(session, pool)
        self._waits_since.pop(session, None)

    def has_room(self, session: Session) -> bool:
        """Whether the session has a place under the cap, or would get one without an eviction."""
        return self._capacity.has_room(session)

    def must_still_wait(self, session: Session, pool: Pool) -> None:
        """Raises Blocked (AtCapacity, PoolEmpty) for a session that still has to wait: it need not prepare anything."""
        if session.key in self._waiting[pool.key] or self._capacity.is_waiting(session.key):
            self.must_have_room(session, pool)

    def must_have_room(self, session: Session, pool: Pool, files: Mapping[Role, str] | None = None) -> None:
        """Check that a claim would succeed now; called before anything is written for the session.

        ``files`` are those of its wallets, as far as there are any. Raises Blocked: WalletInUse, AtCapacity, PoolEmpty,
        PoolDeleting. Pods are started for sessions that have a place under the cap, not for those that wait for one;
        and no session is evicted for one whose pool cannot start any pods.
        """
        held = self.held(session)
        wanted = [role for role in ROLES if role not in held]
        if not wanted:
            return
        known = {role: file for role, file in (files or {}).items() if role in wanted}
        self._must_be_free(session, pool, known)
        lacking = self._plan(session, pool, wanted, held).lacking
        if not lacking:
            self._capacity.ask(session)
            return
        if pool.deleting:
            raise _pool_deleting(pool, lacking)
        blocked = self._pool_empty(pool, lacking)
        since = self._waits_since.get(session.key)
        if self._trouble(pool) or (since is not None and self._clock.monotonic() - since > STARTING_SECONDS):
            raise blocked
        self._capacity.ask(session)
        self._waits_since.setdefault(session.key, self._clock.monotonic())
        if self._waiting[pool.key].join(session):
            self._wakeups.pool(pool.key)
        blocked.keeps_place = True
        raise blocked

    async def adopt_prepared(self, session: Session, pool: Pool, triple: Triple) -> Slots:
        """Claim the three pods of a prepared escrow that was given to a session that has none. Raises Blocked."""
        # No await before all is reserved, as in ``ensure``.
        now = self._store.pools.get(pool.key)
        if now is None or now.deleting:
            raise no_pool(pool.key.name, pool.key.namespace, deleting=now is not None)
        plan = ClaimPlan(tuple(triple.slots[role] for role in ROLES), ())
        files = {slot.role: slot.wallet_file or "" for slot in plan.take}
        return await self._claim(session, pool, plan, files)

    async def ensure(self, session: Session, pool: Pool, files: Mapping[Role, str]) -> Slots:
        """The session's three slots by role, claimed now where it lacks some; ``files`` are the wallets to be opened.

        Raises Blocked: PoolNotFound, WalletInUse, AtCapacity, PoolEmpty, Contention.
        """
        await self._drop_surplus(session)
        held = self.held(session)
        wanted = {role: files[role] for role in ROLES if role not in held}
        held = await self._renote_held(session, pool, held, files)
        if not wanted:
            self.stop_waiting(session.key, pool.key)
            return held
        now = self._store.pools.get(pool.key)
        if not held and (now is None or now.deleting):
            # Deleted since this reconciliation began: a pool goes when no session has or is claiming slots of it.
            raise no_pool(pool.key.name, pool.key.namespace, deleting=now is not None)
        # No await from here until all is reserved: two sessions could choose the same slot, the same place, or the
        # same wallet.
        try:
            self.must_have_room(session, pool, files)
        except Blocked:
            await self._let_go(session)
            raise
        return held | await self._claim(session, pool, self._plan(session, pool, wanted, held), wanted)

    async def _claim(self, session: Session, pool: Pool, plan: ClaimPlan, files: Mapping[Role, str]) -> Slots:
        """Adopt the planned slots, all or none. Raises Blocked: AtCapacity, Contention."""
        self._capacity.admit(session)
        self._store.reserve(plan.take)
        try:
            with self._takes(session, pool, files):
                taken = await gather_all(self._adopt(slot, session, files[slot.role]) for slot in plan.take)
        finally:
            self._store.unreserve(plan.take)
            self._capacity.settle_claim(session)
        if None in taken:
            await self._let_go(session)
            raise Blocked("Contention", "A free slot went away while it was claimed.", retry_after=CONTENTION_SECONDS)
        self.stop_waiting(session.key, pool.key)
        return {slot.role: slot for slot in taken if slot}

    def _plan(self, session: Session, pool: Pool, wanted: Collection[Role], held: Slots) -> ClaimPlan:
        return plan_claim(
            self._store.free_slots(pool.key),
            wanted,
            daemon=pool.spec.daemon.digest,
            ahead=0 if held else self._waiting[pool.key].ahead(session),
            used_nodes={slot.node for slot in held.values() if slot.node},
        )

    @contextlib.contextmanager
    def _takes(self, session: Session, pool: Pool, files: Mapping[Role, str]) -> Iterator[None]:
        """Keep other sessions of this process off some wallet files until the pods' annotations name them."""
        taken = {(pool.key, role, file): session.key for role, file in files.items()}
        self._taking |= taken
        try:
            yield
        finally:
            for one in taken:
                del self._taking[one]

    async def _renote_held(self, session: Session, pool: Pool, held: Slots, files: Mapping[Role, str]) -> Slots:
        """The slots that a session has, annotated with the files that its deeds name now, which may have changed.

        Raises Blocked (WalletInUse) like any claim to a wallet.
        """
        others = {role: files[role] for role, slot in held.items() if slot.wallet_file != files[role]}
        try:
            self._must_be_free(session, pool, others)
        except Blocked:
            await self._let_go(session)
            raise
        with self._takes(session, pool, others):
            return await self.renote(held, files)

    async def renote(self, slots: Slots, files: Mapping[Role, str]) -> Slots:
        """Annotate each slot with the file that it is about to hold; returns the updated slots by role.

        Those of a former leader's are annotated in any case: what it noted late would not be what they hold. Raises
        ConflictError where another one leads by now.
        """
        noted: Slots = {}
        for role, slot in slots.items():
            noted[role] = slot
            if slot.wallet_file != files[role] or slot.term != self._fence.token:
                patch = note_wallet_file(slot, files[role], self._fence.token)
                body = await self._kube.patch(PODS, slot.namespace, slot.name, patch)
                self._store.see_slot(body)
                noted[role] = Slot.parse(body)
        return noted

    def _must_be_free(self, session: Session, pool: Pool, wanted: Mapping[Role, str]) -> None:
        """Raises Blocked (WalletInUse) while a wallet may be open in a pod, or is being claimed (invariant I1)."""
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
        more = self._trouble(pool) or "More are being started."
        return Blocked(
            "PoolEmpty",
            f"WalletPool {pool.key.name} has no free slot for {', '.join(lacking)}. {more}",
            retry_after=WAIT_SECONDS,
        )

    @staticmethod
    def _trouble(pool: Pool) -> str | None:
        """Why the pool starts no slots: the message of its Ready condition; None without trouble."""
        problem = pool.condition("Ready") or {}
        return problem["message"] if problem.get("reason") in POOL_TROUBLE else None

    async def _adopt(self, slot: Slot, session: Session, file: str) -> Slot | None:
        for _ in range(ADOPTION_TRIES):
            try:
                body = await self._kube.patch(
                    PODS, slot.namespace, slot.name, adoption(slot, session, file, self._fence.token)
                )
            except ConflictError:
                try:
                    fresh = Slot.parse(await self._kube.get(PODS, slot.namespace, slot.name))
                except (NotFoundError, KeyError, ValueError):
                    # Gone, or relabelled: it is no slot any more.
                    return None
                if fresh.uid != slot.uid or not (fresh.claimable or _is_still_prepared(fresh, slot)):
                    return None
                slot = fresh
            except NotFoundError:
                return None
            else:
                self._store.see_slot(body)
                return Slot.parse(body)
        return None

    async def _let_go(self, session: Session) -> None:
        """Delete the slots of a session that opens nothing yet and has to wait: two sessions could wait for each other.

        The slots are not given back, whatever the phase says: a wallet may have been open in them.
        """
        if session.phase in OPEN_PHASES:
            return
        for slot in self.held(session).values():
            await self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid)

    async def _drop_surplus(self, session: Session) -> None:
        """Delete finished pods, and second pods for one role (from a claim whose answer was lost)."""
        held = {slot.uid for slot in self.held(session).values()}
        for slot in self._store.slots_of_session(session.key.namespace, session.uid):
            if slot.uid not in held and not slot.terminating:
                await self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid)


def _pool_deleting(pool: Pool, lacking: tuple[Role, ...]) -> Blocked:
    """What to say of a session that lost a pod after its pool was deleted: the two wait for each other."""
    return Blocked(
        "PoolDeleting",
        f"WalletPool {pool.key.name} is being deleted and starts no pods, and the session has none for"
        f" {', '.join(lacking)} any more. Delete the session: the pool goes with the last one that holds its pods. Then"
        " create both again, and the session's wallets are opened with their address and balance.",
        retry_after=RECHECK_SECONDS,
    )


def _is_still_prepared(fresh: Slot, seen: Slot) -> bool:
    """Whether a pod is part of the prepared escrow that it was seen to be part of, in the same process."""
    same = fresh.prepared is not None and fresh.prepared == seen.prepared and fresh.incarnation == seen.incarnation
    return same and fresh.usable


def _rank(slot: Slot, named: Mapping[str, str | None]) -> tuple[bool, str, str]:
    return (named.get(slot.role) != slot.name, slot.created_at, slot.name)
