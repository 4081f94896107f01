"""Combines what a session's three wallets report as theirs; only what at least two of them report is accepted.

A party of the trade can log in to its wallet, point it at another chain (``set_daemon``), or answer in its place.
So the wallets are not queried for whether something is in a block, how deep it is, and whether it is spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from escrow_operator.models.common import Role
from escrow_operator.models.monero import Output, Transfer

ENOUGH = 2
"""Wallets that must report the same. As many can spend the money."""

T = TypeVar("T")


class Mined(NamedTuple):
    """An output in a block, by the fields that all wallets report alike; ``amount`` in piconero."""

    txid: str
    public_key: str
    amount: int


class Announced(NamedTuple):
    """A payment in the transaction pool; ``amount`` in piconero, over all its outputs to the escrow."""

    txid: str
    amount: int
    unlock_time: int


class Held(NamedTuple):
    """An output of the escrow; ``amount`` in piconero. ``key_image`` is empty until two wallets report the same one."""

    txid: str
    public_key: str
    amount: int
    key_image: str


@dataclass(frozen=True)
class WalletView:
    """What one wallet reports at one height: its outputs in blocks, in its own order, and payments in the pool."""

    outputs: tuple[Output, ...]
    pool: tuple[Transfer, ...]
    height: int

    @property
    def mined(self) -> tuple[Mined, ...]:
        """Its outputs without their key images, in its order."""
        return tuple(Mined(output.txid, output.public_key, output.amount) for output in self.outputs)

    @property
    def announced(self) -> frozenset[Announced]:
        """Its payments in the pool, without those that a double spend may replace."""
        sums: Counter[tuple[str, int]] = Counter()
        for transfer in self.pool:
            if not transfer.double_spend_seen:
                sums[transfer.txid, transfer.unlock_time] += transfer.amount
        return frozenset(Announced(txid, amount, unlock_time) for (txid, unlock_time), amount in sums.items())

    def says_the_same_as(self, other: WalletView | None) -> bool:
        """Whether both wallets hold the same, at whatever heights; None is a wallet that holds nothing."""
        if other is None:
            return not self.outputs and not self.pool
        return (self.outputs, self.announced) == (other.outputs, other.announced)


@dataclass(frozen=True)
class Money:
    """What is accepted as the escrow's. ``dissenters`` are the roles whose wallets report other outputs in blocks."""

    outputs: tuple[Held, ...] = ()
    announced: tuple[Announced, ...] = ()
    dissenters: tuple[Role, ...] = ()


NOTHING = Money()


def agree(views: Mapping[Role, WalletView]) -> Money:
    """What at least two wallets report. The order of ``views`` has no meaning."""
    mined = _said_by_enough(frozenset(view.mined) for view in views.values())
    images = {output_id: _key_image(output_id, views) for output_id in mined}
    in_blocks = frozenset(output_id.txid for output_id in mined)
    announced = _said_by_enough(view.announced for view in views.values())
    return Money(
        outputs=tuple(Held(*output_id, images[output_id]) for output_id in sorted(mined)),
        # A payment that some wallets see in a block and others still in the pool counts once.
        announced=tuple(sorted(payment for payment in announced if payment.txid not in in_blocks)),
        dissenters=tuple(
            role for role in Role if role in views and not _assents(views[role], mined=mined, images=images)
        ),
    )


def cosigners(views: Mapping[Role, WalletView]) -> tuple[Role, ...]:
    """The roles whose wallets may exchange key images: those that list the same outputs in the same order.

    wallet-rpc matches key images by their position in that list and does not check them: the key images of a wallet
    that lists other outputs would be taken for those of the escrow's outputs.
    """
    lists = Counter(view.mined for view in views.values())
    if not lists:
        return ()
    common, number = lists.most_common(1)[0]
    return tuple(role for role in Role if number >= ENOUGH and role in views and views[role].mined == common)


def _said_by_enough(said: Iterable[frozenset[T]]) -> frozenset[T]:
    counts: Counter[T] = Counter()
    for one in said:
        counts.update(one)
    return frozenset(item for item, number in counts.items() if number >= ENOUGH)


def _key_image(output_id: Mined, views: Mapping[Role, WalletView]) -> str:
    known = _said_by_enough(
        frozenset(
            output.key_image
            for output in view.outputs
            if output.key_image and Mined(output.txid, output.public_key, output.amount) == output_id
        )
        for view in views.values()
    )
    return next(iter(known)) if len(known) == 1 else ""


def _assents(view: WalletView, *, mined: frozenset[Mined], images: Mapping[Mined, str]) -> bool:
    """Whether a wallet reports the accepted outputs in blocks.

    A key image that it lacks is no dissent. Neither is what it sees in the pool: a payment may arrive while the wallets
    are queried one after the other.
    """
    if frozenset(view.mined) != mined:
        return False
    return all(
        output.key_image in ("", images[output_id]) or not images[output_id]
        for output_id, output in zip(view.mined, view.outputs, strict=True)
    )
