"""Every story again and again, with the operator killed before and after each of its writes and wallet calls."""

from __future__ import annotations

from concurrent.futures import Executor

import pytest

from simulation.stories import STORIES
from simulation.story import Story
from simulation.workers import must_survive_crashes


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_i7_a_crash_at_any_step_changes_nothing(story: Story, pool: Executor) -> None:
    # How the pool is made is the same in all of them.
    must_survive_crashes(story, pool, from_the_start=story is STORIES[0])
