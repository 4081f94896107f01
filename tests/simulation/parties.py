"""What the parties of a trade do with their wallets, over no network: pay out together, as their clients do."""

from __future__ import annotations

from simulation.chain import Chain
from simulation.wallet_reads import Fault, Open
from simulation.wallet_rpc import WalletProcess

STALE = -35


async def share_key_images(first: WalletProcess, second: WalletProcess) -> None:
    """Refresh both and exchange their exports. Raises Fault, or Ended."""
    infos = []
    for wallet in (first, second):
        await wallet.call("refresh")
        infos.append((await wallet.call("export_multisig_info"))["info"])
    await first.call("import_multisig_info", info=[infos[1]])
    await second.call("import_multisig_info", info=[infos[0]])


async def pay_out(
    chain: Chain, first: WalletProcess, second: WalletProcess, to: str = "elsewhere", amount: int | None = None
) -> str:
    """A signing round of two wallets of one escrow: the txid of what waits in the pool then.

    Raises Fault, of code -35 when somebody exported from one of them meanwhile, and of -17 with nothing to spend.
    """
    await share_key_images(first, second)
    address = _open(first).keys.address
    # A transaction set is made and looked at, then signed: each step is a moment for others to interfere.
    for wallet in (first, second, second):
        await wallet.call("get_version")
    if _open(second).keys.address != address or not _is_fresh(first, second) or not _is_fresh(second, first):
        raise Fault(STALE, "Failed to sign multisig tx: This signature was made with stale data")
    try:
        return chain.pay_out(address, to, amount=amount)
    except ValueError:
        raise Fault(-17, "not enough money") from None


def _is_fresh(wallet: WalletProcess, peer: WalletProcess) -> bool:
    """Whether a wallet imported the last export of its peer."""
    theirs = _open(peer)
    return _open(wallet).cache.peers.get(theirs.keys.signer) == theirs.cache.nonces


def _open(wallet: WalletProcess) -> Open:
    if wallet.open is None:
        raise Fault(-13, "No wallet file")
    return wallet.open
