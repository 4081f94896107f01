"""Plays stories: as they are, with a crash at one step, or with a stale view of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from escrow_operator.adapters.kube import SESSIONS

from .forks import Forks
from .kubeclient import View
from .names import full_name
from .process import CrashPoint, Dies
from .rivals import Blow, RivalWorld
from .share import PART
from .story import Story
from .world import World, run

KNOWN_SECONDS = 90.0
"""For events to arrive that were held back until the next one, or the next bookmark."""

ENOUGH_SECONDS = 300.0
"""For two operators, of which each may undo what the other does."""


@dataclass
class Outcome:
    """How a story ended; ``end`` is what must be the same with and without trouble."""

    steps: list[str] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    story: str = ""
    seconds: float = 0.0


def play(story: Story, *, view: View | None = None, seed: int = 0) -> Outcome:
    """One world from its beginning to its rest."""
    return run(_play(story, lambda _: False, view, seed), seed=seed)


def play_with_crashes(
    story: Story, *, from_the_start: bool, limit: int = 1, turn: int = 0, seed: int = 0
) -> tuple[Outcome, dict[CrashPoint, Outcome]]:
    """The world without a crash, and for each crash point of a share the one with it; ``limit`` are played at a time.

    Crashes begin after what comes first in the story, when the pool is warm; or ``from_the_start``: how the pool is
    made is the same in all stories.
    """
    forks = Forks(limit, turn, PART)

    def begins(world: World, warm: bool) -> None:
        if warm or from_the_start:
            forks.arm(world.moment)

    async def branch() -> Outcome:
        found = await _play(story, forks.dies, None, seed, begins=begins)
        forks.end(found)
        return found

    return forks.play(lambda: run(branch(), seed=seed))


def play_with_blows(
    story: Story, blow: Blow, *, limit: int = 1, turn: int = 0, part: int = PART, seed: int = 0
) -> tuple[Outcome, dict[CrashPoint, Outcome]]:
    """The same with two operators, of which the leader takes a blow once the pool is warm, and lives on."""
    forks = Forks(limit, turn, part)

    def begins(world: World, warm: bool) -> None:
        if warm:
            forks.arm(world.moment)

    async def branch() -> Outcome:
        found = await _play(story, forks.dies, None, seed, begins=begins, make=partial(RivalWorld, blow=blow))
        forks.end(found)
        return found

    return forks.play(lambda: run(branch(), seed=seed, pauses=True))


def play_by_two(story: Story, view: View, *, seed: int = 0) -> list[str]:
    """What is violated at any time while two operators serve one cluster; whether they get anywhere does not matter.

    ``view`` is how the second one sees it. The storage's file locks hold: where they do not, and an event was lost,
    each may adopt a slot for one session and open its wallet there.
    """
    return run(_play_by_two(story, view, seed), seed=seed)


async def _play_by_two(story: Story, view: View, seed: int) -> list[str]:
    world = World(seed=seed, warm=story.warm, prepared=story.prepared, locking=True, **story.settings)
    story.prepare(world)
    await world.start_operator()
    world.view = view
    await world.start_operator()

    async def all_of_it() -> None:
        await world.until(world.is_warm, what="the pool to be warm")
        if story.first:
            await story.first(world)
        await story.play(world)
        await world.quiet()

    with suppress(AssertionError, TimeoutError):
        await asyncio.wait_for(all_of_it(), ENOUGH_SECONDS)
    return world.watchman.at_any_time()


async def _play(
    story: Story,
    dies: Dies,
    view: View | None,
    seed: int,
    *,
    begins: Callable[[World, bool], None] = lambda *_: None,
    make: Callable[..., World] = World,
) -> Outcome:
    world = make(seed=seed, warm=story.warm, prepared=story.prepared, view=view, **story.settings)
    story.prepare(world)
    begins(world, False)
    await world.operate(dies)
    outcome = Outcome()
    try:
        await world.until(world.is_warm, what="the pool to be warm")
        if story.first:
            await story.first(world)
        begins(world, True)
        await story.play(world)
        await world.quiet()
        if view is None or not view.lose_every:
            # What was lost is found every ten minutes; that is not waited for.
            await world.until(lambda: not world.unknown(), what=f"{world.unknown()} to be", within=KNOWN_SECONDS)
    except AssertionError as error:
        outcome.violations.append(f"story: {error}")
    outcome.steps = world.steps
    outcome.end = ending(world)
    outcome.violations += world.watchman.at_rest()
    outcome.story = world.story()
    outcome.seconds = world.clock.monotonic()
    return outcome


def ending(world: World) -> dict[str, Any]:
    """Of each session what its user sees."""
    found = {}
    for body in world.server.all(SESSIONS):
        name, status = full_name(body), body.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        found[name] = {
            "phase": status.get("phase"),
            "pods": len(world.pods_of(name)),
            "address": bool(status.get("address")),
            "ready": conditions.get("Ready"),
            "funded": conditions.get("Funded"),
        }
    return found
