"""What other tenants notice of one who does all that he may: a flood of sessions, large ones that are written all the
time, wallets that answer a byte each second, a monerod that is there every other second.

The API server is real, and so is the operator; pods, wallets and monerods are simulated, so that it is the operator's
attention that runs short, and not the machine. Both sides take turns: quiet, hostile, quiet, hostile.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from benchmarks.fleet import objects
from benchmarks.fleet.client import MERGE_PATCH, in_parallel
from benchmarks.fleet.fakes import FLAPPING_PORT, SLOW
from benchmarks.fleet.load import Load, offer
from benchmarks.fleet.numbers import percentiles
from benchmarks.fleet.place import Place
from benchmarks.fleet.world import bring_up
from escrow_operator.adapters.kube import SESSIONS
from harness.api import ApiError
from testbed import progress

from .milestones import Milestone, watching

OTHERS, HOSTILE = "simulation-others", "simulation-hostile"

QUICK, FULL = Load(2, 40), Load(2, 200)
"""What the others ask for in each turn."""

JUNK = {True: 500, False: 10_000}
"""Sessions of the hostile namespace, quick or not."""

LARGE = {True: 50, False: 1_000}
"""So many of them have as much in their annotations as fits: with 10,000 the API server's own store would be full."""

ANNOTATION_BYTES = 200 * 1024
WRITES_PER_SECOND = 5.0
"""Of large sessions: each is sent to the operator anew."""

HOSTILE_SLOTS = 20
"""Per role, for sessions whose wallets answer a byte each second."""

READY_SECONDS = 120.0
AIM = 2.0
"""The others' p99 among a hostile neighbour, against the same without him, at most."""

TURNS = ("quiet", "hostile")


async def measure(*, quick: bool) -> dict[str, Any]:
    """``sides``: for ``quiet`` and ``hostile`` the ``seconds`` from POST to Ready of all sessions of the others, their
    ``percentiles`` (s), ``failed`` (not Ready in time), ``cpu_cores`` of the operator (mean), ``memory_bytes`` (the
    most seen at a turn's end) and ``machine_load``. ``ratio``: p99 of the second by that of the first. ``junk``,
    ``large`` (sessions), ``annotation_bytes``, ``writes`` (of large sessions, in all), ``slow_calls`` (that a slow
    wallet was asked), ``restarts`` (of the operator's container), ``aim``."""
    load = QUICK if quick else FULL
    async with bring_up(keep_cluster=quick) as world:
        others = Place(world, OTHERS, warm=load.number)
        await others.open()
        hostile = Place(world, HOSTILE, warm=HOSTILE_SLOTS, daemon_port=FLAPPING_PORT)
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in TURNS}
        turns["quiet"].append(await _turn(others, load))
        await hostile.open()
        await _flood(hostile, quick=quick)
        writes = itertools.count()
        async with _hostility(hostile, LARGE[quick], writes):
            turns["hostile"].append(await _turn(others, load))
        # He rests, but what he made is still there: the second quiet turn is the harder baseline.
        turns["rest"] = [await _turn(others, load)]
        async with _hostility(hostile, LARGE[quick], writes):
            turns["hostile"].append(await _turn(others, load))
        calls = (await world.wallet_stats())["calls"]
        restarts = await world.restarts()
    sides = {name: _side(found) for name, found in turns.items()}
    p99 = {name: side["percentiles"].get("p99") for name, side in sides.items()}
    return {
        "sides": sides,
        "ratio": p99["hostile"] / p99["quiet"] if p99["hostile"] and p99["quiet"] else None,
        "junk": JUNK[quick],
        "large": LARGE[quick],
        "annotation_bytes": ANNOTATION_BYTES,
        "writes": next(writes),
        "slow_calls": calls.get(SLOW, 0),
        "restarts": restarts,
        "aim": AIM,
    }


def _side(turns: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [one for turn in turns for one in turn["seconds"]]
    return {
        "seconds": seconds,
        "percentiles": percentiles(seconds),
        "failed": sum(turn["failed"] for turn in turns),
        "cpu_cores": max((turn["cpu_cores"] for turn in turns if turn["cpu_cores"] is not None), default=None),
        "memory_bytes": max((turn["memory_bytes"] for turn in turns if turn["memory_bytes"] is not None), default=None),
        "machine_load": max(turn["machine_load"] for turn in turns),
    }


async def _turn(place: Place, load: Load) -> dict[str, Any]:
    """The others' load once, from a warm pool to a warm pool."""
    world = place.world

    async def create(_: int) -> str:
        return str((await place.create())["metadata"]["name"])

    async with watching(world.api, place.namespace) as sight:
        before, start = await world.scrape(), time.monotonic()
        sent = await offer(load, create)
        await sight.until_ready(sent.at, within=READY_SECONDS)
        after, took = await world.scrape(), time.monotonic() - start
    seen = {name: sight.moments(name) for name in sent.at}
    seconds = [
        seen[name][Milestone.READY] - moment for name, moment in sent.at.items() if Milestone.READY in seen[name]
    ]
    cpu = after.since(before).value("process_cpu_seconds_total")
    figures = {
        "seconds": seconds,
        "failed": load.number - len(seconds),
        "cpu_cores": None if cpu is None else cpu / took,
        "memory_bytes": after.value("process_resident_memory_bytes"),
        "machine_load": os.getloadavg()[0],
    }
    progress.say(f"{load.title}: {percentiles(seconds)}, {figures['failed']} failed")
    await place.delete_sessions()
    await place.until_warm()
    return figures


async def _flood(place: Place, *, quick: bool) -> None:
    """All the sessions that the hostile tenant makes: they wait for slots, for a pool or for a Secret that never is."""
    path = SESSIONS.path(place.namespace)

    async def create(number: int) -> None:
        body = objects.session(f"{SLOW}-{number}", place.pools[0].name if number % 3 else "no-such-pool")
        if number % 3 == 1:
            body["spec"]["wallets"]["buyer"]["secretRef"]["name"] = "no-such-secret"
        if number < LARGE[quick]:
            body["metadata"]["annotations"] = _annotations()
        await place.world.client.send("POST", path, body)

    with progress.step(f"a neighbour makes {JUNK[quick]} sessions"):
        await in_parallel(range(JUNK[quick]), create, tasks=16)


def _annotations() -> dict[str, str]:
    return {"example.com/note": secrets.token_hex(ANNOTATION_BYTES // 2)}


@asynccontextmanager
async def _hostility(place: Place, large: int, writes: itertools.count[int]) -> AsyncIterator[None]:
    """As long as the block lasts, large sessions are written again and again."""

    async def write() -> None:
        for number in itertools.cycle(range(large)):
            patch = {"metadata": {"annotations": _annotations()}}
            path = SESSIONS.path(place.namespace, f"{SLOW}-{number}")
            # A hostile tenant does not mind to be refused.
            with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                await place.world.client.request("PATCH", path, patch, content_type=MERGE_PATCH)
            next(writes)
            await asyncio.sleep(1 / WRITES_PER_SECOND)

    task = asyncio.create_task(write())
    try:
        yield
        assert not task.done(), "the neighbour gave up"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = [f"{'POST to Ready, s':16} {'sessions':>8} {'p50':>7} {'p90':>7} {'p99':>7} {'max':>7} {'failed':>7}"]
    for name, side in figures["sides"].items():
        cells = " ".join(f"{side['percentiles'].get(key, float('nan')):7.3f}" for key in ("p50", "p90", "p99", "max"))
        lines.append(f"{name:16} {len(side['seconds']):8} {cells} {side['failed']:7}")
    ratio = "-" if figures["ratio"] is None else f"{figures['ratio']:.2f}"
    lines.append(f"p99, hostile by quiet: {ratio} (at most {figures['aim']:g})")
    return "\n".join(lines)


def counts(figures: Mapping[str, Any]) -> dict[str, float]:
    """The others' sessions that were not Ready in time, and restarts of the operator."""
    failed = sum(side["failed"] for side in figures["sides"].values())
    return {"failed": float(failed), "restarts": float(figures["restarts"])}
