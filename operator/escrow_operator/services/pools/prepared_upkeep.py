"""Keeps prepared escrows only as long as they are proven, current and unused.

What is not is thrown away: nothing was paid to it, since no address is published before a session has it. Where the
wallets say that a session had them all the same, their Secret is kept for good.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from datetime import timedelta

from escrow_operator.adapters.kube import PODS, SECRETS
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.core.manifests.prepared import PREPARED_TYPE, keeping
from escrow_operator.errors import EscrowError, WalletDaemonUnavailable, WalletError, WalletTimeout, WalletUnreachable
from escrow_operator.models.common import ROLES, parse_time
from escrow_operator.models.deed import SecretDataError
from escrow_operator.models.pool import Pool
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.services.context import Context
from escrow_operator.services.pools.objects import CurrentTemplates
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.slots.claims import Slots
from escrow_operator.services.slots.prepared import PreparedEscrows, Triple
from escrow_operator.services.wallets.claim_marks import former_use
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.opener import WalletOpener

_LOG = logging.getLogger(__name__)

NOT_READY_SECONDS = 60.0
"""Seconds after which pods of a prepared escrow that cannot be called are given up."""

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
        self._kube, self._clock = ctx.kube, ctx.clock
        self._memory, self._events, self._wakeups = ctx.memory, ctx.events, ctx.wakeups
        self._opener = opener
        self._prepared = prepared
        self._wallets = wallets

    async def keep(self, pool: Pool, triple: Triple, *, surplus: bool) -> float | None:
        """Prove a prepared escrow that is not proven, or end it; returns the requeue delay in seconds, or None."""
        try:
            return await self._keep(pool, triple, surplus=surplus)
        except _NotKept as why:
            await self.end(triple, str(why))
            return None

    async def _keep(self, pool: Pool, triple: Triple, *, surplus: bool) -> float | None:
        if surplus:
            raise _NotKept("it is not wanted any more")
        if len(triple.slots) < len(ROLES):
            raise _NotKept("one of its pods is gone")
        self._must_be_current(pool, triple)
        if not triple.complete:
            return self._wait_for(triple)
        try:
            escrow = triple.escrow or await self._prove(pool, triple)
        except WalletDaemonUnavailable:
            # Its wallets are as good as before; they are proven when monerod is back.
            return CHECK_SECONDS
        except (WalletTimeout, WalletUnreachable):
            return self._wait_for(triple)
        left = parse_time(escrow.created_at) + pool.spec.prepared_max_age - self._clock.now()
        if left <= timedelta():
            raise _NotKept("it is older than spec.preparedMaxAge")
        return left.total_seconds()

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
        """See that the wallets which a former process prepared are open and unused.

        Raises _NotKept, or WalletError for what may pass.
        """
        escrow = await self._read(triple)
        try:
            clients = {role: await self._wallets.client(slot) for role, slot in triple.slots.items()}
            is_open = await self._opener.confirm(triple.slots, escrow.address or "")
            used = await former_use(clients) if is_open else None
        except (WalletDaemonUnavailable, WalletTimeout, WalletUnreachable):
            raise
        except (WalletError, Blocked) as error:
            raise _NotKept(f"its wallets do not answer ({error})") from None
        if used is not None:
            await self.keep_secret(pool, escrow, used)
        if used is not None or not is_open:
            raise _NotKept("its wallets are not as they were left")
        self.offer(triple.slots, escrow)
        return escrow

    async def _read(self, triple: Triple) -> PreparedEscrow:
        """What the Secret says of an escrow that may be given to a session. Raises _NotKept."""
        try:
            secret = await self._kube.get(SECRETS, triple.pool.namespace, triple.name)
            escrow = PreparedEscrow.from_secret(secret) if secret.get("type") == PREPARED_TYPE else None
        except (NotFoundError, SecretDataError):
            escrow = None
        if escrow is None or escrow.address is None:
            raise _NotKept("it was not completed")
        if escrow.claimed_by is not None:
            raise _NotKept("a session was given it, and has not taken its pods")
        return escrow

    def offer(self, slots: Slots, escrow: PreparedEscrow) -> None:
        """Let sessions have a prepared escrow whose wallets were seen to be open in these pods, and unused."""
        self._prepared.prove(slots, escrow)
        pool = slots[ROLES[0]].pool
        self._wakeups.slot_free(pool)
        self._wakeups.pool(pool)

    async def keep_secret(self, pool: Pool, escrow: PreparedEscrow, used: str) -> None:
        """Keep the Secret of a prepared escrow that served a session of which the API server does not know.

        Raises KubeError: its pods must not go before that is done.
        """
        with contextlib.suppress(NotFoundError):
            now = PreparedEscrow.from_secret(await self._kube.get(SECRETS, pool.key.namespace, escrow.name))
            await self._kube.patch(SECRETS, pool.key.namespace, escrow.name, keeping(now, used))
        self._events.record(
            pool,
            "PreparedEscrowUsed",
            f"The wallets of prepared escrow {escrow.name} were used before: {used}. They are given to nobody. Was the"
            " API server restored from a backup? Its Secret is kept, since what it holds may be the only way to money.",
            warning=True,
        )

    async def end(self, triple: Triple, why: str) -> None:
        """Throw a prepared escrow away: its pods are deleted, and garbage collection deletes its Secret."""
        _LOG.info("prepared escrow %s/%s ends: %s", triple.pool.namespace, triple.name, why)
        await gather_all(
            # Only as it was seen: another operator's session may have adopted it since.
            self._kube.delete(PODS, slot.namespace, slot.name, uid=slot.uid, version=slot.resource_version)
            for slot in triple.slots.values()
        )
