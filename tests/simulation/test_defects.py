"""The checker finds what the operator once did wrong, without being told where to look."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor

import pytest

from simulation.defects import DEFECTS, Defect
from simulation.kubeclient import View
from simulation.play import Outcome
from simulation.stories import STORIES
from simulation.workers import Trouble, played, wrong_with

VIEWS = (None, View(delay=1.0), View(swap_every=2), View(swap_every=3), View(lose_every=5))


@pytest.fixture(scope="module")
def smooth(pool: Executor) -> Mapping[str, Outcome]:
    """How the stories are without any trouble: nothing is wrong with them."""
    found = {story.name: played(story, pool) for story in STORIES}
    assert not [outcome.violations for outcome in found.values() if outcome.violations]
    return found


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_a_defect_is_found(defect: Defect, smooth: Mapping[str, Outcome], pool: Executor) -> None:
    for view in VIEWS:
        stories = {story.name: smooth[story.name] for story in STORIES if story.patient or view is None}
        wrong = wrong_with(Trouble(view=view, defect=defect.name), stories, pool)
        if wrong:
            print(f"{defect.name} ({view or 'no stale view'}): {wrong.splitlines()[0]}")
            return
    raise AssertionError("no story showed it")
