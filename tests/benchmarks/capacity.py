"""As many real sessions as this machine holds, in waves: what they take, and what ends it.

Each session makes three wallets of its own, in pods of their own. After each wave the pool is as warm as before the
first, so that the difference between two samples is the sessions' alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from escrow_operator.adapters.kube import PODS, SESSIONS
from escrow_operator.models.common import ROLES, Label
from harness.api import NAMESPACES
from harness.escrow import condition
from harness.place import Place, remove_places
from harness.waiting import wait_for
from harness.world import World, bring_up
from testbed import progress

from .fleet.numbers import Scrape
from .measuring import Metrics, configured, operator_metrics, until_free

TARGET, QUICK_TARGET = 60, 12
WAVE = 6
"""Sessions at once, and free slots per role."""

SPARE = 10
"""How far the cap is above the target: nothing is to be evicted."""

WAVE_SECONDS = 420.0
"""For one wave to be Ready: six key exchanges are a minute of CPU, on a machine that is full of pods."""

WARM_SECONDS = 300.0
UNSCHEDULABLE_SECONDS = 60.0
MEMORY_FLOOR = 2 * 2**30
LOOK_SECONDS = 1.0
IDLE_SECONDS, QUICK_IDLE_SECONDS = 60.0, 15.0
CLOSING_SECONDS = 900.0
QUIET_SECONDS, QUIET_DEADLINE = 5.0, 60.0
REQUESTS = "xmr_escrow_api_requests_total"
WRITES = frozenset({"patch", "apply", "post", "put", "delete"})

# Memory of a process that it shares with others (the program) counts in Rss fully and in Pss in parts.
_PROCESSES = """
for p in /proc/[0-9]*; do
  read -r name < "$p/comm" 2>/dev/null || continue
  case "$name" in monero-wallet-r*) awk '/^Rss:/{r=$2} /^Pss:/{p=$2} END{print r, p}' "$p/smaps_rollup";; esac
done 2>/dev/null
true
"""


@dataclass(frozen=True)
class Point:
    """What was there with so many sessions. Bytes and seconds; ``wave_seconds``: for the last wave to be Ready.

    ``wallet_rss`` and ``wallet_pss``: mean of the processes with an open wallet; all zero before the first.
    """

    sessions: int
    pods: int
    wave_seconds: float
    memory_available: int
    wallet_rss: float
    wallet_pss: float
    operator_memory: float | None
    operator_cpu: float | None


async def measure(*, quick: bool) -> dict[str, Any]:
    """``points``: a sample (see Point) before the first and after each wave; ``target`` and ``reached`` sessions.

    ``memory_per_session``: bytes of the whole machine that went, by the first and the last sample. ``idle``: cores, API
    requests and writes per second of the operator over a window in which nothing happens, with ``reached`` sessions,
    and which ``writes`` these were (a number each). ``limited_by``: what ended it.
    """
    target = QUICK_TARGET if quick else TARGET
    async with bring_up() as world, configured(world, sessions={"maxActive": target + SPARE}):
        await remove_places(world.api)
        place = Place(world, "bench-capacity")
        try:
            await place.open(warm_slots=WAVE)
            async with operator_metrics(world) as metrics:
                points, limit = await _waves(place, metrics, target)
                with progress.step("measuring while nothing happens"):
                    idle = await _idle(metrics, QUICK_IDLE_SECONDS if quick else IDLE_SECONDS)
            most = await _pods_per_session(place)
        finally:
            await place.close()
            with progress.step("closing all sessions"):
                await _gone(world, place)
    first, last = points[0], points[-1]
    used = first.memory_available - last.memory_available
    return {
        "target": target,
        "reached": last.sessions,
        "wave": WAVE,
        "limited_by": limit,
        "points": [asdict(point) for point in points],
        "pods_per_session": most,
        "memory_per_session": used / last.sessions if last.sessions else None,
        "idle": idle,
    }


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = ["sessions   pods   wave/s   available   operator   its CPU   wallet-rpc Rss / Pss (MB)"]
    for p in figures["points"]:
        operator = "?" if p["operator_memory"] is None else f"{p['operator_memory'] / 1e6:.0f} MB"
        cpu = "?" if p["operator_cpu"] is None else f"{p['operator_cpu']:.1f} s"
        lines.append(
            f"{p['sessions']:8} {p['pods']:6} {p['wave_seconds']:8.1f} {p['memory_available'] / 1e9:8.2f} GB"
            f" {operator:>10} {cpu:>9}   {p['wallet_rss'] / 1e6:5.1f} / {p['wallet_pss'] / 1e6:5.1f}"
        )
    per = figures["memory_per_session"]
    lines.append(f"memory per session: {'?' if per is None else f'{per / 1e6:.0f} MB'}")
    rates = {name: value for name, value in figures["idle"].items() if name != "writes"}
    idle = ", ".join(f"{name} {'?' if value is None else f'{value:.3f}'}" for name, value in rates.items())
    lines.append(f"operator while nothing happens: {idle} {figures['idle']['writes'] or ''}")
    lines.append(f"{figures['reached']} of {figures['target']} sessions; limited by {figures['limited_by']}")
    return "\n".join(lines)


def counts(figures: Mapping[str, Any]) -> dict[str, float]:
    """Pods that a session holds, and writes while nothing happens."""
    found = {"pods_per_session": float(figures["pods_per_session"])}
    writes = figures["idle"]["writes_per_second"]
    return found if writes is None else found | {"idle_writes_per_second": writes}


async def _waves(place: Place, metrics: Metrics, target: int) -> tuple[list[Point], str]:
    """Waves up to the target, or to a limit; what was sampled, and the limit."""
    points = [await _sample(place, metrics, 0, 0.0)]
    while points[-1].sessions < target:
        done = points[-1].sessions
        size = min(WAVE, target - done)
        start = time.monotonic()
        await asyncio.gather(*(place.escrow(f"trade-{done + n}").apply() for n in range(size)))
        limit = await _until_active(place, done + size)
        seconds = time.monotonic() - start
        if limit:
            return points, limit
        try:
            await until_free(place, WAVE, within=WARM_SECONDS)
        except AssertionError:
            return points, f"the pool, which was not warm again within {WARM_SECONDS:.0f} s"
        points.append(await _sample(place, metrics, done + size, seconds))
        progress.say(f"{done + size} sessions; the last {size} took {seconds:.1f} s")
    return points, "nothing: the target was reached"


async def _until_active(place: Place, number: int) -> str | None:
    """Wait for so many Active and Ready sessions; what is in their way when something is."""
    deadline = time.monotonic() + WAVE_SECONDS
    stuck_since: float | None = None
    while True:
        statuses = [body.get("status") or {} for body in await place.api.list(SESSIONS, place.namespace)]
        ready = sum(condition(status, "Ready").get("status") == "True" for status in statuses)
        if ready >= number:
            return None
        now = time.monotonic()
        if memory_available() < MEMORY_FLOOR:
            return f"memory: less than {MEMORY_FLOOR / 2**30:.0f} GiB are available"
        stuck = await _unschedulable(place)
        stuck_since = (stuck_since or now) if stuck else None
        if stuck_since is not None and now - stuck_since > UNSCHEDULABLE_SECONDS:
            return f"the scheduler: {stuck}"
        if now > deadline:
            reasons = sorted({condition(status, "Ready").get("reason", "?") for status in statuses} - {"WalletsOpen"})
            return f"time: after {WAVE_SECONDS:.0f} s {ready} of {number} were Ready ({', '.join(reasons)})"
        await asyncio.sleep(LOOK_SECONDS)


async def _unschedulable(place: Place) -> str:
    """What the scheduler says of a pod for which there is no node; empty when there is no such pod."""
    for pod in await place.api.list(PODS, place.namespace):
        for found in pod.get("status", {}).get("conditions") or ():
            if found["type"] == "PodScheduled" and found.get("reason") == "Unschedulable":
                return str(found.get("message", ""))
    return ""


async def _sample(place: Place, metrics: Metrics, sessions: int, wave_seconds: float) -> Point:
    processes = sorted(await asyncio.to_thread(_wallet_processes, place.world), reverse=True)
    # An open wallet is what makes a process large.
    opened = processes[: sessions * len(ROLES)]
    scrape = await metrics.read()
    return Point(
        sessions=sessions,
        pods=len(await place.slots()),
        wave_seconds=wave_seconds,
        memory_available=memory_available(),
        wallet_rss=sum(rss for rss, _ in opened) / max(1, len(opened)),
        wallet_pss=sum(pss for _, pss in opened) / max(1, len(opened)),
        operator_memory=scrape.value("process_resident_memory_bytes"),
        operator_cpu=scrape.value("process_cpu_seconds_total"),
    )


def _wallet_processes(world: World) -> list[tuple[int, int]]:
    """Rss and Pss in bytes of every monero-wallet-rpc on the nodes."""
    engine = world.cluster.engine
    lines = [
        line.split()
        for node in world.cluster.node_containers()
        for line in engine.capture("exec", node.name, "sh", "-c", _PROCESSES).splitlines()
    ]
    # A process that ended meanwhile leaves an incomplete line.
    return [(int(line[0]) * 1024, int(line[1]) * 1024) for line in lines if len(line) == 2]


def memory_available() -> int:
    """Bytes that could still be used without swapping. The nodes are containers: it is the machine's."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


async def _idle(metrics: Metrics, window: float) -> dict[str, Any]:
    """Cores, and requests and writes to the API server per second, of the operator over a window."""
    await _until_quiet(metrics)
    before, start = await metrics.read(), time.monotonic()
    await asyncio.sleep(window)
    change, seconds = (await metrics.read()).since(before), time.monotonic() - start
    writes = _writes(change)

    def rate(name: str) -> float | None:
        value = change.value(name)
        return None if value is None else value / seconds

    return {
        "cores": rate("process_cpu_seconds_total"),
        "requests_per_second": rate(REQUESTS),
        "writes_per_second": None if change.value(REQUESTS) is None else sum(writes.values()) / seconds,
        "writes": writes,
    }


async def _until_quiet(metrics: Metrics) -> None:
    """Let the last wave's aftermath end, in a minute at most: what comes later is no aftermath."""
    deadline = time.monotonic() + QUIET_DEADLINE
    before = await metrics.read()
    while time.monotonic() < deadline:
        await asyncio.sleep(QUIET_SECONDS)
        after = await metrics.read()
        if not any(_writes(after.since(before)).values()):
            return
        before = after


def _writes(change: Scrape) -> dict[str, float]:
    """Writes to the API server, by verb and resource; only those there were."""
    found = change.by_labels(REQUESTS, "verb", "resource")
    return {what: number for what, number in found.items() if number and what.split()[0].lower() in WRITES}


async def _pods_per_session(place: Place) -> int:
    """The most that any session holds."""
    held: dict[str, int] = {}
    for pod in await place.slots():
        session = pod["metadata"]["labels"].get(Label.SESSION)
        if session:
            held[session] = held.get(session, 0) + 1
    return max(held.values(), default=0)


async def _gone(world: World, place: Place) -> None:
    """Wait until the place is gone, while the operator that has to close its wallets still has the room for them."""

    async def gone() -> bool:
        return await world.api.find(NAMESPACES, None, place.namespace) is None

    await wait_for(gone, what=f"namespace {place.namespace} to be gone", within=CLOSING_SECONDS)
