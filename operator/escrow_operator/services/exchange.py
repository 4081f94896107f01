"""The 2-of-3 key exchange: makes three fresh wallets of one multisig, each in its own slot.

https://docs.getmonero.org/multisignature/ describes the rounds. An exchange that is interrupted starts over with fresh
files: until its address is published nothing can have been paid to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import NoWalletOpen, WalletError
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.monero import MultisigInfo
from escrow_operator.services.together import gather_all

THRESHOLD = 2
PARTIES = 3

EXCHANGE_ROUNDS = 2
"""Calls of exchange_multisig_keys that complete a 2-of-3; one more errors."""

ESCROW = MultisigInfo(multisig=True, ready=True, threshold=THRESHOLD, total=PARTIES)
"""What is_multisig says of each wallet when the exchange is complete."""


class ExchangeIncomplete(WalletError):
    """The rounds ran, but the three wallets do not form one complete 2-of-3."""


async def create_escrow(wallets: Mapping[Role, WalletRpc], deeds: Mapping[Role, Deed]) -> str:
    """Make the three wallets, exchange keys, store and close them; returns their common address.

    Raises WalletFileExists when a file of a deed was begun before, ExchangeIncomplete, or another WalletError.
    """

    await gather_all(_fresh(wallets[role], deeds[role]) for role in ROLES)
    infos = await gather_all(wallets[role].prepare_multisig() for role in ROLES)
    keys = await gather_all(
        wallets[role].make_multisig(_peers(infos, role), THRESHOLD, deeds[role].password) for role in ROLES
    )
    for _ in range(EXCHANGE_ROUNDS):
        infos = [key.info for key in keys]
        keys = await gather_all(
            wallets[role].exchange_multisig_keys(_peers(infos, role), deeds[role].password) for role in ROLES
        )
    states = await gather_all(wallets[role].is_multisig() for role in ROLES)
    addresses = set(await gather_all(wallets[role].address() for role in ROLES))
    if any(state != ESCROW for state in states) or len(addresses) != 1:
        raise ExchangeIncomplete("the key exchange did not end in one complete 2-of-3 multisig")
    await gather_all(wallets[role].close_wallet() for role in ROLES)
    return addresses.pop()


async def _fresh(wallet: WalletRpc, deed: Deed) -> None:
    with contextlib.suppress(NoWalletOpen):
        await wallet.close_wallet()
    await wallet.create_wallet(deed.file, deed.password)


def _peers(infos: Sequence[str], role: Role) -> list[str]:
    """The messages of the two others; ``infos`` are in the order of ROLES."""
    return [info for peer, info in zip(ROLES, infos, strict=True) if peer is not role]
