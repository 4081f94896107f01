"""What can be said of a session's money at one block height, from its wallets and its pool's monerod together."""

from __future__ import annotations

from escrow_operator.core.conditions import Condition
from escrow_operator.core.daemon import DAEMON_SYNCED, ChainMark, daemon_condition
from escrow_operator.core.funding import Reading
from escrow_operator.core.settlement import SettlementView, assess_settlement
from escrow_operator.errors import DaemonError
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session
from escrow_operator.services.activation import Escrow
from escrow_operator.services.blocked import RETRY_SECONDS, Blocked, CutOff, SlotBroken, no_pool
from escrow_operator.services.daemons import DaemonService
from escrow_operator.services.monitor import Monitor
from escrow_operator.services.store import Store

LOOKS_FOR_ONE_HEIGHT = 2
"""Equal heights are asked for, not "at least monerod's": in a reorganisation a wallet stays higher than its daemon, on
blocks that are no more."""


SYNCING_SECONDS = 1.0
"""Until the next look at wallets that trail monerod."""


class Inspector:
    """Reads nothing it could not vouch for (invariant I8)."""

    def __init__(self, store: Store, daemons: DaemonService, monitor: Monitor) -> None:
        self._store = store
        self._daemons = daemons
        self._monitor = monitor

    def pool(self, session: Session) -> Pool:
        """The session's pool; one that is being deleted only for a session that has slots. Raises PoolNotFound."""
        pool = self._store.pools.get(session.pool_key)
        if pool is None or (pool.deleting and not self._store.is_holder(session.uid)):
            raise no_pool(session.spec.pool_ref.name, session.key.namespace, deleting=pool is not None)
        return pool

    def daemon(self, session: Session) -> Condition:
        """The DaemonSynced condition."""
        pool = self._store.pools.get(session.pool_key)
        if pool is None:
            return Condition(DAEMON_SYNCED, None, "PoolNotFound", "Not known without the WalletPool.")
        return daemon_condition(self._daemons.view(pool.key), pool.spec.daemon)

    def height(self, session: Session) -> int:
        """monerod's height. Raises Blocked when it does not answer or is on the wrong network."""
        return self._chain(session).height

    def _chain(self, session: Session) -> ChainMark:
        pool = self.pool(session)
        view = self._daemons.view(pool.key)
        condition = daemon_condition(view, pool.spec.daemon)
        if view is None or view.mark is None or condition.reason == "WrongNetwork":
            raise Blocked(condition.reason, condition.message, retry_after=RETRY_SECONDS)
        return view.mark

    async def read(self, escrow: Escrow) -> Reading:
        """What the wallets hold at monerod's height. Raises Blocked when the two cannot be brought together."""
        session = escrow.session
        daemon = self.daemon(session)
        if daemon.status is not True:
            raise Blocked(daemon.reason, daemon.message, retry_after=RETRY_SECONDS)
        settlement = session.spec.settlement
        payout = settlement.txid if settlement else None
        for _ in range(LOOKS_FOR_ONE_HEIGHT):
            chain = self._chain(session)
            try:
                reading = await self._monitor.read(session.uid, escrow.slots, escrow.address, payout, chain)
            except CutOff:
                self._must_have_secrets_of_now(escrow)
                raise
            if reading.height == self.height(session):
                return reading
            # Around a new block the one or the other is ahead: hear monerod again, then the wallets.
            await self._daemons.next_view(session.pool_key)
            if reading.height == self.height(session):
                return reading
        raise Blocked(
            "WalletSyncing",
            f"The wallets are at block {reading.height}, monerod is at {self.height(session)}.",
            retry_after=SYNCING_SECONDS,
        )

    def _must_have_secrets_of_now(self, escrow: Escrow) -> None:
        """Raises SlotBroken for a pod that was started with another login for monerod, or another authority.

        One with another spec.daemon has others for a good reason; it is replaced in its turn (services/renewal.py).
        """
        pool = self.pool(escrow.session)
        now = self._daemons.secrets(pool)
        for slot in escrow.slots.values():
            if now is not None and slot.daemon_secrets != now and slot.has_daemon(pool.spec.daemon.digest):
                raise SlotBroken(
                    slot,
                    f"Pod {slot.name} was started before the Secrets for monerod were changed.",
                    reason="DaemonSecretsChanged",
                )

    async def payout(self, session: Session, reading: Reading) -> SettlementView | None:
        """How far the settlement is; None without one. Raises Blocked when monerod does not answer."""
        settlement = session.spec.settlement
        if settlement is None:
            return None
        try:
            on_chain = await self._daemons.transaction(self.pool(session), settlement.txid)
        except DaemonError as error:
            raise Blocked("DaemonUnreachable", f"monerod did not answer: {error}.", retry_after=RETRY_SECONDS) from None
        return assess_settlement(settlement, reading.payout, on_chain, confirmations=session.spec.confirmations)
