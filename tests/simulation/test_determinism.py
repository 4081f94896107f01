"""A seed tells a world: else no failure could be looked at twice."""

from __future__ import annotations

from concurrent.futures import Executor

import pytest

from simulation.share import share
from simulation.stories import STORIES
from simulation.story import Story
from simulation.workers import played, workers


@pytest.mark.parametrize("story", share(STORIES), ids=lambda story: story.name)
def test_the_same_seed_makes_the_same_world(story: Story, pool: Executor) -> None:
    assert played(story, pool) == played(story, pool)


def test_so_it_does_in_another_process(pool: Executor) -> None:
    story = STORIES[-1]
    with workers() as others:
        assert played(story, pool) == played(story, others)


def test_another_order_of_sets_is_another_world_with_the_same_end(pool: Executor) -> None:
    story = STORIES[-1]
    with workers(hash_seed=1) as others:
        one, another = played(story, pool), played(story, others)
    assert one.steps != another.steps
    assert one.end == another.end
    assert not another.violations
