"""Makes a 2-of-3 escrow by hand, for tests of wallets the operator did not create."""

import asyncio
from collections.abc import Mapping

from escrow_operator.adapters.wallet_rpc import FILE_DEADLINE, WalletRpc
from escrow_operator.models.monero import MultisigInfo

THRESHOLD = 2
EXCHANGE_ROUNDS = 2


async def make_escrow(wallets: Mapping[str, WalletRpc], file: str, passwords: Mapping[str, str]) -> str:
    """Create a fresh wallet file per role and exchange keys; the shared address.

    The wallets stay open and are stored. Raises WalletErrors, WalletFileExists among them.
    """
    roles = list(wallets)
    await asyncio.gather(*(wallets[role].create_wallet(file, passwords[role]) for role in roles))
    prepared = await asyncio.gather(*(wallets[role].prepare_multisig() for role in roles))
    infos = dict(zip(roles, prepared, strict=True))
    made = await asyncio.gather(
        *(wallets[role].make_multisig(_peers(infos, role), THRESHOLD, passwords[role]) for role in roles)
    )
    for _ in range(EXCHANGE_ROUNDS):
        infos = {role: exchange.info for role, exchange in zip(roles, made, strict=True)}
        made = await asyncio.gather(
            *(wallets[role].exchange_multisig_keys(_peers(infos, role), passwords[role]) for role in roles)
        )
    states = await asyncio.gather(*(wallets[role].is_multisig() for role in roles))
    addresses = {exchange.address for exchange in made}
    expected = MultisigInfo(multisig=True, ready=True, threshold=THRESHOLD, total=len(roles))
    if any(state != expected for state in states) or len(addresses) != 1:
        raise RuntimeError("the key exchange did not end in one shared wallet")
    await asyncio.gather(*(wallets[role].call("store", {}, FILE_DEADLINE) for role in roles))
    return addresses.pop()


def _peers(infos: Mapping[str, str], role: str) -> list[str]:
    return [info for peer, info in infos.items() if peer != role]
