"""What a session's wallets say is theirs, and what of it is believed: what at least two of the three say.

Each wallet is in the reach of a party of the trade, who may point it at another chain (``set_daemon``), or answer in
its place. Whether something is in a block, how deep, and whether it is spent is not asked of wallets at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from escrow_operator.models.common import Role
from escrow_operator.models.monero import Output, Transfer

ENOUGH = 2
"""Wallets that must say the same. As many can spend the money."""

T = TypeVar("T")


class Mined(NamedTuple):
    """An output, as wallets that know it tell it alike; ``amount`` in piconero."""

    txid: str
    public_key: str
    amount: int


class Announced(NamedTuple):
    """A payment in the transaction pool; ``amount`` in piconero, over all its outputs to the escrow."""

    txid: str
    amount: int
    unlock_time: int


class Held(NamedTuple):
    """An output of the escrow. ``key_image`` is empty until two wallets know the same one."""

    txid: str
    public_key: str
    amount: int
    key_image: str


@dataclass(frozen=True)
class WalletView:
    """What one wallet calls its own at one height: outputs in blocks, in its own order, and payments in the pool."""

    outputs: tuple[Output, ...]
    pool: tuple[Transfer, ...]
    height: int

    @property
    def mined(self) -> tuple[Mined, ...]:
        """Its outputs without their key images, in its order."""
        return tuple(Mined(output.txid, output.public_key, output.amount) for output in self.outputs)

    @property
    def announced(self) -> frozenset[Announced]:
        """Its payments in the pool. Those that a double spend may replace are none."""
        sums: Counter[tuple[str, int]] = Counter()
        for transfer in self.pool:
            if not transfer.double_spend_seen:
                sums[transfer.txid, transfer.unlock_time] += transfer.amount
        return frozenset(Announced(txid, amount, unlock_time) for (txid, unlock_time), amount in sums.items())

    def says_the_same_as(self, other: WalletView | None) -> bool:
        """Whether it holds the same, at whatever height; None is a wallet that holds nothing."""
        if other is None:
            return not self.outputs and not self.pool
        return (self.outputs, self.announced) == (other.outputs, other.announced)


@dataclass(frozen=True)
class Money:
    """What is believed to be the escrow's. ``dissenters`` are the roles whose wallets say otherwise of blocks."""

    outputs: tuple[Held, ...] = ()
    announced: tuple[Announced, ...] = ()
    dissenters: tuple[Role, ...] = ()


NOTHING = Money()


def agree(views: Mapping[Role, WalletView]) -> Money:
    """What at least two wallets say. The order of ``views`` has no meaning."""
    mined = _said_by_enough(frozenset(view.mined) for view in views.values())
    images = {output_id: _key_image(output_id, views) for output_id in mined}
    in_blocks = frozenset(output_id.txid for output_id in mined)
    announced = _said_by_enough(view.announced for view in views.values())
    return Money(
        outputs=tuple(Held(*output_id, images[output_id]) for output_id in sorted(mined)),
        # What one wallet still sees in the pool when others see it in a block counts once.
        announced=tuple(sorted(payment for payment in announced if payment.txid not in in_blocks)),
        dissenters=tuple(
            role for role in Role if role in views and not _assents(views[role], mined=mined, images=images)
        ),
    )


def cosigners(views: Mapping[Role, WalletView]) -> tuple[Role, ...]:
    """Whose key images may be given to the others: the wallets that list the same outputs in the same order.

    wallet-rpc matches key images by their place in that list and does not check them: those of a wallet that lists
    others would be taken for those of our outputs.
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
    """Whether a wallet says what is believed of blocks.

    That it lacks a key image says nothing against it, nor what it sees in the pool: a payment may come while one wallet
    after the other is asked.
    """
    if frozenset(view.mined) != mined:
        return False
    return all(
        output.key_image in ("", images[output_id]) or not images[output_id]
        for output_id, output in zip(view.mined, view.outputs, strict=True)
    )
