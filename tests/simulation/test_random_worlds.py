"""Worlds in which users, parties and faults do at random what they may: the same ones in each run, by their seeds."""

from __future__ import annotations

from concurrent.futures import Executor
from itertools import repeat

import pytest

from simulation.random_play import play_at_random
from simulation.share import PART

SEEDS = range(4)
WORLDS = 15 // PART
"""For each seed. `make soak` plays more."""

MOST = 100
"""Within which a defect is found."""

FOUND = (
    # Those that random worlds come upon soon, whichever way a change of the code turns them; stories find all.
    "a payment counts before it is deep enough",
    "a payment under way does not keep a session open",
    "an expired session does not come back",
    "clients can connect before the address is proven",
    "deeds lack the address",
    "who has a wallet open is not asked",
)


def test_no_invariant_is_violated(pool: Executor) -> None:
    found = pool.map(play_at_random, SEEDS, repeat(WORLDS))
    assert not (wrong := [one for one in found if one]), wrong[0]


@pytest.mark.parametrize("defect", FOUND, ids=lambda defect: defect.replace(" ", "-"))
def test_a_defect_is_found(defect: str, pool: Executor) -> None:
    wrong = pool.submit(play_at_random, 0, MOST, shrink=False, defect=defect).result()
    assert wrong is not None
    assert "AssertionError: I" in wrong
