"""When a session's wallets exchange key images: as seldom as possible.

Without key images a multisig wallet cannot tell whether an output is spent. But each export erases the nonces of the
export before it, and clients that are about to sign with those get error −35 and start their round again. Anybody can
send dust to an address in every block, and must not be able to keep the owners of the money from signing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from escrow_operator.core.agreement import Held
from escrow_operator.core.funding import Reading

SECONDS_BETWEEN = 3600.0
"""Minimum seconds between two exchanges for outputs that decide nothing: parts of a payment, dust."""

RETRY_SECONDS = 60.0
"""Minimum seconds before the next exchange after a failed one, which may have erased nonces all the same."""


@dataclass(frozen=True)
class Wanted:
    """What the session's spec asks for: the amount in piconero, and the txid of its payout, if one is named."""

    amount: int
    payout: str | None


@dataclass(frozen=True)
class Exchange:
    """The last exchange, ``at`` in seconds of a monotonic clock.

    ``still`` are the outputs that it was made for and whose key image is still unknown; ``occasions`` are those that it
    served.
    """

    still: frozenset[Held]
    occasions: frozenset[str]
    at: float
    failed: bool = False


def unknown(reading: Reading) -> frozenset[Held]:
    """The outputs whose key image is not known."""
    return frozenset(output for output, _ in reading.held if not output.key_image)


def occasions(reading: Reading, wanted: Wanted) -> frozenset[str]:
    """Occasions for one exchange each, as key images and txids. Only the owners of the money can cause them.

    The key image of each output spent in a block: the change is in the same block. The txid of the payout that the
    spec names, if it spends no output that is known to be the escrow's: it may spend one whose key image is unknown.
    """
    spent = frozenset(output.key_image for output, _ in reading.held if reading.chain.spent.get(output.key_image))
    payout = reading.chain.transactions.get(wanted.payout or "")
    if payout is None or wanted.payout is None:
        return spent
    known = any(output.key_image in payout.key_images for output in reading.money.outputs)
    return spent if known else spent | {wanted.payout}


def up_to_date(last: Exchange, reading: Reading, wanted: Wanted) -> Exchange:
    """The last exchange without the outputs and occasions that no longer apply.

    If they come back after a reorganisation, they count as new.
    """
    lasting = last.occasions & occasions(reading, wanted)
    return replace(last, still=last.still & unknown(reading), occasions=lasting)


def is_due(reading: Reading, last: Exchange | None, wanted: Wanted, *, now: float) -> bool:
    """Whether to exchange key images; ``now`` is of the same clock as ``last.at``.

    At once when outputs that no exchange was made for bring the sum to the wanted amount, and once for each occasion
    that a payout gives; for other outputs once an hour at most.
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
