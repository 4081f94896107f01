"""What the contract between the operator and Monero's servers is checked with, in memory or on real processes."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from escrow_operator.adapters.monerod import Daemon
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import NoWalletOpen
from escrow_operator.models.common import ROLES, Role
from regtest.multisig import make_escrow

PASSWORD = "contract"


class Miner(Protocol):
    """Moves the chain, and money on it."""

    async def mine(self, blocks: int = 1) -> int:
        """Mine blocks with all that is in the pool; the new height."""
        ...

    async def pay(self, address: str, piconero: int) -> str:
        """A payment, which waits in the pool; its txid."""
        ...

    async def pop(self, blocks: int) -> None:
        """Take the newest blocks away; their payments go back to the pool."""
        ...

    async def pay_out(self, wallets: Mapping[Role, WalletRpc]) -> str:
        """Two of the wallets pay all that they hold to somebody else; the txid of what waits in the pool."""
        ...


@dataclass
class Bench:
    """Three wallet processes, a daemon, and somebody who mines and pays."""

    wallets: Mapping[Role, WalletRpc]
    daemon: Daemon
    miner: Miner
    _run: str = field(default_factory=lambda: secrets.token_hex(3))
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def wallet(self) -> WalletRpc:
        """One of the three."""
        return self.wallets[Role.BUYER]

    def fresh_name(self) -> str:
        """Of a wallet file that is not there."""
        return f"contract-{self._run}-{next(self._numbers)}"

    async def close(self) -> None:
        """No wallet is open in any of them afterwards."""
        for role in ROLES:
            with contextlib.suppress(NoWalletOpen):
                await self.wallets[role].close_wallet()

    async def fresh(self) -> str:
        """A wallet that is not multisig, open in ``wallet``; its file."""
        name = self.fresh_name()
        await self.wallet.create_wallet(name, PASSWORD)
        return name

    async def escrow(self) -> str:
        """Three wallets of a new escrow, open; their address."""
        passwords = {role.value: PASSWORD for role in ROLES}
        wallets = {role.value: self.wallets[role] for role in ROLES}
        return await make_escrow(wallets, self.fresh_name(), passwords)

    async def refresh(self) -> None:
        """All three see what there is."""
        for role in ROLES:
            await self.wallets[role].refresh()

    async def share_key_images(self) -> list[int]:
        """Each of the three imports what the two others export; how many outputs were covered."""
        exports = {role: await self.wallets[role].export_multisig_info() for role in ROLES}
        return [
            await self.wallets[role].import_multisig_info([exports[peer] for peer in ROLES if peer is not role])
            for role in ROLES
        ]
