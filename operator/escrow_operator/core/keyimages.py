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
    """What matters to a session: piconero and confirmations that it asks for, and the txid of its payout."""

    amount: int
    confirmations: int
    payout: str | None


@dataclass(frozen=True)
class Exchange:
    """The last one, ``at`` in seconds of a clock that never goes back.

    ``still`` are outputs that it was made for and of which the key image is not known all the same; ``occasion`` is
    what the payout gave it.
    """

    still: frozenset[Held]
    occasion: str
    at: float
    failed: bool = False


def unknown(reading: Reading) -> frozenset[Held]:
    """Outputs of which the key image is not known."""
    return frozenset(output for output, _ in reading.held if not output.key_image)


def occasion(reading: Reading, wanted: Wanted) -> str:
    """The name of what makes a payout need them, once; empty without.

    It spends nothing that is known to be the escrow's, so that it may spend what is not known; or it is final, and
    what is left is to be known.
    """
    found = reading.chain.transactions.get(wanted.payout or "")
    if found is None:
        return ""
    if not any(output.key_image in found.key_images for output in reading.money.outputs):
        return f"unmatched {wanted.payout}"
    return f"final {wanted.payout}" if reading.chain.confirmations(wanted.payout or "") >= wanted.confirmations else ""


def still_unknown(last: Exchange, reading: Reading) -> Exchange:
    """The last exchange without what is known by now: forgotten by a reorganisation, it is new again."""
    return replace(last, still=last.still & unknown(reading))


def is_due(reading: Reading, last: Exchange | None, wanted: Wanted, *, now: float) -> bool:
    """Whether to exchange key images.

    At once when outputs that no exchange was made for bring the sum to what is wanted, and once for each occasion that
    the payout gives; for others once an hour at most.
    """
    lacking = unknown(reading)
    if not lacking:
        return False
    if last is None:
        return True
    age = now - last.at
    if last.failed and age < RETRY_SECONDS:
        return False
    why = occasion(reading, wanted)
    if age >= SECONDS_BETWEEN or (why and why != last.occasion):
        return True
    known = sum(output.amount for output, _ in reading.held if output.key_image and not reading.is_spent(output))
    fresh = sum(output.amount for output in lacking - last.still)
    return known < wanted.amount <= known + fresh
