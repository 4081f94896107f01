"""The escrow platform's side of a payout: two of the three wallets sign a transaction together."""

import asyncio
from collections.abc import Mapping

from escrow_operator.adapters.answer import Answer
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import StaleMultisigNonces
from regtest.calls import texts

MAX_ROUNDS = 3
"""Rounds tried when another client's export makes the nonces of ours stale."""

SIGN_DEADLINE = 60.0
"""Seconds for a step: up to half a second of CPU on an idle machine."""


class UnexpectedTransaction(AssertionError):
    """The transaction set does not pay what was agreed; the cosigner does not sign it."""


class Platform:
    """Pays out of an escrow with two of its wallets, which stay open and in nobody else's hands meanwhile.

    Raises the WalletErrors of escrow_operator.errors: a WalletRpcError of code -17 or -37 for want of
    money or of unlocked money (10 confirmations).
    """

    def __init__(self, initiator: WalletRpc, cosigner: WalletRpc) -> None:
        self._initiator = initiator
        self._cosigner = cosigner
        # An export in the middle of a round would erase its nonces.
        self._lock = asyncio.Lock()

    async def sync_key_images(self) -> None:
        """Refresh both wallets and exchange their exports: afterwards both know what is spent."""
        async with self._lock:
            await self._exchange_exports()

    async def pay(self, address: str, amount: int) -> str:
        """Pay `amount` piconero to an address, the change staying in escrow; the transaction id."""
        destinations = [{"address": address, "amount": amount}]
        return (await self._payout("transfer", {"destinations": destinations}, address, amount))[0]

    async def sweep(self, address: str) -> list[str]:
        """Pay everything that is unlocked to an address; the transaction ids."""
        return await self._payout("sweep_all", {"address": address}, address, None)

    async def _payout(self, method: str, params: Mapping[str, object], address: str, amount: int | None) -> list[str]:
        async with self._lock:
            for _ in range(MAX_ROUNDS - 1):
                try:
                    return await self._round(method, params, address, amount)
                except StaleMultisigNonces:
                    continue
            return await self._round(method, params, address, amount)

    async def _round(self, method: str, params: Mapping[str, object], address: str, amount: int | None) -> list[str]:
        await self._exchange_exports()
        unsigned = (await self._initiator.call(method, params, SIGN_DEADLINE)).text("multisig_txset")
        described = await self._cosigner.call("describe_transfer", {"multisig_txset": unsigned}, SIGN_DEADLINE)
        for transaction in described.items("desc"):
            _check(transaction, address, amount)
        signed = await self._cosigner.call("sign_multisig", {"tx_data_hex": unsigned}, SIGN_DEADLINE)
        # Submitting a set twice is safe while it is in the pool: it returns the same ids.
        submitted = await self._cosigner.call(
            "submit_multisig", {"tx_data_hex": signed.text("tx_data_hex")}, SIGN_DEADLINE
        )
        return texts(submitted, "tx_hash_list")

    async def _exchange_exports(self) -> None:
        await asyncio.gather(self._initiator.refresh(), self._cosigner.refresh())
        exports = await asyncio.gather(self._initiator.export_multisig_info(), self._cosigner.export_multisig_info())
        await asyncio.gather(
            self._initiator.import_multisig_info([exports[1]]),
            self._cosigner.import_multisig_info([exports[0]]),
        )


def _check(transaction: Answer, address: str, amount: int | None) -> None:
    recipients = transaction.items("recipients")
    if any(recipient.text("address") != address for recipient in recipients):
        raise UnexpectedTransaction("it pays somebody else")
    if amount is not None and sum(recipient.integer("amount") for recipient in recipients) != amount:
        raise UnexpectedTransaction("it pays another amount")
