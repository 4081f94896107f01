"""Every story with an operator whose watches are late, lose events, or tell two versions in the wrong order."""

from __future__ import annotations

from concurrent.futures import Executor

import pytest

from simulation.kubeclient import View
from simulation.share import share
from simulation.stories import STORIES
from simulation.story import Story
from simulation.workers import Trouble, must_end_as_without

VIEWS = (
    *(View(delay=delay) for delay in (0.05, 0.3, 1.0, 3.0, 15.0)),
    *(View(lose_every=number) for number in (2, 3, 5, 7, 11)),
    *(View(swap_every=number) for number in (2, 3, 5, 7)),
    View(delay=1.0, swap_every=3),
    View(delay=3.0, lose_every=5),
)


@pytest.mark.parametrize("story", [story for story in STORIES if story.patient], ids=lambda story: story.name)
def test_i7_a_stale_view_changes_nothing(story: Story, pool: Executor) -> None:
    must_end_as_without(story, [Trouble(view=view) for view in share(VIEWS, STORIES.index(story))], pool)
