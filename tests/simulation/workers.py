"""Plays many worlds at once: they share nothing, so each core plays its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import closing, contextmanager
from typing import NamedTuple, cast
from unittest.mock import patch

from .defects import put_back
from .kubeclient import View
from .play import Outcome, play, play_by_two, play_with_blows, play_with_crashes
from .process import CrashPoint
from .rivals import Blow
from .share import PART
from .stories import STORIES
from .story import Story


class Trouble(NamedTuple):
    """What is done to a story."""

    view: View | None = None
    defect: str | None = None

    def __str__(self) -> str:
        return " and ".join(str(part) for part in self if part is not None)


@contextmanager
def workers(*, hash_seed: int = 0) -> Iterator[Executor]:
    """As many processes as there are cores. The order of sets is a part of a world: ``hash_seed`` is PYTHONHASHSEED."""
    context = multiprocessing.get_context("spawn")
    with (
        patch.dict(os.environ, PYTHONHASHSEED=str(hash_seed)),
        ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as pool,
    ):
        yield pool


def played(story: Story, pool: Executor, trouble: Trouble | None = None) -> Outcome:
    """A story in one of the processes."""
    return pool.submit(_play, (story.name, trouble or Trouble())).result()


def played_by_two(story: Story, pool: Executor, troubles: Sequence[Trouble]) -> list[str]:
    """What two operators of one cluster do wrong, of which the second has each of these views."""
    return [one for found in pool.map(_play_by_two, [(story.name, trouble) for trouble in troubles]) for one in found]


def must_survive_crashes(story: Story, pool: Executor, *, from_the_start: bool) -> None:
    """Play a story with each crash. Raises AssertionError where an invariant broke, or its users see another end."""
    smooth, crashed = pool.submit(_crash, story.name, from_the_start).result()
    _must_be_well(smooth)
    wrong = [
        f"{point} ({smooth.steps[point.step]}):\n  {problem}\n{found.story}"
        for point, found in crashed.items()
        if (problem := _what_is_wrong(found, smooth))
    ]
    _must_be_none(wrong, len(crashed))


def must_survive_blows(story: Story, blow: Blow, pool: Executor) -> None:
    """Play a story with two operators, and a blow to the leader at each step. Raises AssertionError likewise."""
    smooth, struck = pool.submit(_strike, story.name, blow, None).result()
    _must_be_well(smooth)
    wrong = [
        f"{blow} {point} ({smooth.steps[point.step]}):\n  {problem}\n{found.story}"
        for point, found in struck.items()
        if (problem := _what_is_wrong(found, smooth))
    ]
    _must_be_none(wrong, len(struck))


def wrong_with_blows(story: Story, blow: Blow, defect: str, pool: Executor) -> list[str]:
    """What is violated at any time of such worlds, when the operator has a defect."""
    smooth, struck = pool.submit(_strike, story.name, blow, defect).result()
    return [one for found in (smooth, *struck.values()) for one in found.violations]


def must_end_as_without(story: Story, troubles: Sequence[Trouble], pool: Executor) -> None:
    """The same with each trouble."""
    smooth = played(story, pool)
    _must_be_well(smooth)
    jobs = [(story.name, trouble) for trouble in troubles]
    wrong = [
        f"{trouble}:\n  {problem}\n{found.story}"
        for trouble, found in zip(troubles, pool.map(_play, jobs), strict=True)
        if (problem := _what_is_wrong(found, smooth))
    ]
    _must_be_none(wrong, len(troubles))


def wrong_with(trouble: Trouble, smooth: Mapping[str, Outcome], pool: Executor) -> str | None:
    """What is wrong with the first story that shows it, when they are played with one trouble; None when none does.

    ``smooth`` is how they are without any.
    """
    rough = pool.map(_play, [(name, trouble) for name in smooth])
    # Closed before its end it cancels those that nobody has begun to play.
    with closing(cast("Generator[Outcome]", rough)):
        for (name, one), other in zip(smooth.items(), rough, strict=True):
            if problem := _what_is_wrong(other, one):
                return f"{name}: {problem}"
    return None


def _play(job: tuple[str, Trouble]) -> Outcome:
    name, trouble = job
    with put_back(trouble.defect):
        return play(_story(name), view=trouble.view)


def _play_by_two(job: tuple[str, Trouble]) -> list[str]:
    name, trouble = job
    with put_back(trouble.defect):
        return play_by_two(_story(name), trouble.view or View())


def _crash(name: str, from_the_start: bool) -> tuple[Outcome, dict[CrashPoint, Outcome]]:
    story = _story(name)
    turn, limit = STORIES.index(story), os.cpu_count() or 1
    return play_with_crashes(story, from_the_start=from_the_start, limit=limit, turn=turn)


def _strike(name: str, blow: Blow, defect: str | None) -> tuple[Outcome, dict[CrashPoint, Outcome]]:
    with put_back(defect):
        # A defect may show at a few of all steps alone.
        turn, part = list(Blow).index(blow), 1 if defect else PART
        return play_with_blows(_story(name), blow, limit=os.cpu_count() or 1, turn=turn, part=part)


def _story(name: str) -> Story:
    """A story by its name: functions do not travel between processes."""
    return next(story for story in STORIES if story.name == name)


def _must_be_well(smooth: Outcome) -> None:
    assert not smooth.violations, f"without any trouble: {smooth.violations}\n{smooth.story}"


def _must_be_none(wrong: Sequence[str], played: int) -> None:
    assert played
    assert not wrong, f"{len(wrong)} of {played} worlds\n\n" + "\n\n".join(wrong[:3])


def _what_is_wrong(found: Outcome, smooth: Outcome) -> str | None:
    if found.violations:
        return "\n  ".join(found.violations)
    if found.end != smooth.end:
        return f"it ended as {found.end}, and without that as {smooth.end}"
    return None
