"""A world that goes on in two at each of its crash points."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from simulation.forks import Forks
from simulation.process import CrashPoint


def played(
    moments: Sequence[int], *, wrong: int = -1, turn: int = 0, part: int = 1
) -> tuple[list[str], dict[CrashPoint, list[str]]]:
    """Steps at these moments; what each world did. A child fails that is killed at the step ``wrong``."""
    forks = Forks(limit=2, turn=turn, part=part)

    async def world() -> list[str]:
        did = []
        for step, moment in enumerate(moments):
            await asyncio.sleep(0)
            forks.arm(partial(int, moment))
            if forks.dies(CrashPoint(step, after=False)):
                did.append("killed")
                if step == wrong:
                    raise ValueError("this world is wrong")
                await asyncio.sleep(0)
                break
            did.append(f"step {step}")
        forks.end(did)
        return did

    return forks.play(lambda: asyncio.run(world()))


def test_each_crash_is_a_world_of_its_own() -> None:
    smooth, crashed = played([1, 2, 3])
    assert smooth == ["step 0", "step 1", "step 2"]
    assert crashed == {
        CrashPoint(0, after=False): ["killed"],
        CrashPoint(1, after=False): ["step 0", "killed"],
        CrashPoint(2, after=False): ["step 0", "step 1", "killed"],
    }


def test_what_is_as_at_the_crash_before_is_not_played_again() -> None:
    _, crashed = played([1, 1, 2, 2])
    assert [point.step for point in crashed] == [0, 2]


def test_the_turns_together_play_all_of_it() -> None:
    shares = [set(played(range(7), turn=turn, part=3)[1]) for turn in range(3)]
    assert all(shares)
    assert sum(map(len, shares)) == 7
    assert set.union(*shares) == set(played(range(7))[1])


def test_what_fails_in_a_child_comes_out() -> None:
    with pytest.raises(RuntimeError, match=r"before step 1:(.|\n)*this world is wrong"):
        played([1, 2, 3], wrong=1)
