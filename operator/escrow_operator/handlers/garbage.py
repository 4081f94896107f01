"""Settings of Python's garbage collector for a process that holds thousands of objects for long."""

from __future__ import annotations

import gc

COLLECT_AFTER = 20_000
"""Allocations between two collections of the youngest generation; Python's 700 mean one for every few API answers."""


def collect_rarely() -> None:
    """Raise the collection thresholds; call before lists are read.

    With Python's own thresholds more than a third of the time to read lists was collection.
    """
    gc.set_threshold(COLLECT_AFTER, 20, 50)


def settle_memory() -> None:
    """Exclude all objects that exist now from later collections.

    The objects in the store form no cycles. Scanning them repeatedly was a fifth of the CPU at 10,000 sessions.
    """
    gc.collect()
    gc.freeze()
