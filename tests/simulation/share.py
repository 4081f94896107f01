"""How many of the worlds are played: all, or the share for which the tests of every change have time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

PART = 1 if os.environ.get("WORLDS") == "all" else 3
"""One of so many."""

T = TypeVar("T")


def share(items: Sequence[T], turn: int = 0) -> Sequence[T]:
    """Those of them that are played at a turn."""
    return [item for number, item in enumerate(items) if is_played(number, turn)]


def is_played(number: int, turn: int, *, part: int = PART) -> bool:
    """Whether the one with this number is. Whoever has another ``turn`` plays others: ``part`` turns play all."""
    return number % part == turn % part
