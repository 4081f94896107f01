"""The stage of a soak: two operators with a small cap, and a place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from harness.place import Place
from harness.world import World

from .patience import do
from .play import CAP, Soak

MIN_STAY = "20s"
"""Users need some time for what they came for; after the second of the other tests others have them evicted before."""


@asynccontextmanager
async def staged(world: World, *, seed: int, minutes: float, show: Callable[[str], None]) -> AsyncIterator[Soak]:
    """A soak that may be played; the operator is as the other tests have it afterwards."""
    operator, place = world.operator, Place(world, f"soak-{seed}")
    sessions = {"maxActive": CAP, "minStay": MIN_STAY}
    await asyncio.to_thread(operator.install, world.images.operator, replicas=2, sessions=sessions)
    try:
        await operator.until_ready()
        await place.open(warm_slots=1)
        yield Soak(world, place, seed=seed, minutes=minutes, show=show)
    finally:
        # A fault of the last moment may not have healed yet.
        await do("the operator of the other tests", lambda: asyncio.to_thread(operator.install, world.images.operator))
        await operator.until_ready()
        await do("the removal of the place", place.close)
