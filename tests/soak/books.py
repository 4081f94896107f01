"""What the people of a soak know to be true, which the operator's status is compared with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Books:
    """Kept by users, read by the checker."""

    paid: set[str] = field(default_factory=set)
    """Addresses to which somebody sent, or tried to send, the amount."""
    settled: set[str] = field(default_factory=set)
    """Names of sessions for which somebody named a payout."""
    canaries: dict[str, str] = field(default_factory=dict)
    """Secret values that must appear nowhere, each with what it is."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was done how often."""
