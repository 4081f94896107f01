"""Builds what wallets and monerod say of an escrow's money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from escrow_operator.core.agreement import WalletView, agree
from escrow_operator.core.funding import Reading
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import ChainFacts, ChainTransaction, Output, Transfer, TransferType, parse_xmr

HEIGHT = 1000


def txid(name: str) -> str:
    """A transaction id that begins with a name of hexadecimal digits."""
    return name.ljust(64, "0")


def output(amount: str, name: str = "a", *, known: bool = True) -> Output:
    """An output of a transaction, as a wallet that knows its key image, or does not, tells it."""
    return Output(txid(name), "f" + txid(name)[1:], parse_xmr(amount), key_image(name) if known else "")


def key_image(name: str) -> str:
    """That of the output of a transaction."""
    return ("e" + name).ljust(64, "0")


def in_pool(amount: str, name: str = "a", *, double: bool = False, unlock_time: int = 0) -> Transfer:
    """A payment in the pool."""
    return Transfer(
        txid=txid(name),
        type=TransferType.POOL,
        amount=parse_xmr(amount),
        fee=0,
        confirmations=0,
        height=0,
        double_spend_seen=double,
        locked=True,
        timestamp=0,
        unlock_time=unlock_time,
    )


def view(*said: Output | Transfer, height: int = HEIGHT) -> WalletView:
    """What one wallet says."""
    outputs = tuple(each for each in said if isinstance(each, Output))
    pool = tuple(each for each in said if isinstance(each, Transfer))
    return WalletView(outputs, pool, height)


def transaction(
    depth: int, *, spends: Iterable[str] = (), unlock_time: int = 0, fee: str = "0.0001", double: bool = False
) -> ChainTransaction:
    """A transaction by its confirmations (0: in the pool), and the names of the outputs it spends."""
    return ChainTransaction(
        block_height=HEIGHT - depth if depth else None,
        double_spend_seen=double,
        unlock_time=unlock_time,
        fee=parse_xmr(fee),
        key_images=frozenset(key_image(name) for name in spends),
    )


def chain(
    transactions: Mapping[str, ChainTransaction | int], spent: Iterable[str] = (), spent_in_pool: Iterable[str] = ()
) -> ChainFacts:
    """What monerod says: transactions by name, or their confirmations, and the names of the outputs that are spent."""
    spends = {key_image(name): True for name in spent} | {key_image(name): False for name in spent_in_pool}
    found = {txid(name): transaction(said) if isinstance(said, int) else said for name, said in transactions.items()}
    return ChainFacts("top", HEIGHT, found, spends)


def agreed(facts: ChainFacts, *said: Output | Transfer, **others: WalletView) -> Reading:
    """A reading: all wallets say the same, but for those named."""
    views: dict[Role, WalletView] = {role: others.get(role.value, view(*said)) for role in ROLES}
    return Reading(agree(views), facts)
