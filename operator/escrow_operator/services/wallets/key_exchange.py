"""The 2-of-3 key exchange: turns three new wallets, each in its own slot, into one multisig.

https://docs.getmonero.org/multisignature/ describes the rounds. An interrupted exchange is never resumed in the middle:
a wallet that took part in one is useless and is replaced by one in another file. wallet-rpc deletes no files, so a file
in which the exchange had not begun is used again, and three wallets that had completed it are used as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import (
    InvalidPassword,
    NoWalletOpen,
    WalletError,
    WalletFileDamaged,
    WalletFileExists,
    WalletFileNotFound,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.monero import MultisigInfo
from escrow_operator.services.runtime.gather import gather_all

THRESHOLD = 2
PARTIES = 3

EXCHANGE_ROUNDS = 2
"""Calls of exchange_multisig_keys that complete a 2-of-3; a further one fails."""

ESCROW = MultisigInfo(multisig=True, ready=True, threshold=THRESHOLD, total=PARTIES)
"""The is_multisig answer of each wallet once the exchange is complete."""

Wallets = Mapping[Role, WalletRpc]
Deeds = Mapping[Role, Deed]
Pause = Callable[[], Awaitable[None]]
T = TypeVar("T")


class ExchangeIncomplete(WalletError):
    """The rounds ran, but the three wallets do not form one complete 2-of-3."""


class RoleError(WalletError):
    """A wallet's error, with the role whose wallet it is."""

    def __init__(self, role: Role, error: WalletError) -> None:
        super().__init__(f"{role} wallet: {error}", code=error.code)
        self.role = role
        self.error = error


class Begun(StrEnum):
    """The state of a deed's file. Unless it is useless, its wallet is open."""

    BLANK = "Blank"
    """A wallet with which an exchange can begin."""
    COMPLETE = "Complete"
    """A wallet of a complete 2-of-3."""
    USELESS = "Useless"
    """A wallet whose exchange was interrupted, a file that does not open, or a wallet that is in use or has money."""


async def begin(wallets: Wallets, deeds: Deeds, pause: Pause | None = None) -> dict[Role, Begun]:
    """Create the wallet of each deed, or open the one that an earlier attempt left; returns the states by role.

    ``pause`` as for ``exchange_keys``. Raises RoleError if a state cannot be determined.
    """
    found = await _all(((role, _begin(wallets[role], deed)) for role, deed in deeds.items()), pause)
    return dict(zip(deeds, found, strict=True))


async def common_address(wallets: Wallets) -> str | None:
    """Close three wallets whose exchange is complete; returns their address.

    If their addresses differ, returns None and leaves them open. Raises RoleError.
    """
    addresses = set(await _all((role, wallets[role].address()) for role in ROLES))
    if len(addresses) != 1:
        return None
    await _all((role, wallets[role].close_wallet()) for role in ROLES)
    return addresses.pop()


async def exchange_keys(wallets: Wallets, deeds: Deeds, pause: Pause | None = None) -> str:
    """Run the exchange between three blank, open wallets, store and close them; returns their common address.

    The wallets work at the same time; with a ``pause``, which is for an exchange that nobody waits for, one after the
    other, and it runs before each call. Raises ExchangeIncomplete, or RoleError.
    """
    infos = await _all(((role, wallets[role].prepare_multisig()) for role in ROLES), pause)
    keys = await _all(
        ((role, wallets[role].make_multisig(_peers(infos, role), THRESHOLD, deeds[role].password)) for role in ROLES),
        pause,
    )
    for _ in range(EXCHANGE_ROUNDS):
        infos = [key.info for key in keys]
        keys = await _all(
            ((role, wallets[role].exchange_multisig_keys(_peers(infos, role), deeds[role].password)) for role in ROLES),
            pause,
        )
    states = await _all((role, wallets[role].is_multisig()) for role in ROLES)
    address = await common_address(wallets) if all(state == ESCROW for state in states) else None
    if address is None:
        raise ExchangeIncomplete("the key exchange did not end in one complete 2-of-3 multisig")
    return address


async def _begin(wallet: WalletRpc, deed: Deed) -> Begun:
    with contextlib.suppress(NoWalletOpen):
        await wallet.close_wallet()
    try:
        await wallet.create_wallet(deed.file, deed.password)
    except WalletFileExists:
        return await _look_into(wallet, deed)
    return Begun.BLANK


async def _look_into(wallet: WalletRpc, deed: Deed) -> Begun:
    """The state of an existing file, which may be half written, or a user's own wallet."""
    try:
        await wallet.open_wallet(deed.file, deed.password)
    except (InvalidPassword, WalletFileDamaged, WalletFileNotFound):
        return Begun.USELESS
    state = await wallet.is_multisig()
    if state == ESCROW:
        return Begun.COMPLETE
    if state.multisig or (await wallet.balance()).total or await wallet.transfers(incoming=True, outgoing=True):
        return Begun.USELESS
    return Begun.BLANK


async def _of(role: Role, call: Awaitable[T]) -> T:
    try:
        return await call
    except WalletError as error:
        raise RoleError(role, error) from None


async def _all(calls: Iterable[tuple[Role, Awaitable[T]]], pause: Pause | None = None) -> list[T]:
    """All results; ``calls`` come from a generator, which makes none before its turn."""
    if pause is None:
        return await gather_all(_of(role, call) for role, call in calls)
    found = []
    await pause()
    for role, call in calls:
        found.append(await _of(role, call))
        await pause()
    return found


def _peers(infos: Sequence[str], role: Role) -> list[str]:
    """The messages of the two others; ``infos`` are in the order of ROLES."""
    return [info for peer, info in zip(ROLES, infos, strict=True) if peer is not role]
