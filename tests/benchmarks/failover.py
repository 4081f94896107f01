"""What becomes of a cluster whose leading operator ends: until another one leads, and until it has done something.

Two replicas with the chart's own election. The clock starts when the leader is told to end, or ends. A session that is
applied in that moment finds nobody; the clock stops when it is Ready. Meanwhile a client calls an open wallet ten times
a second, past the operator, and notes the longest time without an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from escrow_operator.adapters.kube import PODS
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import WalletError
from escrow_operator.models.common import Role
from harness import processes
from harness.api import Body
from harness.place import Place, remove_places
from harness.waiting import PATIENCE
from harness.world import World, bring_up
from testbed import progress

from .measuring import DEFAULT_INTERVALS, configured, spread

RUNS, QUICK_RUNS = 20, 3

LOOK_SECONDS = 0.05
"""Between two looks at the Lease."""

CALL_SECONDS = 0.1
"""Between two calls of the client."""

CALL_DEADLINE = 5.0

AIM_LOST, AIM_ORDERLY = 20.0, 3.0
"""Seconds until another one leads, at most."""

Ending = Callable[[World, Body], Awaitable[None]]


async def _lost(world: World, leader: Body) -> None:
    await world.api.delete(PODS, world.operator.namespace, leader["metadata"]["name"], now=True)


async def _killed(world: World, leader: Body) -> None:
    await processes.send(world.cluster, leader, processes.KILL)


async def _stopped(world: World, leader: Body) -> None:
    await world.api.delete(PODS, world.operator.namespace, leader["metadata"]["name"])


ENDINGS: Mapping[str, tuple[str, float, Ending]] = {
    "lost": ("its pod is gone at once, as with its node", AIM_LOST, _lost),
    "killed": ("kill -9: its container is started again", AIM_LOST, _killed),
    "stopped": ("SIGTERM, as in a drain or an upgrade", AIM_ORDERLY, _stopped),
}


class Client:
    """Somebody who uses an open wallet all the time."""

    def __init__(self, wallet: WalletRpc) -> None:
        self._wallet = wallet
        self._answered = time.monotonic()
        self.longest = 0.0
        self.calls = self.failures = 0

    async def use(self) -> None:
        """Call until cancelled."""
        while True:
            self.calls += 1
            try:
                await self._wallet.call("get_version", {}, CALL_DEADLINE)
            except WalletError:
                self.failures += 1
            else:
                now = time.monotonic()
                self.longest = max(self.longest, now - self._answered)
                self._answered = now
            await asyncio.sleep(CALL_SECONDS)


@asynccontextmanager
async def used(wallet: WalletRpc) -> AsyncIterator[Client]:
    """A client that calls for as long as the block lasts."""
    client = Client(wallet)
    task = asyncio.create_task(client.use())
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(*, quick: bool) -> dict[str, Any]:
    """For each of ``endings``: ``text``, ``aim`` (s), and of each run in order, in seconds, ``leads`` (until another
    term began), ``ready`` (until the session that was applied in the gap was), with the ``spread`` of both; ``others``
    counts the runs in which it was another pod. ``client``: ``calls``, ``failures``, ``longest_gap`` (s)."""
    async with bring_up() as world, configured(world, intervals=DEFAULT_INTERVALS, replicas=2):
        await remove_places(world.api)
        place = Place(world, "bench-failover")
        await place.open(warm_slots=2)
        try:
            kept = await place.active("kept")
            async with kept.wallets(Role.VENDOR) as wallets, used(wallets[Role.VENDOR]) as client:
                endings = {name: await _runs(place, name, QUICK_RUNS if quick else RUNS) for name in ENDINGS}
            figures = {"calls": client.calls, "failures": client.failures, "longest_gap": client.longest}
        finally:
            await place.close()
    return {"endings": endings, "client": figures}


async def _runs(place: Place, name: str, number: int) -> dict[str, Any]:
    text, aim, end = ENDINGS[name]
    leads: list[float] = []
    ready: list[float] = []
    others = 0
    for count in range(1, number + 1):
        await place.until_free(1)
        await place.until_prepared()
        leader = await place.world.operator.until_ready()
        before = await place.world.operator.term()
        began = time.monotonic()
        await end(place.world, leader)
        fresh = place.escrow(f"{name}-{count}")
        await fresh.apply()
        leads.append(await _until_another_term(place.world, before) - began)
        others += await place.world.operator.holder() != leader["metadata"]["name"]
        await fresh.until_active()
        ready.append(time.monotonic() - began)
        await fresh.delete()
        progress.say(f"{name} {count} of {number}: leads after {leads[-1]:.2f} s, Ready after {ready[-1]:.2f} s")
    return {
        "text": text,
        "aim": aim,
        "leads": leads,
        "ready": ready,
        "others": others,
        "spread": {"leads": spread(leads), "ready": spread(ready)},
    }


async def _until_another_term(world: World, before: int) -> float:
    """The moment at which one was seen (monotonic seconds)."""
    async with asyncio.timeout(PATIENCE):
        while await world.operator.term() <= before or await world.operator.holder() is None:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic()


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = [f"{'seconds':44} leads: p50    max    Ready: p50    max"]
    for found in figures["endings"].values():
        leads, ready = found["spread"]["leads"], found["spread"]["ready"]
        lines.append(
            f"{found['text']:44} {leads['p50']:10.2f} {leads['max']:6.2f} {ready['p50']:13.2f} {ready['max']:6.2f}"
        )
    client = figures["client"]
    lines.append(
        f"an open wallet, called ten times a second: {client['calls']} calls, {client['failures']} failed,"
        f" {client['longest_gap']:.2f} s without an answer at the longest"
    )
    return "\n".join(lines)


def counts(figures: Mapping[str, Any]) -> dict[str, float]:
    """Calls of open wallets that failed: they need no operator."""
    return {"failed_calls": float(figures["client"]["failures"])}
