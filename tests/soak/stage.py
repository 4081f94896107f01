"""The stage of a soak: two operators with a small cap, and a place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from harness.place import Place
from harness.world import World

from .patience import do
from .play import CAP, Soak


@asynccontextmanager
async def staged(world: World, *, seed: int, minutes: float, show: Callable[[str], None]) -> AsyncIterator[Soak]:
    """A soak that may be played; the operator is as the other tests have it afterwards."""
    operator, place = world.operator, Place(world, f"soak-{seed}")
    await asyncio.to_thread(operator.install, world.images.operator, replicas=2, sessions={"maxActive": CAP})
    try:
        await operator.until_ready()
        await place.open(warm_slots=1)
        yield Soak(world, place, seed=seed, minutes=minutes, show=show)
    finally:
        # A fault of the last moment may not have healed yet.
        await do("the operator of the other tests", lambda: asyncio.to_thread(operator.install, world.images.operator))
        await operator.until_ready()
        await do("the removal of the place", place.close)
