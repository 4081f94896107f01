"""A Monero chain in memory: blocks, a transaction pool, payments and what spends them.

Every id is a hash of a counter, so that two runs of the same story have the same ids. Key images are a function of an
output's public key here; whether a wallet may know one is the wallet's business (``wallet_cache.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

FIRST_UNIX_TIME = 500_000_000
"""An unlock time below is a block height."""

SPENDABLE_AGE = 10
"""Confirmations before Monero lets an output be spent."""

SECONDS_PER_BLOCK = 120
FEE = 30_000_000
_GENESIS_TIME = 1_700_000_000


def digest(*parts: object) -> str:
    """64 hexadecimal digits that depend on nothing but ``parts``."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def key_image(public_key: str) -> str:
    """The key image of an output."""
    return digest("key image", public_key)


@dataclass(frozen=True)
class TxOutput:
    """What one transaction pays to one address; ``amount`` in piconero."""

    address: str
    amount: int
    public_key: str

    @property
    def key_image(self) -> str:
        """What tells that it is spent."""
        return key_image(self.public_key)


@dataclass
class Transaction:
    """``spends`` are key images; a customer's are made up, since its wallet is not simulated."""

    txid: str
    outputs: tuple[TxOutput, ...]
    spends: frozenset[str]
    fee: int = FEE
    unlock_time: int = 0
    timestamp: int = _GENESIS_TIME
    double_spend_seen: bool = False


@dataclass(frozen=True, eq=False)
class Block:
    """``index`` is its height: the top block of a chain of height h has index h - 1."""

    index: int
    hash: str
    timestamp: int
    transactions: tuple[Transaction, ...] = field(repr=False)
    before: Block | None = field(repr=False)


class DoubleSpend(Exception):
    """A transaction spends what another one spends already."""


class Chain:
    """``network`` tells chains apart: no two of them share an id. Nothing is mined by itself."""

    def __init__(self, height: int = 100, *, network: str = "regtest") -> None:
        self.network = network
        self.blocks: list[Block] = []
        self.pool: dict[str, Transaction] = {}
        self.rivals: dict[str, Transaction] = {}
        """Double spends of transactions of the pool: made, and in no pool. ``mine(rivals=...)`` mines them."""
        self._ids = 0
        self._mined: dict[str, tuple[Transaction, Block]] = {}
        self._spent: dict[str, int] = {}
        self.mine(height)

    @property
    def height(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def top(self) -> str:
        """The newest block's hash."""
        return self.blocks[-1].hash

    def new_id(self, what: str) -> str:
        """64 hexadecimal digits that this chain has not given away yet."""
        self._ids += 1
        return digest(self.network, what, self._ids)

    # What happens on it

    def pay(self, address: str, *piconero: int, unlock_time: int = 0) -> str:
        """A customer's payment, which waits in the pool; several amounts are several outputs. Its txid."""
        paid = [(address, amount) for amount in piconero]
        return self._submit(self._transaction(paid, frozenset({self.new_id("coin")}), unlock_time=unlock_time))

    def pay_out(
        self, address: str, to: str = "elsewhere", *, amount: int | None = None, only: Collection[str] | None = None
    ) -> str:
        """Spend the outputs of an address, of mined transactions (those of ``only``); the txid of what is in the pool.

        With ``amount`` what is left over, less the fee, comes back to the address as change. Their age is not looked
        at: a payout of younger outputs than Monero allows is the test's to avoid. Raises ValueError with nothing there
        to spend, or too little.
        """
        spent = set(self.spent())
        coins = [
            output
            for transaction in self.mined()
            if only is None or transaction.txid in only
            for output in transaction.outputs
            if output.address == address and output.key_image not in spent
        ]
        change = sum(coin.amount for coin in coins) - FEE - (amount or 0)
        if not coins or change < 0:
            raise ValueError(f"nothing, or too little, to spend at {address[:12]}")
        paid = [(to, change)] if amount is None else [(to, amount), (address, change)]
        return self._submit(self._transaction(paid, frozenset(coin.key_image for coin in coins)))

    def double_spend(self, txid: str, to: str = "elsewhere") -> str:
        """Another transaction that spends what one of the pool does; the network saw both, and took the first."""
        first = self.pool[txid]
        first.double_spend_seen = True
        rival = self._transaction([(to, sum(output.amount for output in first.outputs))], first.spends)
        self.rivals[rival.txid] = rival
        return rival.txid

    def mine(self, blocks: int = 1, *, without: Collection[str] = (), rivals: Collection[str] = ()) -> int:
        """Mine blocks, the first with all of the pool but ``without``, and instead of what ``rivals`` double-spend.

        The new height.
        """
        for number in range(blocks):
            chosen = [self.rivals.pop(txid) for txid in rivals] if number == 0 else []
            used = {image for transaction in chosen for image in transaction.spends}
            if number == 0:
                chosen += [t for t in self.pool.values() if t.txid not in without and not t.spends & used]
            for transaction in chosen:
                transaction.double_spend_seen = False
            used |= {image for transaction in chosen for image in transaction.spends}
            self.pool = {txid: t for txid, t in self.pool.items() if not t.spends & used}
            above = self.blocks[-1] if self.blocks else None
            time = _GENESIS_TIME + SECONDS_PER_BLOCK * self.height
            block = Block(self.height, self.new_id("block"), time, tuple(chosen), above)
            self.blocks.append(block)
            self._mined |= {transaction.txid: (transaction, block) for transaction in chosen}
            self._spent |= dict.fromkeys(used, block.index)
        return self.height

    def reorganise(self, depth: int, *, vanish: Collection[str] = (), grow: int = 0) -> int:
        """Take the newest blocks away, as ``/pop_blocks`` does; then mine ``grow`` empty ones. The new height.

        Their transactions go back to the pool, but those of ``vanish`` and those that spend what the pool spends.
        Wallets notice when another block is where they have one: with ``grow`` 0 they stay above their daemon.
        """
        gone = self.blocks[-depth:] if depth else []
        del self.blocks[len(self.blocks) - len(gone) :]
        back = [t for block in gone for t in block.transactions]
        for transaction in back:
            del self._mined[transaction.txid]
            for image in transaction.spends:
                del self._spent[image]
        for transaction in back:
            if transaction.txid not in vanish and not self._conflicts(transaction):
                self.pool[transaction.txid] = transaction
        return self.mine(grow, without=tuple(self.pool))

    def drop(self, *txids: str) -> None:
        """Transactions of the pool (all, with none named) expire."""
        for txid in txids or tuple(self.pool):
            del self.pool[txid]

    # What can be seen of it

    def mined(self) -> Iterator[Transaction]:
        """Transactions in blocks."""
        return (transaction for transaction, _ in self._mined.values())

    def find(self, txid: str, height: int | None = None) -> tuple[Transaction, Block | None] | None:
        """A transaction and its block, None in the pool; of the lowest ``height`` blocks when given."""
        found = self._mined.get(txid)
        if found and (height is None or found[1].index < height):
            return found
        return (self.pool[txid], None) if txid in self.pool else None

    def spent(self, height: int | None = None) -> dict[str, bool]:
        """Spent key images: True in a block (of the lowest ``height`` when given), False in the pool."""
        found = {image: False for transaction in self.pool.values() for image in transaction.spends}
        return found | {image: True for image, index in self._spent.items() if height is None or index < height}

    def _submit(self, transaction: Transaction) -> str:
        if self._conflicts(transaction):
            raise DoubleSpend(transaction.txid)
        self.pool[transaction.txid] = transaction
        return transaction.txid

    def _conflicts(self, transaction: Transaction) -> bool:
        return not transaction.spends.isdisjoint(self.spent())

    def _transaction(
        self, paid: Collection[tuple[str, int]], spends: frozenset[str], *, unlock_time: int = 0
    ) -> Transaction:
        txid = self.new_id("transaction")
        outputs = tuple(TxOutput(to, amount, digest(txid, number)) for number, (to, amount) in enumerate(paid))
        time = _GENESIS_TIME + SECONDS_PER_BLOCK * self.height
        return Transaction(txid, outputs, spends, unlock_time=unlock_time, timestamp=time)


def is_locked(unlock_time: int, height: int, depth: int) -> bool:
    """Whether an output of that unlock time and so many confirmations cannot be spent at a height."""
    if depth < SPENDABLE_AGE:
        return True
    if unlock_time < FIRST_UNIX_TIME:
        return unlock_time > height
    return unlock_time > _GENESIS_TIME + SECONDS_PER_BLOCK * height
