"""How fast sessions get their three slots: many at once, with slots that are simulated and a real API server.

What is timed is a client's view: from the moment its POST of an EscrowSession is sent to the moment its own watch has
shown three pods with the session's uid. Wallets are simulated, too: opening takes them no time.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any

from benchmarks.fleet.load import Load, Sent, offer
from benchmarks.fleet.numbers import Scrape, per, percentiles
from benchmarks.fleet.place import Place
from benchmarks.fleet.raw import adopt_raw
from benchmarks.fleet.world import bring_up
from escrow_operator.models.common import ROLES
from harness.waiting import wait_for
from testbed import progress

NAMESPACE = "simulation-claims"

CLAIM_SECONDS = 120.0
"""For the last claim of a step: one that takes longer counts as an error."""

READY_SECONDS = 120.0
"""For the last session of a step to be Active, after it has its slots."""

PER_SESSION = ("escrowsessions", "pods", "secrets", "endpointslices", "events")
"""Resources that the operator asks for because of one session; the rest is the pools' and the lists' share."""

QUICK = (Load(10, 60), Load(None, 60))
FULL = (Load(1, 30), Load(5, 150), Load(10, 200), Load(25, 300), Load(None, 300))
RAW_QUICK = (Load(10, 40), Load(None, 40))
RAW_FULL = (Load(10, 100), Load(None, 300))


async def measure(*, quick: bool) -> dict[str, Any]:
    """Bring up what is needed, and measure.

    ``steps``: one for each load, with ``title``, ``rate`` (1/s, None for all at once), ``sessions``, and
      ``claim_seconds`` (p50, p90, p99, max in seconds), ``per_second`` (sessions that got their slots, 1/s),
      ``errors`` (sessions that did not), ``claimed_twice`` and ``incomplete`` (both must be 0),
      ``behind_seconds`` (by how much this process was late at most), ``ready_seconds`` (from the first POST until all
      sessions were Active), ``requests`` (API requests by the operator per session, by verb and resource),
      ``requests_per_claim`` (those that are due to the session), ``wallet_requests_per_session``,
      ``cpu_seconds_per_session`` and ``cpu_cores`` (mean during the step), ``memory_bytes`` (at its end), ``stages``
      (mean seconds of the operator's stages), ``closed_per_second`` (sessions deleted and gone, 1/s), ``machine_load``
      (processes that ran or wanted to, mean of a minute).
    ``raw``: the same loads without the operator, for ``claim_seconds`` and ``per_second``.
    ``saturation``: the most sessions/s seen to get their slots. ``saturation_to_raw`` and ``p50_to_raw``: ratios.
    """
    loads, raw_loads = (QUICK, RAW_QUICK) if quick else (FULL, RAW_FULL)
    async with bring_up() as world:
        # Without the operator nobody refills: what the baseline takes in all its steps has to be there.
        warm = max(*(load.number for load in loads), sum(load.number for load in raw_loads))
        place = Place(world, NAMESPACE, warm=warm)
        await place.open()
        steps = []
        for load in loads:
            steps.append(await _step(place, load))
            _say(steps[-1])
        await world.operator.scale(0)
        raw = {load.title: await adopt_raw(place, load, within=CLAIM_SECONDS) for load in raw_loads}
        restarts = await world.restarts()
    return _figures(steps, raw) | {"quick": quick, "operator_restarts": restarts}


def _figures(steps: list[dict[str, Any]], raw: dict[str, Any]) -> dict[str, Any]:
    saturation = max(step["per_second"] for step in steps)
    fastest = max(figures["per_second"] for figures in raw.values())
    both = [
        (step["claim_seconds"].get("p50"), raw[step["title"]]["claim_seconds"])
        for step in steps
        if step["title"] in raw
    ]
    ratio = next((mine / theirs["p50"] for mine, theirs in both if mine and theirs), None)
    return {
        "steps": steps,
        "raw": raw,
        "saturation": saturation,
        "saturation_to_raw": saturation / fastest if fastest else None,
        "p50_to_raw": ratio,
    }


async def _step(place: Place, load: Load) -> dict[str, Any]:
    """One load from a warm pool to a warm pool."""
    world = place.world

    async def create(_: int) -> str:
        uid: str = (await place.create())["metadata"]["uid"]
        return uid

    async def all_active() -> bool:
        found = (await world.scrape()).value("xmr_escrow_sessions", namespace=place.namespace, phase="Active")
        return found is not None and found >= len(sent.at)

    before, start = await world.scrape(), time.monotonic()
    with progress.step(f"sessions: {load.title}"):
        async with world.client.adoptions(place.namespace) as seen:
            sent = await offer(load, create)
            await seen.until(len(sent.at), within=CLAIM_SECONDS)
            claimed = (time.monotonic(), await world.scrape())
            await wait_for(all_active, what="all Active", within=READY_SECONDS, explain=world.operator.tail)
            ready, after = time.monotonic(), await world.scrape()
            latencies = sent.latencies(seen)
            figures: dict[str, Any] = {
                "title": load.title,
                "rate": load.rate,
                "sessions": load.number,
                "claim_seconds": percentiles(latencies),
                "per_second": sent.per_second(seen),
                "errors": load.number - len(latencies),
                "error_texts": sorted(set(sent.errors))[:5],
                "claimed_twice": seen.twice(),
                "incomplete": await _incomplete(place, sent),
                "behind_seconds": sent.behind,
                "ready_seconds": ready - start,
                "machine_load": os.getloadavg()[0],
            }
    figures |= _costs(after.since(before), load.number, seconds=ready - start)
    figures |= {
        "memory_bytes": after.value("process_resident_memory_bytes"),
        "claiming_cpu_cores": _cores(claimed[1].since(before), claimed[0] - start),
    }
    closing = time.monotonic()
    await place.delete_sessions()
    figures["closed_per_second"] = load.number / (time.monotonic() - closing)
    await place.until_warm()
    return figures


async def _incomplete(place: Place, sent: Sent) -> int:
    """Sessions without exactly one pod of each role."""
    adopted = await place.adopted()
    wanted = sorted(role.value for role in ROLES)
    return sum(sorted(adopted.get(uid, [])) != wanted for uid in sent.at)


def _cores(difference: Scrape, seconds: float) -> float | None:
    cpu = difference.value("process_cpu_seconds_total")
    return None if cpu is None else cpu / seconds


def _costs(difference: Scrape, sessions: int, *, seconds: float) -> dict[str, Any]:
    requests = per(difference.by_labels("xmr_escrow_api_requests_total", "verb", "resource"), sessions)
    cpu = difference.value("process_cpu_seconds_total")
    wallet = difference.value("xmr_escrow_wallet_requests_total")
    stages = difference.by_labels("xmr_escrow_session_stage_seconds_count", "stage")
    name = "xmr_escrow_session_stage_seconds"
    return {
        "requests": requests,
        "requests_per_claim": sum(v for key, v in requests.items() if _is_due_to_a_session(key)) or None,
        "wallet_requests_per_session": None if wallet is None else wallet / sessions,
        "cpu_seconds_per_session": None if cpu is None else cpu / sessions,
        "cpu_cores": _cores(difference, seconds),
        "stages": {stage: difference.mean(name, stage=stage) for stage, count in stages.items() if count},
    }


def _is_due_to_a_session(verb_and_resource: str) -> bool:
    verb, _, resource = verb_and_resource.partition(" ")
    return verb not in {"list", "watch"} and resource.startswith(PER_SESSION)


def counts(figures: dict[str, Any]) -> dict[str, float]:
    """What no busy machine changes: double claims, incomplete sessions and errors of all steps, requests per claim."""
    steps = figures["steps"]
    found = {name: float(sum(step[name] for step in steps)) for name in ("claimed_twice", "incomplete", "errors")}
    known = [step["requests_per_claim"] for step in steps if step["requests_per_claim"] is not None]
    return found | ({"requests_per_claim": min(known)} if known else {})


def as_text(figures: dict[str, Any]) -> str:
    """A table for people."""
    head = f"{'claims':14} {'sessions':>8} {'p50 s':>7} {'p90 s':>7} {'p99 s':>7} {'max s':>7} {'per s':>7}"
    lines = [f"{head} {'errors':>7} {'twice':>6} {'requests':>9} {'CPU ms':>7} {'MB':>6}"]
    lines += [_row(step["title"], step) for step in figures["steps"]]
    lines += [_row(f"raw {title}", raw) for title, raw in figures["raw"].items()]
    lines.append(f"saturation: {figures['saturation']:.1f} sessions/s")
    if figures["saturation_to_raw"]:
        lines[-1] += f", {figures['saturation_to_raw']:.2f} of the raw API"
    if figures["p50_to_raw"]:
        lines[-1] += f"; p50 is {figures['p50_to_raw']:.1f} times the raw API's"
    return "\n".join(lines)


def _row(title: str, step: dict[str, Any]) -> str:
    cells = [step["claim_seconds"].get(key, math.nan) for key in ("p50", "p90", "p99", "max")]
    text = f"{title:14} {step['sessions']:8} " + " ".join(f"{cell:7.3f}" for cell in cells)
    text += f" {step['per_second']:7.1f} {step['errors']:7}"
    if "claimed_twice" not in step:
        return text
    cpu, memory, requests = step["cpu_seconds_per_session"], step["memory_bytes"], step["requests_per_claim"]
    text += f" {step['claimed_twice']:6} {_cell(requests, 9, 1)}"
    return text + f" {_cell(cpu and cpu * 1000, 7, 1)} {_cell(memory and memory / 1e6, 6, 0)}"


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def _say(step: dict[str, Any]) -> None:
    progress.say(_row(step["title"], step))
