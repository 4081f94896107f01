"""A soak: users, faults and a checker side by side, from a seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.models.session import ENDING_PHASES, OPEN_PHASES
from harness.api import is_ready
from harness.escrow import condition
from harness.place import Place
from harness.world import World

from .books import Books
from .checker import Checker
from .faults import FAULTS, Fault, Scene
from .patience import PASSES, Stuck, do, insist
from .report import Report
from .timeline import Timeline
from .users import Bank, User

USERS = 4
CAP = 3
"""Fewer than the users: some have to wait, or to give way."""

WELL_SECONDS = 6.0
"""For so long all has to be well: the operator notices most of what breaks at its next look, two seconds later."""

QUIET_SECONDS = 8.0
"""Most seconds between two faults."""


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Soak:
    """One soak in a place of its own."""

    def __init__(self, world: World, place: Place, *, seed: int, minutes: float, show: Callable[[str], None]) -> None:
        self._world = world
        self._place = place
        self._minutes = minutes
        self._rng = Random(seed)
        self.books = Books()
        self.timeline = Timeline(show)
        self.report = Report(seed, minutes)
        self.checker = Checker(place, self.books, self.timeline, CAP)
        self._scene = Scene(world, place, Random(self._rng.random()), self.checker.keep_log)

    async def play(self) -> str:
        """Play it to its end; what there is to say about it. ``timeline.violations`` is empty if all went well."""
        bank, ended, left = Bank(self._world.chain), asyncio.Event(), asyncio.Event()
        users = [
            User(f"user{i}", self._place, bank, self.books, self.timeline, Random(self._rng.random()))
            for i in range(USERS)
        ]
        async with AsyncExitStack() as stack:
            # Tests that come later use it too.
            stack.push_async_callback(do, "the connections", self._world.chain.connect)
            tasks = [asyncio.create_task(user.play(ended)) for user in users]
            watching = asyncio.create_task(self.checker.watch(left))
            stack.push_async_callback(_end, *tasks, watching)
            await self._faults()
            ended.set()
            self.timeline.say("no more faults; everybody finishes what he is at")
            await asyncio.gather(*tasks)
            left.set()
            await watching
        await self.checker.at_rest()
        return self.report.text(self.books.counts, self.timeline.violations, looks=self.checker.looks)

    async def _faults(self) -> None:
        deck = list[Fault]()
        while self.timeline.seconds < self._minutes * 60:
            await asyncio.sleep(self._rng.uniform(1.0, QUIET_SECONDS))
            if not deck:
                deck = list(FAULTS)
                self._rng.shuffle(deck)
            try:
                await self._one(deck.pop())
            except Stuck as error:
                self.timeline.violated(f"it does not heal: {error}")

    async def _one(self, fault: Fault) -> None:
        was_open = await self._open_sessions()
        began = self.timeline.seconds
        self.timeline.say(f"FAULT {fault.name}")
        if await fault.inject(self._scene) is False:
            self.timeline.say(f"FAULT {fault.name}: there is nothing to do it to")
            return
        seconds = await self._until_well(fault, was_open) - began
        self.report.healed_after.setdefault(fault.name, []).append(seconds)
        self.timeline.say(f"well again after {seconds:.1f} s: {fault.name}")

    async def _until_well(self, fault: Fault, was_open: set[str]) -> float:
        """Wait until all has been well for ``WELL_SECONDS``; since when it was."""
        since: float | None = None

        async def look() -> bool:
            nonlocal since
            now = self.timeline.seconds
            try:
                well = await self._is_well(was_open)
            except PASSES:
                well = False
            since = (now if since is None else since) if well else None
            return since is not None and now - since >= WELL_SECONDS

        await insist(f"all to be well after: {fault.name}", look)
        return since or 0.0

    async def _open_sessions(self) -> set[str]:
        """The uids of sessions that are open."""

        async def look() -> tuple[set[str]] | None:
            bodies = await self._place.api.list(SESSIONS, self._place.namespace)
            return ({b["metadata"]["uid"] for b in bodies if (b.get("status") or {}).get("phase") in OPEN_PHASES},)

        return (await insist("a list of sessions", look))[0]

    async def _is_well(self, was_open: set[str]) -> bool:
        """Two operators, one of which leads; the nodes' pods ready; and whoever was open is so, or has left."""
        operators = await self._world.operator.pods()
        if len(operators) != 2 or not all(is_ready(p) and "deletionTimestamp" not in p["metadata"] for p in operators):
            return False
        if await self._world.operator.holder() not in {pod["metadata"]["name"] for pod in operators}:
            return False
        if condition(await self._place.pool(), "DaemonSynced").get("status") != "True":
            return False
        for body in await self._place.api.list(SESSIONS, self._place.namespace):
            status = body.get("status") or {}
            mine = body["metadata"]["uid"] in was_open and "deletionTimestamp" not in body["metadata"]
            # One that is being opened again has not left.
            left = status.get("phase") in ENDING_PHASES
            if mine and not left and condition(status, "Ready").get("status") != "True":
                return False
        return True
