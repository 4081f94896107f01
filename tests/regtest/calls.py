"""What people and tests ask of wallets and monerod that the operator never asks."""

from __future__ import annotations

from typing import Any, cast

from escrow_operator.adapters.answer import Answer
from escrow_operator.adapters.wallet_rpc import READ_DEADLINE, WalletRpc
from escrow_operator.errors import WalletRpcError

TRANSACTION_NOT_FOUND = -8


async def version(wallet: WalletRpc, *, deadline: float = READ_DEADLINE) -> int:
    """RPC version, major << 16 | minor. Answered with no wallet open."""
    return (await wallet.call("get_version", {}, deadline)).integer("version")


async def transfer_by_txid(wallet: WalletRpc, txid: str) -> Answer | None:
    """``get_transfer_by_txid``: what the wallet says of a transaction, None if it does not know it.

    To a wallet that has not imported its peers' key images an outgoing one is unknown, or, if it brought change back,
    looks like an incoming one of that amount; its confirmations are right all the same.
    """
    try:
        return (await wallet.call("get_transfer_by_txid", {"txid": txid}, READ_DEADLINE)).item("transfer")
    except WalletRpcError as error:
        if error.code == TRANSACTION_NOT_FOUND:
            return None
        raise


async def sent(wallet: WalletRpc) -> list[str]:
    """The txids of what a wallet sent: in blocks, then in the pool."""
    asked = {"account_index": 0, "out": True, "pending": True}
    answer = await wallet.call("get_transfers", asked, READ_DEADLINE)
    return [found.text("txid") for kind in ("out", "pending") for found in answer.items(kind)]


def texts(answer: Answer, name: str) -> list[str]:
    """A list of strings; a missing one is empty, as Monero leaves empty lists out."""
    return list(cast("Any", answer)._fields.get(name, []))
