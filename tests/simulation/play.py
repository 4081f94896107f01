"""Plays stories: as they are, with a crash at one step, or with a stale view of the cluster."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from escrow_operator.adapters.kube import SESSIONS

from .kubeclient import View
from .process import CrashPoint, Process
from .stories import Story
from .world import World, run

NEXT_SECONDS = 3.0
"""After a crash until the next process begins."""


@dataclass
class Outcome:
    """How a story ended; ``end`` is what must be the same with and without trouble."""

    steps: list[str] = field(default_factory=list)
    killed: bool = False
    begins: int = 0
    """The step at which the story began: the pool was warm."""
    end: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    story: str = ""
    seconds: float = 0.0


def play(story: Story, *, crash: CrashPoint | None = None, view: View | None = None, seed: int = 0) -> Outcome:
    """One world from its beginning to its rest."""
    return run(_play(story, crash, view, seed), seed=seed)


async def _play(story: Story, crash: CrashPoint | None, view: View | None, seed: int) -> Outcome:
    world = World(seed=seed, warm=story.warm, view=view, **story.settings)
    first = await world.start_operator(crash)
    supervisor = asyncio.create_task(_start_again(world, first))
    outcome = Outcome()
    try:
        await world.until(world.is_warm, what="the pool to be warm")
        outcome.begins = len(first.steps)
        await story.play(world)
        await world.quiet()
    except AssertionError as error:
        outcome.violations.append(f"story: {error}")
    supervisor.cancel()
    outcome.steps, outcome.killed = first.steps, first.dead
    outcome.end = ending(world)
    outcome.violations += world.watchman.at_rest()
    outcome.story = world.story()
    outcome.seconds = world.clock.monotonic()
    return outcome


async def _start_again(world: World, process: Process) -> None:
    await process.crashed.wait()
    await process.kill()
    await asyncio.sleep(NEXT_SECONDS)
    await world.start_operator()


def ending(world: World) -> dict[str, Any]:
    """Of each session what its user sees."""
    found = {}
    for body in world.server.all(SESSIONS):
        name, status = body["metadata"]["name"], body.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        found[name] = {
            "phase": status.get("phase"),
            "pods": len(world.pods_of(name)),
            "address": bool(status.get("address")),
            "ready": conditions.get("Ready"),
            "funded": conditions.get("Funded"),
        }
    return found
