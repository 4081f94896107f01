"""Reads a session's money at one block height, from its wallets and its pool's monerod together."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from escrow_operator.core.conditions import Condition
from escrow_operator.core.daemon import DAEMON_SYNCED, ChainMark, daemon_condition
from escrow_operator.core.funding import Reading, counted
from escrow_operator.core.keyimages import Wanted
from escrow_operator.core.settlement import SettlementView, assess_settlement
from escrow_operator.errors import DaemonError
from escrow_operator.models.monero import ChainFacts, parse_xmr
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session
from escrow_operator.services.context import Context
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.runtime.outcomes import RETRY_SECONDS, Blocked, CutOff, SlotBroken, no_pool
from escrow_operator.services.slots.claims import Slots
from escrow_operator.services.wallets.monitor import SYNCING_SECONDS, Survey, WalletMonitor
from escrow_operator.services.wallets.signing_rounds import SigningRounds

LOOKS_FOR_ONE_HEIGHT = 2
"""Attempts to read the wallets and monerod at one height. Heights must be equal, not "at least monerod's": in a
reorganisation a wallet stays higher than its daemon, on blocks that no longer exist."""


@dataclass(frozen=True)
class Escrow:
    """A session whose three wallets are open and verified to share an address."""

    session: Session
    slots: Slots
    address: str


class Inspector:
    """Returns no reading that may be stale (invariant I8)."""

    def __init__(self, ctx: Context, daemons: DaemonPoller, monitor: WalletMonitor) -> None:
        self._store = ctx.store
        self._daemons = daemons
        self._monitor = monitor
        self._rounds = SigningRounds(ctx)
        self._facts_of: WeakKeyDictionary[Survey, tuple[Wanted, ChainMark, ChainFacts]] = WeakKeyDictionary()

    def pool(self, session: Session) -> Pool:
        """The session's pool; one being deleted only for a session that has slots. Raises Blocked (PoolNotFound)."""
        pool = self._store.pools.get(session.pool_key)
        if pool is None or (pool.deleting and not self._store.is_holder(session.uid)):
            raise no_pool(session.spec.pool_ref.name, session.key.namespace, deleting=pool is not None)
        return pool

    def daemon(self, session: Session) -> Condition:
        """The DaemonSynced condition of the session's pool."""
        pool = self._store.pools.get(session.pool_key)
        if pool is None:
            return Condition(DAEMON_SYNCED, None, "PoolNotFound", "Not known without the WalletPool.")
        return daemon_condition(self._daemons.view(pool.key), pool.spec.daemon)

    def height(self, session: Session) -> int:
        """monerod's height. Raises Blocked when it does not answer, is on the wrong network, or there is no pool."""
        return self._chain(session).height

    def _chain(self, session: Session) -> ChainMark:
        pool = self.pool(session)
        view = self._daemons.view(pool.key)
        condition = daemon_condition(view, pool.spec.daemon)
        if view is None or view.mark is None or condition.reason == "WrongNetwork":
            # Without monerod no wallet is queried, and one may be lost meanwhile.
            self._monitor.doubt(session.uid)
            raise Blocked(condition.reason, condition.message, retry_after=RETRY_SECONDS)
        return view.mark

    async def read(self, escrow: Escrow) -> tuple[Reading, Blocked | None]:
        """What two of the wallets hold at monerod's height, and what is wrong with the third (None: nothing).

        Two are enough to know of the money: a wallet that hangs, or that its party keeps busy, hides nothing. Raises
        Blocked when no two can be read at monerod's height.
        """
        session = escrow.session
        daemon = self.daemon(session)
        if daemon.status is not True:
            self._monitor.doubt(session.uid)
            raise Blocked(daemon.reason, daemon.message, retry_after=RETRY_SECONDS)
        survey, chain = await self._at_one_height(escrow)
        if isinstance(survey.trouble, CutOff):
            self._must_have_secrets_of_now(escrow)
        return Reading(survey.money, chain), survey.trouble

    async def _at_one_height(self, escrow: Escrow) -> tuple[Survey, ChainFacts]:
        """The answers of the wallets and of monerod, at one height. Raises Blocked."""
        session, spec = escrow.session, escrow.session.spec
        payout = spec.settlement.txid if spec.settlement else None
        wanted = Wanted(parse_xmr(spec.amount), payout)
        for _ in range(LOOKS_FOR_ONE_HEIGHT):
            survey, chain = await self._once(escrow, wanted)
            if chain is None:
                continue
            reading = Reading(survey.money, chain)
            if not await self._share_key_images(escrow, reading, wanted):
                return survey, chain
            survey, chain = await self._once(escrow, wanted)
            if chain is not None:
                return survey, chain
        raise Blocked(
            "WalletSyncing",
            f"The wallets are at block {survey.height}, monerod is at {self.height(session)}.",
            retry_after=SYNCING_SECONDS,
        )

    async def _share_key_images(self, escrow: Escrow, reading: Reading, wanted: Wanted) -> bool:
        """Let the wallets exchange key images if that is due, and nobody's signing round is in the way."""
        session = escrow.session
        if not self._monitor.is_exchange_due(session.uid, reading, wanted):
            self._rounds.forget(session)
            return False
        try:
            async with self._rounds.exchange(session) as may:
                return may and await self._monitor.share_key_images(session.uid, escrow.slots, reading, wanted)
        except TimeoutError:
            # One that was cut off counts as made, and failed.
            return True

    async def _once(self, escrow: Escrow, wanted: Wanted) -> tuple[Survey, ChainFacts | None]:
        """The answers of the wallets and of monerod; None for monerod's when it is at another height."""
        session = escrow.session
        try:
            survey = await self._monitor.read(session.uid, escrow.slots, escrow.address, self._chain(session))
        except CutOff:
            self._must_have_secrets_of_now(escrow)
            raise
        if survey.height != self.height(session):
            # Around a new block either may be ahead: query monerod again, then the wallets.
            await self._daemons.next_view(session.pool_key)
        if survey.height != self.height(session):
            return survey, None
        chain = await self._facts(session, survey, wanted)
        return survey, chain if chain.height == survey.height else None

    async def _facts(self, session: Session, survey: Survey, wanted: Wanted) -> ChainFacts:
        """monerod's facts on the wallets' outputs and the payout; not queried without any, nor again without news."""
        mark = self._chain(session)
        txids = {output.txid for output in counted(survey.money)} | ({wanted.payout} if wanted.payout else set())
        if not txids:
            return ChainFacts(mark.top, mark.height, {}, {})
        before = self._facts_of.get(survey)
        # A payout that is in no block may be dropped, and replaced by another transaction.
        if before and before[:2] == (wanted, mark) and (not wanted.payout or before[2].confirmations(wanted.payout)):
            return before[2]
        images = {output.key_image for output in counted(survey.money) if output.key_image}
        try:
            facts = await self._daemons.facts(self.pool(session), txids, images)
        except DaemonError as error:
            raise Blocked("DaemonUnreachable", f"monerod did not answer: {error}.", retry_after=RETRY_SECONDS) from None
        self._facts_of[survey] = (wanted, mark, facts)
        return facts

    def _must_have_secrets_of_now(self, escrow: Escrow) -> None:
        """Raises SlotBroken for a pod that was started with a former login for monerod, or a former CA.

        A pod of another spec.daemon is expected to have other Secrets; ``Renewal`` replaces it in its turn.
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

    def payout(self, session: Session, reading: Reading) -> SettlementView | None:
        """The state of the settlement at a reading; None without spec.settlement."""
        settlement = session.spec.settlement
        if settlement is None:
            return None
        return assess_settlement(settlement, reading, confirmations=session.spec.confirmations)
