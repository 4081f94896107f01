"""Two operators at once, which nobody should run: they may get nowhere, but they must not do harm.

How many sessions are open (I5) is counted by each of them alone, so that cap is left out.
"""

from __future__ import annotations

from concurrent.futures import Executor

import pytest

from simulation.kubeclient import View
from simulation.stories import STORIES
from simulation.workers import Trouble, played_by_two

VIEWS = (View(), View(delay=1.0), View(lose_every=3))

STORIES_OF_ONE = {
    story.name: story
    for story in STORIES
    if story.name
    in (
        "create",
        "create-and-delete",
        "delete-while-it-opens",
        "lose-a-pod",
        "pay-and-settle",
        "take-a-prepared-one",
        "three-for-two",
    )
}
"""Two operators that let several sessions give way to each other go on doing so for a long time."""


@pytest.mark.parametrize("name", STORIES_OF_ONE)
def test_two_operators_do_no_harm(name: str, pool: Executor) -> None:
    violations = played_by_two(STORIES_OF_ONE[name], pool, [Trouble(view=view) for view in VIEWS])
    assert not [one for one in violations if not one.startswith("I5")]


def test_harm_is_found(pool: Executor) -> None:
    trouble = Trouble(defect="clients can connect before the address is proven")
    assert played_by_two(STORIES_OF_ONE["create"], pool, [trouble])
