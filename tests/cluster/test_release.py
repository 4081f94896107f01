"""The release as those see it who install it."""

from __future__ import annotations

import asyncio

from harness.operator import NAMESPACE, RELEASE
from harness.world import World
from testbed.helm import Helm


async def test_helm_test_passes(world: World) -> None:
    await asyncio.to_thread(Helm(world.cluster).test, RELEASE, NAMESPACE)
