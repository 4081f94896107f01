"""Asks a session's wallets what they hold. Reading is no activity (invariant I6): nothing here touches the clocks."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping

from escrow_operator.core.agreement import ENOUGH, NOTHING, Money, WalletView, agree, cosigners
from escrow_operator.core.daemon import ChainMark
from escrow_operator.core.funding import Reading
from escrow_operator.core.keyimages import Exchange, Wanted, is_due, occasions, unknown, up_to_date
from escrow_operator.errors import (
    NoWalletOpen,
    WalletDaemonUnavailable,
    WalletError,
    WalletTimeout,
    WalletUnauthorized,
    WalletUnreachable,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import RETRY_SECONDS, Blocked, CutOff, SlotBroken
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.key_images import exchange
from escrow_operator.services.wallets.opener import WalletOpener

REFRESH_SECONDS = 20.0
"""For one look. A wallet that has more to scan goes on scanning; the session says WalletSyncing meanwhile."""

STRAGGLER_SECONDS = 5.0
"""To wait for the third wallet when two have said what they hold. They differ by milliseconds, unless one waits for a
connection to monerod that is gone: Monero does so for minutes."""

CUT_OFF = (
    "monerod answers the operator, but not the wallets. Each open wallet holds an RPC connection: see that monerod's"
    " --rpc-max-connections (100 when not set) and --rpc-max-connections-per-private-ip (25) or -per-public-ip (3)"
    " allow as many, and that no NetworkPolicy is in their way."
)
"""The limits are those of monerod since 0.18.4: a connection above them is closed, which tells the wallet nothing."""

FULL_LOOK_EVERY = 10
"""Looks of which one reads all that a wallet holds, whatever seems unchanged. No multiple of three, so that each of the
three gets such a turn."""

SYNCING_SECONDS = 1.0
"""Until the next look at wallets that trail monerod."""


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What a session's wallets hold, as of a height; ``trouble`` is what is wrong with one that does not join in.

    Two surveys are never equal: one is the very one of before, or there may be news.
    """

    money: Money
    height: int
    trouble: Blocked | None = None


@dataclasses.dataclass
class _Known:
    """What the last look at a session found, as of when, and what each wallet that was asked said."""

    wallets: tuple[str, ...]
    chain: ChainMark
    survey: Survey
    views: dict[Role, WalletView]
    looks: int = -1

    @property
    def at_odds(self) -> bool:
        """Whether the wallets that were asked did not all say the same."""
        return len({(view.mined, view.announced) for view in self.views.values()}) > 1


@dataclasses.dataclass
class _Watched:
    """What the monitor remembers of a session. ``doubted``: the next look asks all three wallets."""

    known: _Known | None = None
    exchange: Exchange | None = None
    doubted: bool = False


class WalletMonitor:
    """Reads one session at a time; the caller holds the session.

    A look at a session of which nothing can have changed is one request: whether one of the three wallets, each in its
    turn, is still the one that was opened. After a block the one whose turn it is is asked what it holds; when that is
    something else than before, all three are.
    """

    def __init__(self, ctx: Context, wallets: WalletClients, opener: WalletOpener) -> None:
        self._wallets = wallets
        self._opener = opener
        self._clock, self._memory = ctx.clock, ctx.memory

    def doubt(self, session_uid: str) -> None:
        """The session was not looked at for a while: the next look asks all three wallets, not one in its turn."""
        self._memory.of(session_uid, _Watched).doubted = True

    async def read(self, session_uid: str, slots: Mapping[Role, Slot], address: str, chain: ChainMark) -> Survey:
        """What the wallets hold, as of the height they are at.

        ``chain`` is what monerod said last. The very survey of before is returned where it still holds.
        Raises Blocked with what is wrong, unless two of the wallets are enough.
        """
        wallets = tuple(slots[role].incarnation for role in ROLES)
        watched = self._memory.of(session_uid, _Watched)
        known = watched.known
        if known is None or known.wallets != wallets:
            known = _Known(wallets, chain, Survey(NOTHING, 0), {})
        known.looks += 1
        doubted, watched.doubted = watched.doubted, True
        if doubted or not await self._still_holds(known, slots, address, chain):
            known.survey, known.views = await self._survey(slots, address, chain)
            known.chain = chain
        if known.survey.trouble is None:
            watched.doubted = False
        # Around a new block, what was read may be of another one than monerod spoke of.
        watched.known = known if known.survey.height == chain.height else None
        return known.survey

    async def share_key_images(
        self, session_uid: str, slots: Mapping[Role, Slot], reading: Reading, wanted: Wanted
    ) -> bool:
        """Let the wallets exchange key images if it is time; False if it is not. Read again afterwards.

        Only those take part that say what the others say.
        """
        now = self._clock.monotonic()
        watched = self._memory.of(session_uid, _Watched)
        if watched.exchange is not None:
            watched.exchange = up_to_date(watched.exchange, reading, wanted)
        last, known = watched.exchange, watched.known
        if known is None or not is_due(reading, last, wanted, now=now):
            return False
        watched.exchange = Exchange(unknown(reading), occasions(reading, wanted), now, failed=True)
        clients = {role: await self._wallets.client(slots[role]) for role in cosigners(known.views)}
        if await exchange(clients):
            watched.exchange = dataclasses.replace(watched.exchange, failed=False)
        watched.doubted = True
        return True

    async def _still_holds(self, known: _Known, slots: Mapping[Role, Slot], address: str, chain: ChainMark) -> bool:
        """Whether the wallet whose turn it is says what it said before; one not asked before must hold nothing.

        Where the wallets disagreed all of them are asked again when there may be news: it may have been a payment that
        came while they were asked.
        """
        role = ROLES[known.looks % len(ROLES)]
        slot, view, first = slots[role], known.views.get(role), not known.survey.height
        if first or known.looks % FULL_LOOK_EVERY == 0 or known.chain.top != chain.top:
            fresh = await self._view(slot, address)
            if known.at_odds or not fresh.says_the_same_as(view):
                return False
            known.survey = dataclasses.replace(known.survey, height=fresh.height)
        elif known.chain == chain:
            await self._must_hold(slot, address)
        else:
            await self._must_hold(slot, address)
            if known.at_odds or not await self._pool_is_as_before(slot, view):
                return False
        known.chain = chain
        return True

    async def _pool_is_as_before(self, slot: Slot, view: WalletView | None) -> bool:
        try:
            pool = await (await self._wallets.client(slot)).transfers(pool=True)
        except WalletError as error:
            raise self._blocked(slot, error) from None
        before = view or WalletView((), (), 0)
        return dataclasses.replace(before, pool=tuple(pool)).says_the_same_as(before)

    async def _survey(
        self, slots: Mapping[Role, Slot], address: str, chain: ChainMark
    ) -> tuple[Survey, dict[Role, WalletView]]:
        """Ask all three; those at another height than two others, or than monerod, have no say."""
        asked = await self._ask_all(slots, address)
        views = {role: said for role, said in asked.items() if isinstance(said, WalletView)}
        troubles = [said for said in asked.values() if isinstance(said, Blocked)]
        heights = Counter(view.height for view in views.values())
        height, number = max(heights.items(), key=lambda item: (item[1], item[0] == chain.height), default=(0, 0))
        troubles += [_trails(role, view, chain) for role, view in views.items() if view.height != height]
        views = {role: view for role, view in views.items() if view.height == height}
        if number < ENOUGH:
            raise troubles[0]
        return Survey(agree(views), height, troubles[0] if troubles else None), views

    async def _ask_all(self, slots: Mapping[Role, Slot], address: str) -> dict[Role, WalletView | Blocked]:
        """What each wallet says, or why it does not. One that hangs does not keep back what two others said."""
        tasks = {role: asyncio.create_task(self._view(slots[role], address)) for role in ROLES}
        try:
            waits = set(tasks.values())
            while waits and sum(map(_has_said, tasks.values())) < ENOUGH:
                _, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits:
                await asyncio.wait(waits, timeout=STRAGGLER_SECONDS)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        asked: dict[Role, WalletView | Blocked] = {}
        for role, task in tasks.items():
            try:
                asked[role] = task.result()
            except Blocked as blocked:
                asked[role] = blocked
            except asyncio.CancelledError:
                asked[role] = _busy(slots[role])
        return asked

    async def _view(self, slot: Slot, address: str) -> WalletView:
        await self._must_hold(slot, address)
        try:
            wallet = await self._wallets.client(slot)
            await wallet.refresh(deadline=REFRESH_SECONDS)
            pool = await wallet.transfers(pool=True)
            outputs = await wallet.outputs()
            return WalletView(tuple(outputs), tuple(pool), await wallet.height())
        except WalletError as error:
            raise self._blocked(slot, error) from None

    async def _must_hold(self, slot: Slot, address: str) -> None:
        """Check that the wallet is still the one that was opened: its clients may close or replace it."""
        try:
            current = await (await self._wallets.client(slot)).address()
        except WalletTimeout:
            # Busy with a client's call: that is no sign of another wallet.
            return
        except WalletError as error:
            raise self._blocked(slot, error) from None
        if current != address:
            self._opener.forget(slot)
            raise _closed(slot)

    def _blocked(self, slot: Slot, error: WalletError) -> Blocked:
        """What a wallet's error means for its session."""
        match error:
            case NoWalletOpen():
                self._opener.forget(slot)
                return _closed(slot)
            case WalletUnauthorized():
                return SlotBroken(slot, f"Pod {slot.name} refuses the login it was started with.")
            case WalletDaemonUnavailable():
                return CutOff(CUT_OFF)
            case WalletTimeout():
                return _busy(slot)
            case WalletUnreachable():
                return Blocked(
                    "WalletUnreachable",
                    f"Pod {slot.name} of the {slot.role} wallet does not answer.",
                    retry_after=RETRY_SECONDS,
                )
        return Blocked("WalletError", f"The {slot.role} wallet: {error}.", retry_after=RETRY_SECONDS)


def _has_said(task: asyncio.Task[WalletView]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _busy(slot: Slot) -> Blocked:
    return Blocked(
        "WalletSyncing",
        f"The {slot.role} wallet is scanning blocks or busy with a client's call.",
        retry_after=RETRY_SECONDS,
    )


def _trails(role: Role, view: WalletView, chain: ChainMark) -> Blocked:
    return Blocked(
        "WalletSyncing",
        f"The {role} wallet is at block {view.height}, monerod is at {chain.height}.",
        retry_after=SYNCING_SECONDS,
    )


def _closed(slot: Slot) -> Blocked:
    return Blocked(
        "WalletClosed",
        f"The {slot.role} wallet is no longer open in pod {slot.name}; it is opened again.",
        retry_after=0.0,
    )
