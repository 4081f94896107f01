"""What a story is, and the words that many of them use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from .world import World

ACTIVE, EXPIRED, SUSPENDED, COMPLETED, FAILED = "Active", "Expired", "Suspended", "Completed", "Failed"


@dataclass(frozen=True)
class Story:
    """``play`` returns when what its users wait for has come true; ``prepare`` does what was before the operator.

    ``first`` is what comes before: another story, or a part of one. Crashes there are played in that one. One that is
    not ``patient`` has an end that no list every ten minutes can bring.
    """

    name: str
    play: Callable[[World], Awaitable[None]]
    settings: dict[str, Any] = field(default_factory=dict)
    warm: int = 1
    prepared: int = 0
    prepare: Callable[[World], None] = lambda _: None
    first: Callable[[World], Awaitable[None]] | None = None
    patient: bool = True


async def active(world: World, *names: str) -> None:
    """Wait until these sessions are Active."""
    await world.until(lambda: {world.phase(name) for name in names} == {ACTIVE}, what=f"{names} to be Active")


async def gone(world: World, name: str) -> None:
    """Wait until there is no such session."""
    await world.until(lambda: world.session(name) is None, what=f"{name} to be gone")


async def blocked(world: World, name: str, reason: str) -> None:
    """Wait until a session says why it is not Ready."""
    await world.until(lambda: world.reason(name, "Ready") == reason, what=f"{name} to say {reason}")


async def create(world: World) -> None:
    """A new escrow, and its end."""
    world.apply("trade")
    await active(world, "trade")
