"""The answers of monero-wallet-rpc and monerod, and exact conversion of XMR amounts.

Amounts are integers of atomic units (piconero): 1 XMR = 10^12 piconero. Heights count blocks, so the top
block of a chain of height h has index h - 1. Names follow the RPC documentation of Monero.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PICONERO_PER_XMR = 10**12
XMR_DECIMALS = 12
MAX_PICONERO = 2**64 - 1
"""Monero's amounts are unsigned 64-bit integers."""

# Eight digits before the point hold 2^64 - 1 piconero (18446744.07… XMR); more cannot be an amount.
_XMR = re.compile(r"(0|[1-9][0-9]{0,7})(?:\.([0-9]{1,12}))?")


def parse_xmr(text: str) -> int:
    """Piconero of a decimal XMR string such as "0.35", exactly.

    Raises ValueError for a sign, exponent, space, superfluous leading zero, more than twelve decimals, or
    more than 2^64 - 1 piconero.
    """
    match = _XMR.fullmatch(text)
    if match is None:
        raise ValueError("an XMR amount is a plain decimal number with at most 12 decimals, like 0.35")
    whole, decimals = match.group(1), match.group(2) or ""
    piconero = int(whole) * PICONERO_PER_XMR + int(decimals.ljust(XMR_DECIMALS, "0"))
    if piconero > MAX_PICONERO:
        raise ValueError("an XMR amount is at most 18446744.073709551615 (2^64 - 1 piconero)")
    return piconero


def format_xmr(piconero: int) -> str:
    """The shortest decimal XMR string of an amount: "0.35", "2", "0.000000000001"; never an exponent.

    Raises ValueError below 0 or above 2^64 - 1.
    """
    if not 0 <= piconero <= MAX_PICONERO:
        raise ValueError("an amount in piconero is between 0 and 2^64 - 1")
    whole, decimals = divmod(piconero, PICONERO_PER_XMR)
    return f"{whole}.{decimals:0{XMR_DECIMALS}d}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Login:
    """User and password of an RPC server's digest authentication (`--rpc-login`)."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class MultisigInfo:
    """Answer of is_multisig; a wallet that is not multisig has threshold and total 0."""

    multisig: bool
    ready: bool
    threshold: int
    total: int


@dataclass(frozen=True)
class KeyExchange:
    """One round of the multisig key exchange: the message for the peers, confidential.

    `address` is the shared address after the last round only. Before, it is empty or (after make_multisig)
    a placeholder that nobody holds the keys of: never publish it.
    """

    address: str
    info: str = field(repr=False)


@dataclass(frozen=True)
class WalletBalance:
    """Answer of get_balance for the first account, in piconero.

    `total` counts payments that are still in the transaction pool once a refresh has seen them.
    `multisig_import_needed` is true from the first confirmation of an incoming output until peers' exports
    are imported: the wallet then cannot tell whether its outputs are spent, so `total` may be too high.
    `time_to_unlock` is in seconds.
    """

    total: int
    unlocked: int
    blocks_to_unlock: int
    time_to_unlock: int
    multisig_import_needed: bool


class TransferType(StrEnum):
    """Where a transfer stands: `pool` and `pending` are in the transaction pool (incoming, outgoing)."""

    POOL = "pool"
    IN = "in"
    OUT = "out"
    PENDING = "pending"
    FAILED = "failed"
    BLOCK = "block"


@dataclass(frozen=True)
class Transfer:
    """A transaction as one wallet sees it; amount and fee in piconero, timestamp in Unix seconds.

    `confirmations` and `height` are 0 in the transaction pool. A reorganisation can lower both.
    """

    txid: str
    type: TransferType
    amount: int
    fee: int
    confirmations: int
    height: int
    double_spend_seen: bool
    locked: bool
    timestamp: int
    unlock_time: int


@dataclass(frozen=True)
class Output:
    """A mined output as one wallet sees it; `amount` in piconero.

    `key_image` is empty in a multisig wallet until its peers' exports are imported: until then, whether the output is
    spent is unknown.
    """

    txid: str
    public_key: str
    amount: int
    key_image: str


@dataclass(frozen=True)
class ChainTransaction:
    """A transaction as monerod sees it; `block_height` is None in the transaction pool, `fee` in piconero.

    `unlock_time` is 0, a block height (below 500,000,000) or Unix seconds. `key_images` are those of the outputs that
    it spends.
    """

    block_height: int | None
    double_spend_seen: bool
    unlock_time: int
    fee: int
    key_images: frozenset[str]


@dataclass(frozen=True)
class ChainFacts:
    """monerod's answers at one top block, of one height.

    `transactions` by txid, without those that it does not know; `spent` are the spent ones of the queried key images:
    True in a block, False in the pool.
    """

    top: str
    height: int
    transactions: Mapping[str, ChainTransaction]
    spent: Mapping[str, bool]

    def confirmations(self, txid: str) -> int:
        """Blocks from that of a transaction to the top, both included; 0 if it is in the pool or unknown."""
        found = self.transactions.get(txid)
        return self.height - found.block_height if found and found.block_height is not None else 0


class NetType(StrEnum):
    """monerod's network; regtest is `fakechain` (its addresses look like mainnet's)."""

    MAINNET = "mainnet"
    STAGENET = "stagenet"
    TESTNET = "testnet"
    FAKECHAIN = "fakechain"


@dataclass(frozen=True)
class DaemonInfo:
    """Answer of get_info.

    `target_height` is 0 when the daemon knows of no longer chain than its own. `version` is empty on a
    restricted RPC port. `status` is "OK" or "BUSY". A changed `top_block_hash` or `tx_pool_size` is a cheap
    sign that wallets may have changed.
    """

    height: int
    target_height: int
    nettype: NetType
    synchronized: bool
    offline: bool
    busy_syncing: bool
    top_block_hash: str
    tx_pool_size: int
    version: str
    status: str
