"""Asks a session's wallets what they hold. Reading is no activity (invariant I6): nothing here touches the clocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.daemon import ChainMark
from escrow_operator.core.funding import Reading
from escrow_operator.errors import (
    NoWalletOpen,
    WalletDaemonUnavailable,
    WalletError,
    WalletTimeout,
    WalletUnauthorized,
    WalletUnreachable,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import Transfer
from escrow_operator.models.slot import Slot
from escrow_operator.services.blocked import RETRY_SECONDS, Blocked, CutOff, SlotBroken
from escrow_operator.services.opener import Opener
from escrow_operator.services.together import both, gather_all
from escrow_operator.services.wallets import Wallets

TELLER = Role.ARBITER
"""The wallet that is asked for balance and payments: all three know the same."""

REFRESH_SECONDS = 20.0
"""For one look. A wallet that has more to scan goes on scanning; the session says WalletSyncing meanwhile."""

CUT_OFF = (
    "monerod answers the operator, but not the wallets. Each open wallet holds an RPC connection: see that monerod's"
    " --rpc-max-connections (100 when not set) and --rpc-max-connections-per-private-ip (25) or -per-public-ip (3)"
    " allow as many, and that no NetworkPolicy is in their way."
)
"""The limits are those of monerod since 0.18.4: a connection above them is closed, which tells the wallet nothing."""

FULL_LOOK_EVERY = 10
"""Looks of which one reads everything, whatever seems unchanged, and whether the wallet whose turn it is keeps up with
monerod. No multiple of three, so that each of the three gets such a turn."""


@dataclasses.dataclass
class _Known:
    """What the last full look at a session found, and as of when."""

    wallets: tuple[str, ...]
    chain: ChainMark
    reading: Reading
    looks: int = 0


class Monitor:
    """Reads one session at a time; the caller holds the session.

    A look at a session of which nothing can have changed is one request: whether one of the three wallets, each in its
    turn, is still the one that was opened.
    """

    def __init__(self, wallets: Wallets, opener: Opener) -> None:
        self._wallets = wallets
        self._opener = opener
        self._synced: dict[str, frozenset[tuple[str, int]]] = {}
        self._known: dict[str, _Known] = {}
        self._doubted: set[str] = set()
        """Sessions of which the last look failed: the next one asks all three wallets."""

    def forget(self, session_uid: str) -> None:
        """The session is gone or closed."""
        self._synced.pop(session_uid, None)
        self._known.pop(session_uid, None)
        self._doubted.discard(session_uid)

    async def read(
        self, session_uid: str, slots: Mapping[Role, Slot], address: str, payout: str | None, chain: ChainMark
    ) -> Reading:
        """What the wallets hold, as of the height they are at, and what they know of a payout's txid.

        ``chain`` is what monerod said last. The very reading of before is returned where it still holds.
        Raises Blocked with what is wrong.
        """
        wallets = tuple(slots[role].incarnation for role in ROLES)
        known = self._known.get(session_uid)
        if known is not None and known.wallets != wallets:
            known = None
        roles: Sequence[Role] = ()  # Wallets that were opened a moment ago need no such proof.
        thorough = session_uid in self._doubted
        if thorough:
            roles = ROLES
        elif known:
            known.looks += 1
            roles = (ROLES[known.looks % len(ROLES)],)
            thorough = known.looks % FULL_LOOK_EVERY == 0
        checks = (self._must_hold(slots[role], address, height=chain.height if thorough else 0) for role in roles)
        self._doubted.add(session_uid)
        try:
            reading, _ = await both(self._look(session_uid, slots, known, payout, chain), gather_all(checks))
        except NoWalletOpen:
            self._opener.forget(slots[TELLER].uid)
            raise _closed(slots[TELLER]) from None
        except WalletDaemonUnavailable:
            raise CutOff(CUT_OFF) from None
        except WalletTimeout:
            raise Blocked(
                "WalletSyncing", "A wallet is scanning blocks or busy with a client's call.", retry_after=RETRY_SECONDS
            ) from None
        except WalletError as error:
            raise Blocked("WalletError", f"A wallet refused a read: {error}.", retry_after=RETRY_SECONDS) from None
        self._doubted.discard(session_uid)
        if reading.height == chain.height:
            self._known[session_uid] = _Known(wallets, chain, reading, known.looks if known else 0)
        else:
            # Around a new block: what was read is of another one than monerod spoke of.
            self._known.pop(session_uid, None)
        return reading

    async def _look(
        self,
        session_uid: str,
        slots: Mapping[Role, Slot],
        known: _Known | None,
        payout: str | None,
        chain: ChainMark,
    ) -> Reading:
        may_hold = known and payout is None and known.looks % FULL_LOOK_EVERY
        if known and may_hold and await self._still_holds(known, slots[TELLER], chain):
            return known.reading
        clients = {role: await self._wallets.client(slots[role]) for role in ROLES}
        teller = clients[TELLER]
        reading = await self._ask(teller)
        if reading.balance.multisig_import_needed and await self._exchange_key_images(session_uid, clients, reading):
            reading = await self._ask(teller)
        if payout is not None:
            seen = await gather_all(self._find(clients[role], payout) for role in ROLES)
            reading = dataclasses.replace(reading, payout=tuple(seen))
        return reading

    async def _still_holds(self, known: _Known, slot: Slot, chain: ChainMark) -> bool:
        """Whether nothing can have changed since the last full look; what the mempool brought is asked for."""
        last = known.reading
        if known.chain.top != chain.top or last.payout or last.balance.multisig_import_needed:
            return False
        if known.chain == chain:
            return True
        teller = await self._wallets.client(slot)
        transfers = await teller.transfers(incoming=True, outgoing=True, pool=True)
        return tuple(transfers) == last.transfers and await teller.balance() == last.balance

    async def _must_hold(self, slot: Slot, address: str, *, height: int) -> None:
        """Check that the wallet is still the one that was opened: its clients may close or replace it.

        One that is not at ``height`` must reach monerod: it refreshes itself, without telling anybody if it cannot.
        """
        wallet = await self._wallets.client(slot)
        try:
            current = await wallet.address()
            if height and current == address and await wallet.height() < height:
                await wallet.refresh(deadline=REFRESH_SECONDS)
        except NoWalletOpen:
            current = None
        except WalletUnauthorized:
            raise SlotBroken(slot, f"Pod {slot.name} refuses the login it was started with.") from None
        except WalletTimeout:
            # Busy with a client's call: that is no sign of another wallet.
            return
        except WalletDaemonUnavailable:
            raise
        except WalletUnreachable:
            raise Blocked(
                "WalletUnreachable",
                f"Pod {slot.name} of the {slot.role} wallet does not answer.",
                retry_after=RETRY_SECONDS,
            ) from None
        except WalletError as error:
            raise Blocked("WalletError", f"The {slot.role} wallet: {error}.", retry_after=RETRY_SECONDS) from None
        if current != address:
            self._opener.forget(slot.uid)
            raise _closed(slot)

    async def _ask(self, wallet: WalletRpc) -> Reading:
        await wallet.refresh(deadline=REFRESH_SECONDS)
        balance = await wallet.balance()
        transfers = await wallet.transfers(incoming=True, outgoing=True, pool=True)
        return Reading(balance=balance, transfers=tuple(transfers), height=await wallet.height())

    async def _find(self, wallet: WalletRpc, txid: str) -> Transfer | None:
        await wallet.refresh(deadline=REFRESH_SECONDS)
        return await wallet.transfer_by_txid(txid)

    async def _exchange_key_images(self, session_uid: str, clients: Mapping[Role, WalletRpc], reading: Reading) -> bool:
        """Once per new output: give each wallet the others' key images; False if there is nothing new.

        New outputs come with payments, and with the change of payouts.

        Without them a multisig wallet cannot tell whether its outputs are spent. Never on a timer: an export erases
        the nonces of the export before it, and a client may be about to sign with those (it gets error −35 and
        starts its round again).
        """
        mined = frozenset((t.txid, t.height) for t in reading.transfers if t.confirmations)
        if not mined or self._synced.get(session_uid) == mined:
            return False
        await gather_all(clients[role].refresh(deadline=REFRESH_SECONDS) for role in ROLES)
        infos = await gather_all(clients[role].export_multisig_info() for role in ROLES)
        await gather_all(
            clients[role].import_multisig_info(
                [info for peer, info in zip(ROLES, infos, strict=True) if peer is not role]
            )
            for role in ROLES
        )
        self._synced[session_uid] = mined
        return True


def _closed(slot: Slot) -> Blocked:
    return Blocked(
        "WalletClosed",
        f"The {slot.role} wallet is no longer open in pod {slot.name}; it is opened again.",
        retry_after=0.0,
    )
