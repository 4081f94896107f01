"""A customer with an ordinary wallet, who mines coins on regtest and pays with them."""

from dataclasses import dataclass, field

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import WalletFileExists

from .daemon import RegtestDaemon

FIRST_BLOCKS = 180
"""A coinbase output unlocks after 60 blocks, and a ring takes 16 unlocked outputs picked with a bias to
recent ones: on a shorter chain a transfer fails with "not enough outputs to use" (-19)."""

MORE_BLOCKS = 20
MAX_BLOCKS = 1000
TRANSFER_DEADLINE = 60.0
"""Seconds: a transfer takes half a second of CPU."""


@dataclass(frozen=True)
class Payment:
    """A payment; amounts in piconero. `metadata` is set on one that was not sent to the network yet."""

    txid: str
    amount: int
    fee: int
    metadata: str = field(default="", repr=False)


class Customer:
    """Plays on a wallet-rpc of its own, which holds no escrow wallet. Call `start` first.

    Raises the WalletErrors of escrow_operator.errors: a WalletRpcError of code -17 or -37 for want of
    money or of unlocked money.
    """

    def __init__(self, wallet: WalletRpc, daemon: RegtestDaemon) -> None:
        self._wallet = wallet
        self._daemon = daemon
        self.address = ""

    async def start(self, file: str = "customer", password: str = "customer") -> str:  # noqa: S107 - throw-away coins
        """Create or open the customer's wallet; its address."""
        try:
            await self._wallet.create_wallet(file, password)
        except WalletFileExists:
            await self._wallet.open_wallet(file, password)
        self.address = await self._wallet.address()
        return self.address

    async def mine(self, blocks: int = 1) -> int:
        """Mine blocks to the customer; the chain's new height."""
        return await self._daemon.generate_blocks(self.address, blocks)

    async def earn(self, amount: int) -> int:
        """Mine until `amount` piconero can be spent; the unlocked balance."""
        missing = FIRST_BLOCKS - await self._daemon.height()
        if missing > 0:
            await self.mine(missing)
        for _ in range(MAX_BLOCKS // MORE_BLOCKS):
            await self._wallet.refresh()
            unlocked = (await self._wallet.balance()).unlocked
            if unlocked >= amount:
                return unlocked
            await self.mine(MORE_BLOCKS)
        raise RuntimeError(f"{MAX_BLOCKS} blocks did not earn {amount} piconero")

    async def pay(self, address: str, amount: int) -> Payment:
        """Pay an address; the transaction is in the pool, and mined with the next block."""
        return await self._transfer(address, amount, do_not_relay=False)

    async def sign_payment(self, address: str, amount: int) -> Payment:
        """Make a payment without sending it; `relay` sends it. Two of them may spend the same coins."""
        return await self._transfer(address, amount, do_not_relay=True)

    async def relay(self, payment: Payment) -> str:
        """Send a payment that `sign_payment` made; its transaction id."""
        params = {"hex": payment.metadata}
        return (await self._wallet.call("relay_tx", params, TRANSFER_DEADLINE)).text("tx_hash")

    async def _transfer(self, address: str, amount: int, *, do_not_relay: bool) -> Payment:
        await self._wallet.refresh()
        params = {
            "destinations": [{"address": address, "amount": amount}],
            "do_not_relay": do_not_relay,
            "get_tx_metadata": do_not_relay,
        }
        answer = await self._wallet.call("transfer", params, TRANSFER_DEADLINE)
        return Payment(
            txid=answer.text("tx_hash"),
            amount=answer.integer("amount"),
            fee=answer.integer("fee"),
            metadata=answer.text("tx_metadata") if do_not_relay else "",
        )
