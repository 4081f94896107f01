"""What many Active sessions cost the operator: memory, CPU, requests, and the time that a restart takes.

The sessions and their pods are real objects of a real API server. The pods run on simulated nodes, and one small server
answers for all of their wallets.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx

from benchmarks.fleet.copies import Copies
from benchmarks.fleet.numbers import Scrape, growth, per
from benchmarks.fleet.place import Place
from benchmarks.fleet.world import World, bring_up
from escrow_operator.adapters.kube import DEPLOYMENTS
from harness.api import ApiError, is_ready
from harness.operator import NAMESPACE as OPERATOR_NAMESPACE
from harness.operator import RELEASE
from testbed import progress

NAMESPACE = "simulation-scale"

QUICK = (50, 400)
FULL = (100, 1_000, 10_000)

WINDOW_SECONDS = {True: 30.0, False: 90.0}
"""Of steady state, quick or not: whole rounds of the monitor's 30 s."""

SETTLE_SECONDS = {True: 0.0, False: 60.0}
"""After a restart, quick or not: what the restart left to do ends before the window begins."""

RESTART_SECONDS = {True: 60.0, False: 600.0}
"""Quick or not, after which a restart, or waiting for a block, is given up; what there was until then is reported."""

QUIET_SECONDS = 3.0
"""Without a write, once every session was looked at: reconciled."""

LOOK_SECONDS = 1.0

GROWTH = ("restart_seconds", "memory_bytes", "cpu_cores")
_WRITES = frozenset({"post", "put", "patch", "apply", "delete", "create", "update"})
_REQUESTS = "xmr_escrow_api_requests_total"


async def measure(*, quick: bool) -> dict[str, Any]:
    """Bring up what is needed, and measure.

    ``sizes``: one for each number of ``sessions``, with
      ``ready_seconds`` (from starting the operator until its pod is Ready), ``restart_seconds`` (until every session
      was looked at once and no write followed; None when that took too long), ``looked_at`` (sessions by then),
      ``restart_requests`` (API requests for that, by verb and resource), ``memory_bytes`` (after settling) and
      ``peak_memory_bytes``, ``cpu_seconds_to_start``,
      and, as means over the ``window_seconds`` of steady state: ``cpu_cores`` (CPU seconds per second), ``requests``
      (API requests, 1/s, by verb and resource), ``writes`` (all writes in the window; must be 0),
      ``wallet_requests`` and ``daemon_requests`` (1/s), ``wallet_calls`` (1/s by method, as the wallets counted),
      ``connections`` (open to wallets), ``looks`` (sessions looked at, 1/s), ``look_seconds`` (mean),
      ``queue_wait_seconds`` (``mean``, and the bounds of the histogram's buckets for ``p50`` and ``p99``),
      ``sweep_seconds`` (mean), ``machine_load`` (processes that ran or wanted to, mean of a minute), ``restarts`` (of
      the operator's container), ``warnings`` (of its log, by text). After that monerod has another block, which is
      the most that happens to all sessions at once: ``block_seconds`` (until every session was read at that height;
      None when that took too long), ``block_cpu_seconds`` and ``block_writes`` of the operator meanwhile.
    ``growth``: exponents of restart_seconds, memory_bytes and cpu_cores over the number of sessions (1 is linear).
    ``bytes_per_session``: memory of the largest less the smallest size, by the difference of sessions.
    """
    sizes = QUICK if quick else FULL
    results = []
    async with bring_up(begin_open=True, keep_cluster=quick) as world:
        place = Place(world, NAMESPACE, warm=1)
        await place.open()
        copies = await Copies.of_one(place)
        for size in sizes:
            await world.operator.scale(0)
            await copies.grow(size)
            results.append(await _measure(world, size, quick=quick))
            progress.say(_row(results[-1]))
    return {"quick": quick, "sizes": results} | _growths(results)


def _growths(results: list[dict[str, Any]]) -> dict[str, Any]:
    first, last = results[0], results[-1]
    memory = None
    if first["memory_bytes"] is not None and last["memory_bytes"] is not None:
        memory = (last["memory_bytes"] - first["memory_bytes"]) / (last["sessions"] - first["sessions"])
    return {
        "growth": {name: growth((r["sessions"], r[name]) for r in results) for name in GROWTH},
        "bytes_per_session": memory,
    }


@dataclass
class _Watched:
    """What was seen of an operator that starts; moments are time.monotonic, in seconds."""

    start: float
    ready: float | None = None
    looked_at: int = 0
    all_looked_at: float | None = None
    last_write: float = 0.0
    writes: float = -1.0
    peak: float = 0.0
    scrape: Scrape = field(default_factory=lambda: Scrape({}))

    def see(self, scrape: Scrape, now: float) -> None:
        """The metrics as of now."""
        self.scrape = scrape
        self.peak = max(self.peak, scrape.value("process_resident_memory_bytes") or 0.0)
        if (writes := _writes(scrape)) != self.writes:
            self.writes, self.last_write = writes, now

    def reconciled(self, now: float) -> float | None:
        """Seconds until all was looked at and written; None before."""
        if self.ready is None or self.all_looked_at is None or now - self.last_write < QUIET_SECONDS:
            return None
        return max(self.ready, self.all_looked_at, self.last_write) - self.start


async def _measure(world: World, size: int, *, quick: bool) -> dict[str, Any]:
    await world.wallet_stats(reset=True)
    with progress.step(f"starting the operator with {size} sessions"):
        seen, restart = await _restart(world, size, RESTART_SECONDS[quick])
    figures: dict[str, Any] = {
        "sessions": size,
        "ready_seconds": seen.ready and seen.ready - seen.start,
        "restart_seconds": restart,
        "looked_at": seen.looked_at,
        "restart_requests": per(seen.scrape.by_labels(_REQUESTS, "verb", "resource"), 1),
        "cpu_seconds_to_start": seen.scrape.value("process_cpu_seconds_total"),
    }
    with progress.step(f"steady state with {size} sessions"):
        await asyncio.sleep(SETTLE_SECONDS[quick])
        figures |= await _steady(world, seen, WINDOW_SECONDS[quick])
    with progress.step(f"a block with {size} sessions"):
        figures |= await _block(world, size, RESTART_SECONDS[quick])
    return figures | {"restarts": await world.restarts(), "warnings": await _warnings(world)}


async def _restart(world: World, size: int, within: float) -> tuple[_Watched, float | None]:
    seen = _Watched(time.monotonic())
    await world.api.merge(DEPLOYMENTS, OPERATOR_NAMESPACE, RELEASE, {"spec": {"replicas": 1}}, subresource="scale")
    while (now := time.monotonic()) - seen.start < within:
        # Neither the operator nor the API server need answer at once while it starts.
        with suppress(ApiError, aiohttp.ClientError, httpx.HTTPError, TimeoutError):
            await _look(world, seen, size)
        if (restart := seen.reconciled(now)) is not None:
            return seen, restart
        await asyncio.sleep(LOOK_SECONDS)
    return seen, None


async def _steady(world: World, seen: _Watched, window: float) -> dict[str, Any]:
    """Means over so many seconds in which nothing happens."""
    await world.wallet_stats(reset=True)
    start, before = time.monotonic(), await world.scrape()
    # The window itself, not a wait for something.
    await asyncio.sleep(window)
    stats, after, seconds = await world.wallet_stats(), await world.scrape(), time.monotonic() - start
    seen.see(after, time.monotonic())
    change = after.since(before)
    wait, work = "xmr_escrow_queue_wait_seconds", "xmr_escrow_queue_work_seconds"
    return {
        "window_seconds": seconds,
        "memory_bytes": after.value("process_resident_memory_bytes"),
        "peak_memory_bytes": seen.peak or None,
        "cpu_cores": _rate(change.value("process_cpu_seconds_total"), seconds),
        "requests": per(change.by_labels(_REQUESTS, "verb", "resource"), seconds),
        "writes": _writes(change),
        "wallet_requests": _rate(change.value("xmr_escrow_wallet_requests_total"), seconds),
        "daemon_requests": _rate(change.value("xmr_escrow_daemon_requests_total"), seconds),
        "wallet_calls": per(stats["calls"], seconds),
        "connections": stats["connections"],
        "looks": _rate(change.value(f"{work}_count", queue="sessions"), seconds),
        "look_seconds": change.mean(work, queue="sessions"),
        "queue_wait_seconds": {
            "mean": change.mean(wait, queue="sessions"),
            "p50": change.quantile_bound(wait, 0.5, queue="sessions"),
            "p99": change.quantile_bound(wait, 0.99, queue="sessions"),
        },
        "sweep_seconds": after.mean("xmr_escrow_sweep_seconds"),
        "machine_load": os.getloadavg()[0],
    }


async def _block(world: World, size: int, within: float) -> dict[str, Any]:
    """What the operator does until all sessions have been read at a new block's height."""
    await world.wallet_stats(reset=True)
    start, before = time.monotonic(), await world.scrape()
    await world.make_block()
    told, seconds = 0, 0.0
    while told < size and seconds < within:
        await asyncio.sleep(LOOK_SECONDS)
        told, seconds = (await world.wallet_stats())["tellers"], time.monotonic() - start
    change = (await world.scrape()).since(before)
    return {
        "block_seconds": seconds if told >= size else None,
        "block_cpu_seconds": change.value("process_cpu_seconds_total"),
        "block_writes": _writes(change),
    }


async def _look(world: World, seen: _Watched, size: int) -> None:
    if seen.ready is None and any(map(is_ready, await world.operator.pods())):
        seen.ready = time.monotonic()
    seen.looked_at = (await world.wallet_stats())["tellers"]
    if seen.all_looked_at is None and seen.looked_at >= size:
        seen.all_looked_at = time.monotonic()
    seen.see(await world.scrape(), time.monotonic())


async def _warnings(world: World) -> dict[str, int]:
    """How often the log says what, names and numbers aside; the five that are most frequent."""
    texts: Counter[str] = Counter()
    for line in (await world.operator.log()).splitlines():
        if '"WARNING"' in line or '"ERROR"' in line or "Traceback" in line:
            texts["".join("#" if character.isdigit() else character for character in line)[:200]] += 1
    return dict(texts.most_common(5))


def _writes(scrape: Scrape) -> float:
    return sum(number for verb, number in scrape.by_labels(_REQUESTS, "verb").items() if verb in _WRITES)


def _rate(value: float | None, seconds: float) -> float | None:
    return None if value is None else value / seconds


def counts(figures: dict[str, Any]) -> dict[str, float]:
    """What no busy machine changes: writes while nothing happens, restarts, and how memory and CPU grow."""
    found = {name: float(sum(r[name] for r in figures["sizes"])) for name in ("writes", "restarts")}
    growths = {f"growth_{name}": figures["growth"][name] for name in ("memory_bytes", "cpu_cores")}
    return found | {name: exponent for name, exponent in growths.items() if exponent is not None}


def as_text(figures: dict[str, Any]) -> str:
    """A table for people."""
    head = f"{'sessions':>8} {'ready s':>8} {'restart s':>9} {'MB':>7} {'peak MB':>8} {'CPU %':>7} {'API/s':>7}"
    lines = [f"{head} {'writes':>7} {'wallet/s':>9} {'wait s':>7} {'sweep s':>8} {'block s':>8} {'CPU s':>6}"]
    lines += [_row(result) for result in figures["sizes"]]
    exponents = ", ".join(f"{name} {'-' if b is None else f'{b:.2f}'}" for name, b in figures["growth"].items())
    lines.append(f"growth exponents (1 is linear): {exponents}")
    if figures["bytes_per_session"] is not None:
        lines.append(f"memory per session: {figures['bytes_per_session'] / 1000:.1f} kB")
    return "\n".join(lines)


def _row(result: dict[str, Any]) -> str:
    memory, peak, cpu = result["memory_bytes"], result["peak_memory_bytes"], result["cpu_cores"]
    cells = [
        (result["ready_seconds"], 8, 1),
        (result["restart_seconds"], 9, 1),
        (memory and memory / 1e6, 7, 0),
        (peak and peak / 1e6, 8, 0),
        (None if cpu is None else cpu * 100, 7, 1),
        (sum(result["requests"].values()), 7, 2),
        (result["writes"], 7, 0),
        (result["wallet_requests"], 9, 1),
        (result["queue_wait_seconds"]["mean"], 7, 3),
        (result["sweep_seconds"], 8, 3),
        (result["block_seconds"], 8, 1),
        (result["block_cpu_seconds"], 6, 2),
    ]
    text = f"{result['sessions']:8}"
    for value, width, digits in cells:
        text += f" {'-':>{width}}" if value is None else f" {value:{width}.{digits}f}"
    return text
