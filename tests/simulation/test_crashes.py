"""Every story again and again, with the operator killed before and after each of its writes and wallet calls."""

from __future__ import annotations

from concurrent.futures import Executor

import pytest

from simulation.process import crash_points
from simulation.stories import STORIES, Story
from simulation.workers import Trouble, must_end_as_without, played


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_i7_a_crash_at_any_step_changes_nothing(story: Story, pool: Executor) -> None:
    smooth = played(story, pool)
    # How the pool is made is the same in all of them.
    begin = 0 if story is STORIES[0] else smooth.begins
    must_end_as_without(story, [Trouble(crash=crash) for crash in crash_points(smooth.steps, begin=begin)], pool)
