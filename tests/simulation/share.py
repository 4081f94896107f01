"""How many of the worlds are played: all, or the share for which the tests of every change have time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

PART = 1 if os.environ.get("WORLDS") == "all" else 3
"""One of so many."""

T = TypeVar("T")


def share(items: Sequence[T], turn: int = 0, *, part: int = PART) -> Sequence[T]:
    """Every ``part``-th of them. Whoever has another ``turn`` gets others: ``part`` turns get all."""
    return items[turn % part :: part]


def is_played(number: int, turn: int, *, part: int = PART) -> bool:
    """Whether ``share`` has the one with this number."""
    return number % part == turn % part
