"""Keeps prepared escrows only as long as they are proven, current and unused.

What is not is thrown away: nothing was paid to it, since no address is published before a session has it. Its Secret
goes only on the word of its own wallets; where they say that a session had them, or cannot be asked, it stays for good.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from datetime import timedelta

from escrow_operator.adapters.kube import PODS, SECRETS
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.core.agreement import ENOUGH
from escrow_operator.core.manifests.prepared import PREPARED_TYPE, discarding, keeping, taking_up
from escrow_operator.errors import EscrowError, WalletDaemonUnavailable, WalletError
from escrow_operator.models.common import ROLES, parse_time
from escrow_operator.models.deed import SecretDataError
from escrow_operator.models.pool import Pool
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.pools.objects import CurrentTemplates
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import Blocked, NotOpened
from escrow_operator.services.slots.claims import Slots
from escrow_operator.services.slots.prepared import PreparedEscrows, Triple
from escrow_operator.services.wallets.claim_marks import PAID, foreign_mark, former_use, has_payments
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.opener import WalletOpener

_LOG = logging.getLogger(__name__)

NOT_READY_SECONDS = 60.0
"""Seconds after which pods of a prepared escrow that cannot be called are given up."""

UNKNOWN = "too few of them could be asked whether a session had them"

LEAST_AGE = timedelta(minutes=10)
"""For which a prepared escrow is kept, however old it seems to be: each may leave three files for ever."""

CHECK_SECONDS = 30.0
"""Requeue delay while a prepared escrow's pods cannot be called."""


@dataclass(frozen=True, slots=True)
class _Absent:
    """Kept of the pod of a prepared escrow: since when (monotonic) the escrow cannot be called."""

    since: float


class _NotKept(EscrowError):
    """Why a prepared escrow is thrown away."""


class PreparedUpkeep:
    """Proves what a former operator process prepared, and ends what is not to be kept."""

    def __init__(
        self, ctx: Context, *, opener: WalletOpener, prepared: PreparedEscrows, wallets: WalletClients
    ) -> None:
        self._kube, self._store, self._clock = ctx.kube, ctx.store, ctx.clock
        self._memory, self._events, self._wakeups = ctx.memory, ctx.events, ctx.wakeups
        self._fence = ctx.fence
        self._opener = opener
        self._prepared = prepared
        self._wallets = wallets

    async def keep(self, pool: Pool, triple: Triple, *, surplus: bool) -> float | None:
        """Prove a prepared escrow that is not proven, or end it; returns the requeue delay in seconds, or None."""
        try:
            return await self._keep(pool, triple, surplus=surplus)
        except _NotKept as why:
            return await self._let_go(pool, triple, str(why))

    async def _let_go(self, pool: Pool, triple: Triple, why: str) -> float | None:
        try:
            await self.end(pool, triple, why)
        except WalletDaemonUnavailable:
            # Nobody can say whether there are payments to it; later somebody can.
            return CHECK_SECONDS
        return None

    async def _keep(self, pool: Pool, triple: Triple, *, surplus: bool) -> float | None:
        if all(slot.terminating for slot in triple.slots.values()) and triple.seen is None:
            # All is decided.
            return None
        if triple.is_ending:
            raise _NotKept("one of its pods is gone")
        if surplus:
            raise _NotKept("it is not wanted any more")
        self._must_be_current(pool, triple)
        if not triple.complete:
            return self._wait_for(triple)
        try:
            escrow = triple.escrow or await self._prove(pool, triple)
        except WalletDaemonUnavailable:
            # Its wallets are as good as before; they are proven when monerod is back.
            return CHECK_SECONDS
        except NotOpened:
            return self._wait_for(triple)
        self._memory.drop(triple.slots[ROLES[0]].uid, _Absent)
        left = parse_time(escrow.created_at) + pool.spec.prepared_max_age - self._clock.now()
        # By this clock's own steps as well: where it is ahead of the API server's, all would be too old at once.
        least = min(pool.spec.prepared_max_age, LEAST_AGE).total_seconds() - triple.seen_for
        if left <= timedelta() and least <= 0:
            raise _NotKept("it is older than spec.preparedMaxAge")
        return max(left.total_seconds(), least, 1.0)

    def _must_be_current(self, pool: Pool, triple: Triple) -> None:
        """Raise _NotKept for pods that were started with another template than the pool's spec calls for."""
        templates = self._memory.find(pool.uid, CurrentTemplates)
        if templates is None or not templates.digests:
            return
        for slot in triple.slots.values():
            if slot.template not in templates.digests:
                raise _NotKept(f"pod {slot.name} was started with another template")

    def _wait_for(self, triple: Triple) -> float:
        first, now = triple.slots[ROLES[0]], self._clock.monotonic()
        absent = self._memory.find(first.uid, _Absent)
        if absent is None:
            absent = _Absent(now)
            self._memory.put(first.uid, absent)
        if now - absent.since > NOT_READY_SECONDS:
            raise _NotKept("its pods are not ready")
        return CHECK_SECONDS

    async def _prove(self, pool: Pool, triple: Triple) -> PreparedEscrow:
        """See that wallets which a former process prepared are open, or open them, and unused.

        Raises _NotKept, WalletDaemonUnavailable, or NotOpened for what may pass.
        """
        escrow = await self._read(triple)
        if escrow is None or escrow.address is None:
            raise _NotKept("it was not completed")
        if escrow.claimed_by is not None:
            raise _NotKept("a session was given it, and has not taken its pods")
        if escrow.has_owner:
            raise _NotKept("it was to be thrown away before")
        if any(slot.wallet_file != escrow.file for slot in triple.slots.values()):
            # The annotations are what keeps a file from being opened twice.
            raise _NotKept("its Secret names another file than its pods")
        try:
            clients = {role: await self._wallets.client(slot) for role, slot in triple.slots.items()}
            if not await self._opener.confirm(triple.slots, escrow.address):
                # As after a restart of the pods' node.
                await self._opener.open_all(triple.slots, escrow.deeds(pool.key.name), escrow.address)
            used = await former_use(clients)
        except (WalletDaemonUnavailable, NotOpened):
            raise
        except (WalletError, Blocked) as error:
            raise _NotKept(f"its wallets do not open ({error})") from None
        if used is not None:
            raise _NotKept(f"it was used before: {used}")
        self.offer(triple.slots, escrow)
        return escrow

    async def _read(self, triple: Triple) -> PreparedEscrow | None:
        """What the Secret says; None without one, or if it is no prepared escrow's."""
        try:
            secret = await self._kube.get(SECRETS, triple.pool.namespace, triple.name)
            return PreparedEscrow.from_secret(secret) if secret.get("type") == PREPARED_TYPE else None
        except (NotFoundError, SecretDataError):
            return None

    def offer(self, slots: Slots, escrow: PreparedEscrow) -> None:
        """Let sessions have a prepared escrow whose wallets were seen to be open in these pods, and unused."""
        self._prepared.prove(slots, escrow)
        pool = slots[ROLES[0]].pool
        self._wakeups.slot_free(pool)
        self._wakeups.pool(pool)

    async def end(self, pool: Pool, triple: Triple, why: str) -> None:
        """Throw a prepared escrow away: its pods are deleted, and with them its Secret, if no session ever had it.

        Raises KubeError or WalletDaemonUnavailable: its pods must not go before it is decided what becomes of the
        Secret.
        """
        _LOG.info("prepared escrow %s/%s ends: %s", triple.pool.namespace, triple.name, why)
        escrow = await self._read(triple)
        if escrow is not None and escrow.address is not None and (escrow.claimed_by or not escrow.has_owner):
            # One that is its pods' although it is complete was decided on before.
            await self._decide(pool, triple, escrow, escrow.address)
        elif escrow is not None and escrow.address is None and escrow.term != self._fence.token:
            # A former leader's proof would make it nobody's, after its pods are gone.
            patch = taking_up(escrow, self._fence.token)
            await self._kube.patch(SECRETS, pool.key.namespace, triple.name, patch)
        self._prepared.doubt(triple.slots)
        await gather_all(self._delete(slot) for slot in triple.slots.values() if not slot.terminating)

    async def _delete(self, slot: Slot) -> None:
        """Delete a pod of a prepared escrow, unless another operator's session has adopted it since."""
        try:
            body = await self._kube.get(PODS, slot.namespace, slot.name)
            now = Slot.parse(body)
        except (NotFoundError, KeyError, ValueError):
            return
        self._store.see_slot(body)
        if now.uid == slot.uid and now.prepared == slot.prepared:
            await self._kube.delete(PODS, now.namespace, now.name, uid=now.uid, version=now.resource_version)

    async def _decide(self, pool: Pool, triple: Triple, escrow: PreparedEscrow, address: str) -> None:
        """Whether the Secret of a complete escrow goes with its pods, by the word of the wallets that can be asked.

        Of an escrow that this process proved and never gave, nothing more is needed. Of others two wallets must answer:
        a party can make its own wallet say anything.
        """
        marks, paid, answers = list[str](), False, 0
        for role, slot in triple.slots.items():
            try:
                client = await self._wallets.client(slot)
                if slot.finished or await client.address() != address:
                    continue
                marks += filter(None, [await foreign_mark({role: client})])
                paid = paid or (triple.seen is None and await has_payments({role: client}))
                answers += 1
            except WalletDaemonUnavailable:
                if not pool.deleting:
                    raise
            except (WalletError, Blocked):
                continue
        if escrow.claimed_by is not None:
            if paid:
                await self.keep_secret(pool, triple.name, PAID)
        elif marks or paid:
            await self.keep_secret(pool, triple.name, marks[0] if marks else PAID)
        elif triple.seen is not None or answers >= ENOUGH:
            patch = discarding(escrow, triple.slots.values())
            await self._kube.patch(SECRETS, pool.key.namespace, triple.name, patch)
        else:
            await self.keep_secret(pool, triple.name, UNKNOWN)

    async def keep_secret(self, pool: Pool, name: str, used: str) -> None:
        """Keep the Secret of a prepared escrow that may have served a session of which the API server does not know.

        Raises KubeError.
        """
        with contextlib.suppress(NotFoundError):
            now = PreparedEscrow.from_secret(await self._kube.get(SECRETS, pool.key.namespace, name))
            await self._kube.patch(SECRETS, pool.key.namespace, name, keeping(now, used))
        self._events.record(
            pool,
            "PreparedEscrowKept",
            f"The wallets of prepared escrow {name} are given to nobody: {used}. Its Secret is kept, since it may be"
            " all that unlocks the money of a session that the API server does not know, as after a restore from a"
            " backup.",
            warning=True,
        )
