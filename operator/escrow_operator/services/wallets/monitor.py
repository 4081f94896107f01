"""Reads what a session's wallets hold. Reading is no activity (invariant I6): it does not delay ttl or eviction."""

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
"""Deadline of the refresh in one reading. A wallet with more blocks to scan goes on; the reason is WalletSyncing."""

STRAGGLER_SECONDS = 5.0
"""Seconds to wait for the third wallet once two have answered. Wallets differ by milliseconds, unless one waits for a
lost connection to monerod, which Monero does for minutes."""

CUT_OFF = (
    "monerod answers the operator, but not the wallets. Each open wallet holds an RPC connection: see that monerod's"
    " --rpc-max-connections (100 when not set) and --rpc-max-connections-per-private-ip (25) or -per-public-ip (3)"
    " allow as many, and that no NetworkPolicy is in their way."
)
"""The limits are those of monerod since 0.18.4, which closes further connections without telling the wallet why."""

FULL_LOOK_EVERY = 10
"""One of so many readings reads all that a wallet holds, even if nothing seems changed. It is not a multiple of three,
so that each of the three wallets has its turn."""

SYNCING_SECONDS = 1.0
"""Requeue delay in seconds of a session whose wallets trail monerod."""


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What a session's wallets hold, as of a height; ``trouble`` is why a wallet was left out, if one was.

    Surveys compare by identity: if the object is not the one of the previous reading, something may have changed.
    """

    money: Money
    height: int
    trouble: Blocked | None = None


@dataclasses.dataclass(slots=True)
class _Known:
    """The result of a session's last reading, the chain that it is of, and the view of each wallet that was queried."""

    wallets: tuple[str, ...]
    chain: ChainMark
    survey: Survey
    views: dict[Role, WalletView]
    looks: int = -1

    @property
    def at_odds(self) -> bool:
        """Whether the views of the wallets that were queried differ."""
        return len({(view.mined, view.announced) for view in self.views.values()}) > 1


@dataclasses.dataclass(slots=True)
class _Watched:
    """What the monitor remembers of a session. ``doubted``: the next reading queries all three wallets."""

    known: _Known | None = None
    exchange: Exchange | None = None
    doubted: bool = False


class WalletMonitor:
    """Reads the wallets of sessions; the caller must not read the same session concurrently.

    If nothing can have changed, a reading is one request: whether one of the three wallets, each in turn, is still the
    one that was opened. After a block that wallet is queried for what it holds; if that differs from before, all three
    are.
    """

    def __init__(self, ctx: Context, wallets: WalletClients, opener: WalletOpener) -> None:
        self._wallets = wallets
        self._opener = opener
        self._clock, self._memory = ctx.clock, ctx.memory

    def doubt(self, session_uid: str) -> None:
        """Make the next reading query all three wallets, because the session was not watched for a while."""
        self._memory.of(session_uid, _Watched).doubted = True

    async def read(self, session_uid: str, slots: Mapping[Role, Slot], address: str, chain: ChainMark) -> Survey:
        """Read what the wallets hold, as of the height that they are at.

        ``chain`` is of monerod's last answer. Returns the same object as before if nothing has changed. Raises Blocked
        with the cause if fewer than two wallets can be read and agree on a height, or if the one in turn fails.
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
        # Around a new block the wallets may be at another height than monerod's last answer.
        watched.known = known if known.survey.height == chain.height else None
        return known.survey

    def is_exchange_due(self, session_uid: str, reading: Reading, wanted: Wanted) -> bool:
        """Whether ``share_key_images`` would let the wallets exchange key images now."""
        watched = self._memory.of(session_uid, _Watched)
        if watched.exchange is not None:
            watched.exchange = up_to_date(watched.exchange, reading, wanted)
        return watched.known is not None and is_due(reading, watched.exchange, wanted, now=self._clock.monotonic())

    async def share_key_images(
        self, session_uid: str, slots: Mapping[Role, Slot], reading: Reading, wanted: Wanted
    ) -> bool:
        """Let the wallets exchange key images if that is due; returns whether it was. If so, read again afterwards.

        Only wallets that list the same outputs take part.
        """
        watched = self._memory.of(session_uid, _Watched)
        known = watched.known
        if known is None or not self.is_exchange_due(session_uid, reading, wanted):
            return False
        now = self._clock.monotonic()
        watched.exchange = Exchange(unknown(reading), occasions(reading, wanted), now, failed=True)
        watched.doubted = True
        clients = {role: await self._wallets.client(slots[role]) for role in cosigners(known.views)}
        if await exchange(clients):
            watched.exchange = dataclasses.replace(watched.exchange, failed=False)
        return True

    async def _still_holds(self, known: _Known, slots: Mapping[Role, Slot], address: str, chain: ChainMark) -> bool:
        """Whether the wallet in turn holds the same as before; one that was not queried before must hold nothing.

        If the wallets disagreed, False as soon as something may have changed, so that all are queried again: a payment
        may have come while they were queried.
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
        """Query all three wallets, and leave out those at another height than two others.

        Raises Blocked if fewer than two are at one height.
        """
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
        """The view of each wallet, or why there is none. After two answers, waits STRAGGLER_SECONDS for the third."""
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
        """Raise Blocked unless the wallet is still the one that was opened: its clients may close or replace it."""
        try:
            current = await (await self._wallets.client(slot)).address()
        except WalletTimeout:
            # The wallet is busy with a client's call, which is no sign of another wallet.
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
