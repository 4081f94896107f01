"""When a session's wallets exchange key images: as seldom as possible.

Without them a multisig wallet cannot tell whether an output is spent. But each export erases the nonces of the one
before it, and clients may be about to sign with those (they get error −35 and start their round again): anybody can
send dust to an address in every block, and must not be able to keep its owners from signing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from escrow_operator.core.agreement import Held
from escrow_operator.core.funding import Reading

SECONDS_BETWEEN = 3600.0
"""Between two exchanges for outputs that decide nothing: parts of a payment, dust."""

RETRY_SECONDS = 60.0
"""Between two exchanges when one failed: it may have erased nonces all the same."""


@dataclass(frozen=True)
class Wanted:
    """What matters to a session: piconero that it asks for, and the txid of its payout."""

    amount: int
    payout: str | None


@dataclass(frozen=True)
class Exchange:
    """The last one, ``at`` in seconds of a clock that never goes back.

    ``still`` are outputs that it was made for and of which the key image is not known all the same; ``occasions`` are
    those there were for it.
    """

    still: frozenset[Held]
    occasions: frozenset[str]
    at: float
    failed: bool = False


def unknown(reading: Reading) -> frozenset[Held]:
    """Outputs of which the key image is not known."""
    return frozenset(output for output, _ in reading.held if not output.key_image)


def occasions(reading: Reading, wanted: Wanted) -> frozenset[str]:
    """What makes payouts need them, once each; nobody but the owners of the money can cause these.

    Outputs that were spent in a block, by their key images: the change is in the same block. And the named payout, by
    its txid, if it spends nothing that is known to be the escrow's: it may spend what is not known.
    """
    spent = frozenset(output.key_image for output, _ in reading.held if reading.chain.spent.get(output.key_image))
    payout = reading.chain.transactions.get(wanted.payout or "")
    if payout is None or wanted.payout is None:
        return spent
    known = any(output.key_image in payout.key_images for output in reading.money.outputs)
    return spent if known else spent | {wanted.payout}


def up_to_date(last: Exchange, reading: Reading, wanted: Wanted) -> Exchange:
    """The last exchange without what is no longer so: after a reorganisation it is new again."""
    lasting = last.occasions & occasions(reading, wanted)
    return replace(last, still=last.still & unknown(reading), occasions=lasting)


def is_due(reading: Reading, last: Exchange | None, wanted: Wanted, *, now: float) -> bool:
    """Whether to exchange key images.

    At once when outputs that no exchange was made for bring the sum to what is wanted, and once for each occasion that
    a payout gives; for others once an hour at most.
    """
    lacking = unknown(reading)
    if not lacking:
        return False
    if last is None:
        return True
    age = now - last.at
    if last.failed and age < RETRY_SECONDS:
        return False
    if age >= SECONDS_BETWEEN or occasions(reading, wanted) - last.occasions:
        return True
    known = sum(output.amount for output, _ in reading.held if output.key_image and not reading.is_spent(output))
    fresh = sum(output.amount for output in lacking - last.still)
    return known < wanted.amount <= known + fresh
