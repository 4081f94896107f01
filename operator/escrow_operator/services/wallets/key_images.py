"""Gives each wallet of a session the key images of the others."""

from __future__ import annotations

from collections.abc import Mapping

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.agreement import ENOUGH
from escrow_operator.errors import BadMultisigInfo, WalletError
from escrow_operator.models.common import Role
from escrow_operator.services.runtime.gather import gather_all


async def exchange(wallets: Mapping[Role, WalletRpc]) -> bool:
    """Give each wallet the key images of the others; returns False if fewer than two exported theirs.

    A wallet that exports none, or what another does not accept, does not stop the others: two of three are enough.
    """
    infos = {
        role: info for role, info in zip(wallets, await gather_all(map(_export, wallets.values())), strict=True) if info
    }
    if len(infos) < ENOUGH:
        return False
    await gather_all(
        _import(wallet, [info for peer, info in infos.items() if peer is not role]) for role, wallet in wallets.items()
    )
    return True


async def _export(wallet: WalletRpc) -> str | None:
    try:
        return await wallet.export_multisig_info()
    except WalletError:
        return None


async def _import(wallet: WalletRpc, infos: list[str]) -> None:
    try:
        await wallet.import_multisig_info(infos)
    except BadMultisigInfo:
        if len(infos) > 1:
            for info in infos:
                await _import(wallet, [info])
    except WalletError:
        # The next reading reports what is wrong with this wallet.
        return
