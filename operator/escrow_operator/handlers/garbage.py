"""The garbage collector of a process that holds thousands of objects for long."""

from __future__ import annotations

import gc

COLLECT_AFTER = 20_000
"""Allocations between two looks at the youngest objects; Python's 700 are one look for every few API answers."""


def collect_rarely() -> None:
    """Before much is read: with Python's own thresholds more than a third of the time to read lists was collection."""
    gc.set_threshold(COLLECT_AFTER, 20, 50)


def settle_memory() -> None:
    """Leave what is there at the start out of all later collections.

    What the store holds has no cycles. Going through it again and again was a fifth of the CPU at 10,000 sessions.
    """
    gc.collect()
    gc.freeze()
