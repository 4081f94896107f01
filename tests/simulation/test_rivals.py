"""Two operators as the chart runs them: whatever happens to the leader, and at whichever step, nobody else acts.

The invariants hold, and users see the same end as without it.
"""

from __future__ import annotations

from concurrent.futures import Executor

import pytest

from simulation.defects import LEADER_DEFECTS, Defect
from simulation.rivals import Blow
from simulation.stories import STORIES
from simulation.workers import must_survive_blows, wrong_with_blows

PLAYED = [
    *(("create", blow) for blow in Blow),
    *(
        (name, blow)
        for name in ("take-a-prepared-one", "lose-a-pod", "create-and-delete")
        for blow in (Blow.PAUSE, Blow.LATE, Blow.WALLETS)
    ),
]
"""All blows to the longest story; to the others those that leave most behind."""

STORY = {story.name: story for story in STORIES}


@pytest.mark.parametrize(("name", "blow"), PLAYED, ids=[f"{name}-{blow.name.lower()}" for name, blow in PLAYED])
def test_i15_only_the_leader_acts(name: str, blow: Blow, pool: Executor) -> None:
    must_survive_blows(STORY[name], blow, pool)


@pytest.mark.parametrize("defect", LEADER_DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_a_defect_is_found(defect: Defect, pool: Executor) -> None:
    for blow in Blow:
        wrong = wrong_with_blows(STORY["create"], blow, defect.name, pool)
        if wrong:
            print(f"{defect.name} ({blow}): {wrong[0].splitlines()[0]}")
            return
    raise AssertionError("no blow showed it")
