"""Gives a prepared escrow to a session: one decision at one object, after which nobody else gets it.

The order of writes keeps each crash harmless. The Secret of the prepared escrow says first whose it is; then the
session's own deeds name its files and passwords, its pods are adopted, and its wallets are marked; the address is
recorded in the deeds, and published, after all that. An operator that dies before leaves a session that opens the files
in its deeds like any other, or has none and starts over; the prepared escrow is never given away again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import NoReturn

from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.agreement import NOTHING
from escrow_operator.core.manifests.prepared import claim
from escrow_operator.errors import WalletError
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.session import Session, Setup
from escrow_operator.services.context import Context
from escrow_operator.services.pools.prepared_upkeep import PreparedUpkeep
from escrow_operator.services.runtime.gather import both
from escrow_operator.services.runtime.outcomes import Blocked, NotOpened, SlotBroken
from escrow_operator.services.sessions.inspection import Escrow, Inspector
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.slots.prepared import PreparedEscrows, Triple
from escrow_operator.services.wallets.claim_marks import PAID, foreign_mark, put_marks
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.monitor import WalletMonitor
from escrow_operator.services.wallets.opener import WalletOpener

_LOG = logging.getLogger(__name__)


class PreparedClaims:
    """Finds a prepared escrow for a session, and makes it the session's own."""

    def __init__(
        self,
        ctx: Context,
        *,
        claims: SlotClaims,
        inspector: Inspector,
        monitor: WalletMonitor,
        opener: WalletOpener,
        prepared: PreparedEscrows,
        upkeep: PreparedUpkeep,
        wallets: WalletClients,
    ) -> None:
        self._kube, self._wakeups, self._fence = ctx.kube, ctx.wakeups, ctx.fence
        self._claims = claims
        self._inspector = inspector
        self._monitor = monitor
        self._opener = opener
        self._prepared = prepared
        self._upkeep = upkeep
        self._wallets = wallets

    def may_have_one(self, session: Session, pool: Pool) -> bool:
        """Whether a session that has no pods could get a prepared escrow now, if it turns out to have no deeds."""
        return (
            session.spec.setup is Setup.CREATE
            and "address" not in session.status
            and not pool.deleting
            and self._claims.has_room(session)
            # Else nobody can say whether anything was paid to it.
            and self._inspector.daemon(session).status is True
            and bool(self._prepared.ready(pool.key))
        )

    @contextlib.contextmanager
    def offer(self, pool: Pool) -> Iterator[Triple | None]:
        """Reserve a prepared escrow for the block; None without one. What is left of it afterwards is ended."""
        triple = next(iter(self._prepared.ready(pool.key)), None)
        if triple is None:
            yield None
            return
        try:
            with self._prepared.reserved(triple.name):
                yield triple
        finally:
            self._wakeups.prepare(pool.key)

    async def is_unused(self, pool: Pool, triple: Triple) -> bool:
        """Whether a prepared escrow's wallets are open, and no session has them by their own word; else it is ended."""
        try:
            mark, is_open = await both(
                foreign_mark(await self._clients(triple)), self._opener.confirm(triple.slots, triple.address)
            )
        except (WalletError, Blocked) as error:
            _LOG.warning("prepared escrow %s is not used: %s", triple.name, error)
            self._prepared.doubt(triple.slots)
            return False
        if mark is not None or not is_open:
            await self._upkeep.end(pool, triple, mark or "its wallets are not as they were left")
            return False
        return True

    async def is_unpaid(self, escrow: Escrow) -> bool:
        """Whether nothing was ever paid to the wallets, by the word of two of them.

        Raises Blocked if that is not known. What is read is remembered: the session's first reading finds it, and need
        not ask the wallets again.
        """
        self._monitor.doubt(escrow.session.uid)
        reading, _ = await self._inspector.read(escrow)
        return reading.money == NOTHING

    async def refuse(self, pool: Pool, triple: Triple) -> NoReturn:
        """Keep the Secret of an escrow that was given to the session, and was paid to before. Raises SlotBroken."""
        await self._upkeep.keep_secret(pool, triple.name, PAID)
        raise SlotBroken(triple.slots[ROLES[0]], f"Prepared escrow {triple.name}: {PAID}.")

    async def give(self, session: Session, triple: Triple) -> PreparedEscrow | None:
        """Decide that a prepared escrow is the session's; None if it is somebody else's by now. Raises KubeError.

        The session must exist, with the operator's finalizer.
        """
        assert triple.escrow is not None  # noqa: S101 - only proven ones are offered
        self._prepared.doubt(triple.slots)
        try:
            patch = claim(triple.escrow, session, self._fence.token)
            secret = await self._kube.patch(SECRETS, session.key.namespace, triple.name, patch)
        except (ConflictError, NotFoundError):
            return None
        return PreparedEscrow.from_secret(secret)

    async def mark(self, session: Session, triple: Triple) -> None:
        """Mark the wallets as the session's. Raises NotOpened."""
        try:
            await put_marks(await self._clients(triple), session)
        except WalletError as error:
            raise NotOpened("WalletError", f"The wallets of a prepared escrow could not be marked: {error}.") from None

    async def _clients(self, triple: Triple) -> Mapping[Role, WalletRpc]:
        return {role: await self._wallets.client(slot) for role, slot in triple.slots.items()}
