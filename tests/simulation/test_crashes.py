"""Every story again and again, with the operator killed before and after each of its writes and wallet calls."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial

import pytest

from simulation.play import Outcome, play
from simulation.process import CrashPoint
from simulation.stories import STORIES, Story

AT_ONCE = os.cpu_count() or 1


@pytest.fixture(scope="module")
def workers() -> Iterator[Executor]:
    """Worlds share nothing: each core plays its own."""
    with ProcessPoolExecutor(AT_ONCE, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def crashed(name: str, crash: CrashPoint) -> Outcome:
    """A story by its name: functions do not travel between processes."""
    return play(_story(name), crash=crash)


def _story(name: str) -> Story:
    return next(story for story in STORIES if story.name == name)


def _what_is_wrong(found: Outcome, smooth: Outcome) -> str | None:
    if found.violations:
        return "\n  ".join(found.violations)
    if found.end != smooth.end:
        return f"it ended as {found.end}, without a crash as {smooth.end}"
    return None


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_crash_at_any_step_changes_nothing(story: Story, workers: Executor) -> None:
    smooth = play(story)
    assert not smooth.violations, f"without a crash: {smooth.violations}\n{smooth.story}"
    crashes = [CrashPoint(step, after) for step in range(len(smooth.steps)) for after in (False, True)]
    assert crashes
    wrong = []
    for crash, found in zip(crashes, workers.map(partial(crashed, story.name), crashes, chunksize=4), strict=True):
        problem = _what_is_wrong(found, smooth)
        if problem:
            wrong.append(f"killed {crash} ({smooth.steps[crash.step]}):\n  {problem}\n{found.story}")
    assert not wrong, f"{len(wrong)} of {len(crashes)}\n\n" + "\n\n".join(wrong[:3])
