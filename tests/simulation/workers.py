"""Plays many worlds at once: they share nothing, so each core plays its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import NamedTuple
from unittest.mock import patch

from .defects import DEFECTS
from .kubeclient import View
from .play import Outcome, play
from .process import CrashPoint
from .stories import STORIES, Story


class Trouble(NamedTuple):
    """What is done to a story."""

    crash: CrashPoint | None = None
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


def must_end_as_without(story: Story, troubles: Sequence[Trouble], pool: Executor) -> None:
    """Play a story with each trouble. Raises AssertionError where an invariant broke, or its users see another end."""
    smooth = played(story, pool)
    assert not smooth.violations, f"without any trouble: {smooth.violations}\n{smooth.story}"
    assert troubles
    wrong = []
    jobs = [(story.name, trouble) for trouble in troubles]
    for trouble, found in zip(troubles, pool.map(_play, jobs, chunksize=4), strict=True):
        problem = _what_is_wrong(found, smooth) or _did_not_come(trouble, found)
        if problem:
            where = f" ({smooth.steps[trouble.crash.step]})" if trouble.crash else ""
            wrong.append(f"{story.name}, {trouble}{where}:\n  {problem}\n{found.story}")
    assert not wrong, f"{len(wrong)} of {len(troubles)} worlds\n\n" + "\n\n".join(wrong[:3])


def wrong_with(trouble: Trouble, smooth: Mapping[str, Outcome], pool: Executor) -> list[str]:
    """What is wrong with stories that are played with one trouble; ``smooth`` is how they are without any."""
    rough = pool.map(_play, [(name, trouble) for name in smooth])
    pairs = zip(smooth.items(), rough, strict=True)
    return [f"{name}: {problem}" for (name, one), other in pairs if (problem := _what_is_wrong(other, one))]


def _play(job: tuple[str, Trouble]) -> Outcome:
    """A story by its name: functions do not travel between processes."""
    name, trouble = job
    story = next(story for story in STORIES if story.name == name)
    defect = next((defect for defect in DEFECTS if defect.name == trouble.defect), None)
    with defect.put_back() if defect else nullcontext():
        return play(story, crash=trouble.crash, view=trouble.view)


def _did_not_come(trouble: Trouble, found: Outcome) -> str | None:
    """A crash that never came would show nothing."""
    return "it was not killed" if trouble.crash and not found.killed else None


def _what_is_wrong(found: Outcome, smooth: Outcome) -> str | None:
    if found.violations:
        return "\n  ".join(found.violations)
    if found.end != smooth.end:
        return f"it ended as {found.end}, and without that as {smooth.end}"
    return None
