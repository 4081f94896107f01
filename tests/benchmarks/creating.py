"""Apply → Ready of a new escrow: one that was prepared, and one whose three wallets the operator makes when it comes.

The latter is measured against the raw key exchange of such wallets.

Both sides use fresh slots of one pool, in turns: what one process did before is nobody's advantage. The raw exchange
runs inside the operator's pod, as the operator's own does. It ends with three wallets that are open; the operator
stores deeds, closes the wallets, opens them again as the deeds say, proves and publishes them, and reads them.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from escrow_operator.adapters.kube import PODS
from escrow_operator.core.manifests.common import slot_url
from escrow_operator.models.common import ROLES, Label
from harness.api import NODES, ApiError, Body
from harness.place import POOL, Place, remove_places
from harness.waiting import wait_for
from harness.world import World, bring_up
from testbed import progress
from testbed.wallets import access

from . import exchange, preparedcost
from .capacity import MEMORY_FLOOR, memory_available
from .fleet.load import Load, offer
from .measuring import DEFAULT_INTERVALS, Metrics, configured, operator_metrics, percentile, until_free
from .milestones import Milestone, Sight, watching

ROUNDS, QUICK_ROUNDS = 5, 2
PREPARED_ROUNDS, QUICK_PREPARED_ROUNDS = 20, 2
FULL = (Load(1, 20), Load(None, 20))
QUICK = (Load(1, 3), Load(None, 3))
ONE = "one at a time"

SPARE = 10
"""How far the cap is above the sessions of the largest load: nothing is to give way."""

SESSION_BYTES = 100e6
"""Of the machine, for a session's three pods; generously, by what ``capacity`` measures."""

READY_SECONDS = 420.0
"""For the last session of a load to be Ready: one that takes longer has failed."""

WARM_SECONDS = 300.0
PREPARED_SECONDS = 600.0
RAW_SECONDS = 600.0

RAW_CLIENT = Path(exchange.__file__).read_text()
"""A program of its own."""

ENOUGH = {50: 1, 90: 10, 99: 100}
"""Values that a percentile takes: of fewer it would be the maximum, whose name is that."""

WALLET_REQUESTS = "xmr_escrow_wallet_requests_total"


async def measure(*, quick: bool) -> dict[str, Any]:
    """``loads``: ``title``, ``rate`` (1/s; None for one at a time, and for all at once), ``sessions``, ``warm`` (slots
    of each role before it), ``operator`` and ``raw`` (see ``side``; raw None where it was not measured), ``ratio`` of
    their medians, ``machine_load`` (processes that ran or wanted to, mean of a minute, at its end) and
    ``behind_seconds`` (by how much this process was late at most). The operator's side also has ``begun_again``, the
    sessions whose key exchange was begun with other files, and ``troubles``, Events by reason.

    One at a time comes first, in turns with the raw exchange, with ``ratios`` of each round and
    ``wallet_requests_per_session``. ``affordable`` sessions at once by memory and pods, of ``wanted``.
    ``ready_seconds``: what longer than that was not Ready has failed.

    ``prepared``: the same loads, from a pool that has a prepared escrow for each session (their number is the field
    ``prepared``); without ``raw``. ``making_seconds``: what the pool took for another one, from the deletion of the
    session that took the only one. ``standing`` and ``beside``: what they cost, and how late others are while one is
    made; see ``preparedcost``.
    """
    rounds, loads = (QUICK_ROUNDS, QUICK) if quick else (ROUNDS, FULL)
    most = max(load.number for load in loads)
    settings = {"maxActive": most + SPARE}
    async with bring_up() as world, configured(world, sessions=settings, intervals=DEFAULT_INTERVALS):
        await remove_places(world.api)
        place = Place(world, "bench-create")
        try:
            await place.open()
            async with watching(world.api, place.namespace) as sight:
                async with operator_metrics(world) as metrics:
                    measured = [await _one_at_a_time(place, sight, metrics, rounds)]
                room = affordable(most, memory_available() - MEMORY_FLOOR, await _free_pods(world))
                prepared, making, standing = await _all_prepared(place, sight, loads, room, quick=quick)
                beside = await preparedcost.beside(place, partial(_sessions, place, sight), quick=quick)
                await place.make_pool(warmSlots=1)
                # At a rate that is more than the machine can do it comes to much the same as all at once.
                at_once = [load for load in loads if load.rate is None]
                measured += [await _load(place, sight, load, warm=min(load.number, room)) for load in at_once]
        finally:
            await place.close()
    return {
        "loads": measured,
        "prepared": prepared,
        "making_seconds": making,
        "standing": standing,
        "beside": beside,
        "wanted": most,
        "affordable": room,
        "ready_seconds": READY_SECONDS,
        "intervals": dict(DEFAULT_INTERVALS),
    }


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = [f"{'seconds':34} {'n':>4} {'failed':>6} {'p50':>7} {'p90':>7} {'max':>7} {'all':>7}"]
    for load in [*figures["prepared"], *figures["loads"]]:
        sides = {name: load[name] for name in ("operator", "raw") if load[name]}
        lines += [_row(f"{load['title']}, {name}", found) for name, found in sides.items()]
        lines.append(f"  ratio of the medians: {_number(load['ratio'])}")
        for name, found in sides.items():
            parts = {part: statistics.median(seconds) for part, seconds in found["parts"].items()}
            lines += [f"  {name}: {part:32} {seconds:7.2f}" for part, seconds in parts.items()]
            lines += [f"  {name}: failed: {why}" for why in found["failures"]]
        lines.append(f"  begun again: {load['operator']['begun_again']}; troubles: {load['operator']['troubles']}")
    return "\n".join([*lines, preparedcost.as_text(figures["standing"], figures["beside"])])


def counts(figures: Mapping[str, Any]) -> dict[str, float]:
    """Sessions that were not Ready in time, and requests to wallets that one takes."""
    loads = [*figures["loads"], *figures["prepared"]]
    found = {"failed": float(sum(load["operator"]["failed"] for load in loads))}
    requests = figures["loads"][0]["wallet_requests_per_session"]
    return found | ({} if requests is None else {"wallet_requests_per_session": requests})


def affordable(wanted: int, free_bytes: float, free_pods: int) -> int:
    """How many sessions there can be at once beside as many warm slots, which take what sessions take; 1 at least."""
    by_memory = int(free_bytes / (2 * SESSION_BYTES))
    by_pods = free_pods // (2 * len(ROLES))
    return max(1, min(wanted, by_memory, by_pods))


def side(
    seconds: Sequence[float], failures: Iterable[str], parts: Iterable[Mapping[str, float]], all_seconds: float | None
) -> dict[str, Any]:
    """One side of a load: ``seconds`` of each that came to its end, in order, with their ``percentiles`` (and ``max``),
    ``failed`` and the first few reasons (``failures``), ``parts`` (seconds by stage or step), and ``all_seconds`` from
    the first one's begin to the last one's end, None when one failed.
    """
    failed = list(failures)
    series: dict[str, list[float]] = {}
    for each in parts:
        for name, taken in each.items():
            series.setdefault(name, []).append(taken)
    return {
        "seconds": list(seconds),
        "percentiles": percentiles(seconds),
        "failed": len(failed),
        "failures": sorted(set(failed))[:5],
        "parts": series,
        "all_seconds": None if failed else all_seconds,
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Those of which there are enough values, and the maximum; empty for no values."""
    if not seconds:
        return {}
    found = {f"p{p}": percentile(seconds, p) for p, least in ENOUGH.items() if len(seconds) >= least}
    return found | {"max": max(seconds)}


def ratio_of_medians(operator: Mapping[str, Any], raw: Mapping[str, Any]) -> float | None:
    """Operator / raw; None when one side has nothing to show."""
    if not operator["seconds"] or not raw["seconds"]:
        return None
    return float(statistics.median(operator["seconds"]) / statistics.median(raw["seconds"]))


async def _one_at_a_time(place: Place, sight: Sight, metrics: Metrics, rounds: int) -> dict[str, Any]:
    """Both sides in turns, each with a warm slot of each role that nobody has used."""
    ours, raws, requests = [], [], []
    for number in range(1, rounds + 1):
        await _until_fresh(place, 1)
        before = await metrics.read()
        ours.append(await _sessions(place, sight, Load(None, 1)))
        requests.append((await metrics.read()).since(before).value(WALLET_REQUESTS))
        await _until_gone(place, ours[-1]["names"])
        raws.append(await _raw(place, Load(None, 1)))
        progress.say(f"round {number} of {rounds}: operator {ours[-1]['seconds']}, raw {raws[-1]['seconds']}")
    operator, raw = _joined(ours) | _trouble(sight, ours), _joined(raws)
    counted = [n for n, found in zip(requests, ours, strict=True) if n is not None and found["seconds"]]
    return {
        "title": ONE,
        "rate": None,
        "sessions": rounds,
        "warm": 1,
        "operator": operator,
        "raw": raw,
        "ratio": ratio_of_medians(operator, raw),
        "ratios": [o / r for a, b in zip(ours, raws, strict=True) for o in a["seconds"] for r in b["seconds"]],
        "machine_load": os.getloadavg()[0],
        "behind_seconds": max(found["behind"] for found in ours),
        "wallet_requests_per_session": statistics.median(counted) if counted else None,
    }


async def _load(place: Place, sight: Sight, load: Load, *, warm: int) -> dict[str, Any]:
    """The sessions of a load, and before them the raw exchanges of one that comes all at once; each from warm slots."""
    await place.make_pool(warmSlots=warm)
    raw = None
    if load.rate is None:
        # A slot serves one escrow, and nobody refills for a client that does not claim.
        await _until_fresh(place, warm)
        with progress.step(f"raw key exchanges: {load.title}"):
            raw = _joined([await _raw(place, load._replace(number=warm))])
    await _until_fresh(place, warm)
    with progress.step(f"sessions: {load.title}"):
        ours = await _sessions(place, sight, load)
        busy = os.getloadavg()[0]
    with progress.step("deleting them"):
        await _until_gone(place, ours["names"])
    operator = _joined([ours]) | _trouble(sight, [ours])
    return {
        "title": load.title,
        "rate": load.rate,
        "sessions": load.number,
        "warm": warm,
        "operator": operator,
        "raw": raw,
        "ratio": raw and ratio_of_medians(operator, raw),
        "machine_load": busy,
        "behind_seconds": ours["behind"],
    }


async def _all_prepared(
    place: Place, sight: Sight, loads: Iterable[Load], room: int, *, quick: bool
) -> tuple[list[dict[str, Any]], list[float], dict[str, Any]]:
    """All loads, each from a pool that has as many prepared escrows; how long the pool took for each of them; and what
    those of the first load cost (see ``preparedcost.standing``).
    """
    rounds = QUICK_PREPARED_ROUNDS if quick else PREPARED_ROUNDS
    ours, making = [], []
    standing: dict[str, Any] = {}
    await _until_fresh(place, 1)
    without = memory_available()
    for _ in range(rounds):
        making.append(await _until_prepared(place, 1))
        ours.append(await _sessions(place, sight, Load(None, 1)))
        progress.say(f"prepared: Ready after {ours[-1]['seconds']}, made in {making[-1]:.1f} s")
        await _until_gone(place, ours[-1]["names"])
    found = [_given(f"{ONE}, prepared", None, 1, sight, ours)]
    for load in loads:
        number = min(load.number, room)
        with progress.step(f"preparing {number} escrows"):
            await _until_prepared(place, number)
        if not standing:
            with progress.step(f"{number} prepared escrows that nobody takes"):
                standing = await preparedcost.standing(place, without, number, quick=quick)
        with progress.step(f"sessions, prepared: {load.title}"):
            run = await _sessions(place, sight, load._replace(number=number))
        progress.say(f"Ready after {sorted(round(seconds, 3) for seconds in run['seconds'])}")
        await _until_gone(place, run["names"])
        found.append(_given(f"{load.title}, prepared", load.rate, number, sight, [run]))
    # The first one was made beside the pool's first pods.
    return found, making[1:], standing


def _given(
    title: str, rate: float | None, prepared: int, sight: Sight, runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    operator = _joined(runs) | _trouble(sight, runs)
    return {
        "title": title,
        "rate": rate,
        "sessions": sum(len(run["names"]) for run in runs),
        "warm": 1,
        "prepared": prepared,
        "operator": operator,
        "raw": None,
        "ratio": None,
        "machine_load": os.getloadavg()[0],
        "behind_seconds": max(run["behind"] for run in runs),
    }


async def _until_prepared(place: Place, number: int) -> float:
    """Wait for so many prepared escrows, a warm slot of each role, and no other pods; the seconds that took."""
    begun = time.monotonic()
    await place.make_pool(warmSlots=1, preparedEscrows=number)
    await place.until_prepared(number, within=PREPARED_SECONDS)
    taken = time.monotonic() - begun

    async def alone() -> bool:
        return len(await place.slots()) == (number + 1) * len(ROLES)

    await wait_for(alone, what="no other slots", within=WARM_SECONDS, explain=place.explain)
    await until_free(place, 1, within=WARM_SECONDS)
    return taken


def _joined(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One side, of all its runs; when all were done is told of one run only."""
    return side(
        [s for run in runs for s in run["seconds"]],
        [why for run in runs for why in run["failures"]],
        [part for run in runs for part in run["parts"]],
        runs[0]["all_seconds"] if len(runs) == 1 else None,
    )


def _trouble(sight: Sight, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What went wrong on the way, of those that became Ready as well."""
    names = [name for run in runs for name in run["names"]]
    return {"begun_again": sight.begun_again(names), "troubles": sight.troubles(names)}


async def _sessions(place: Place, sight: Sight, load: Load) -> dict[str, Any]:
    """Apply them, each under a name that was never used (its deeds stay), and wait until they are Ready."""
    prefix = f"new-{secrets.token_hex(3)}"

    async def send(number: int) -> str:
        name = f"{prefix}-{number}"
        try:
            await place.escrow(name).apply()
        except httpx.HTTPError as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error
        return name

    sent = await offer(load, send)
    await sight.until_ready(sent.at, within=READY_SECONDS)
    ready = {name: sight.moments(name)[Milestone.READY] for name in sent.at if Milestone.READY in sight.moments(name)}
    return {
        "names": list(sent.at),
        "seconds": [ready[name] - begun for name, begun in sent.at.items() if name in ready],
        "failures": [*sent.errors, *(sight.reason(name) for name in sent.at if name not in ready)],
        "parts": [stages for name, begun in sent.at.items() if (stages := sight.stages(name, begun))],
        "all_seconds": max(ready.values()) - min(sent.at.values()) if ready else None,
        "behind": sent.behind,
    }


async def _raw(place: Place, load: Load) -> dict[str, Any]:
    """The raw exchange in free slots, which are replaced afterwards."""
    await _until_fresh(place, load.number)
    pods = await place.free_slots()
    key = (await place.read_secret(f"{POOL}-slot-login"))["key"]
    job = json.dumps({"rate": load.rate, "escrows": raw_escrows(pods, key)})
    operator = await place.world.operator.until_ready()
    # Logins go through stdin, and not among arguments that everybody on the machine can read.
    said = await asyncio.to_thread(
        place.world.cluster.kubectl,
        *("exec", "-i", "--namespace", place.world.operator.namespace, operator["metadata"]["name"]),
        *("--", "python", "-c", RAW_CLIENT),
        stdin=job,
        timeout=RAW_SECONDS,
    )
    await asyncio.gather(*(place.api.delete(PODS, place.namespace, pod["metadata"]["name"]) for pod in pods))
    return raw_run(json.loads(said))


def raw_escrows(pods: Iterable[Body], login_key: str) -> list[dict[str, Any]]:
    """What ``exchange.play`` is told: one escrow for each three slots, one of each role, under fresh file names."""
    by_role: dict[str, list[Body]] = {role.value: [] for role in ROLES}
    for pod in pods:
        by_role[pod["metadata"]["labels"][Label.ROLE]].append(pod)
    return [
        {
            "file": f"raw-{secrets.token_hex(8)}",
            "password": secrets.token_hex(16),
            "wallets": {
                role: {
                    "url": slot_url(pod["status"]["podIP"], tls=digest is not None),
                    "user": login.user,
                    "password": login.password,
                    "certificate": digest.hex() if digest else None,
                }
                for role, pod in zip(by_role, three, strict=True)
                for login, digest in [access(pod, login_key)]
            },
        }
        for three in zip(*by_role.values(), strict=True)
    ]


def raw_run(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``exchange.play`` said, in the words of ``_sessions``."""
    done = [one for one in found if "error" not in one]
    return {
        "seconds": [one["ended"] - one["begun"] for one in done],
        "failures": [one["error"] for one in found if "error" in one],
        "parts": [one["steps"] for one in done],
        "all_seconds": max(one["ended"] for one in done) if done else None,
    }


async def _until_fresh(place: Place, slots: int) -> None:
    """Wait for so many free slots of each role, and no others, not even ending ones: these take the machine's time."""
    with progress.step("waiting for a warm pool"):

        async def alone() -> bool:
            # The pool's status is a moment late: after a deletion it may still tell of the slots of before.
            return len(await place.slots()) == slots * len(ROLES)

        await until_free(place, slots, within=WARM_SECONDS)
        await wait_for(alone, what="no other slots", within=WARM_SECONDS, explain=place.explain)
        await place.until_warm(slots, within=WARM_SECONDS)


async def _until_gone(place: Place, names: Iterable[str]) -> None:
    """Delete sessions, and wait until they and their pods are gone."""
    escrows = [place.escrow(name) for name in names]
    await asyncio.gather(*(escrow.delete(wait=False) for escrow in escrows))
    for escrow in escrows:
        await escrow.until_gone()


async def _free_pods(world: World) -> int:
    """How many more pods kubelet takes on all nodes, by their own account."""
    allowed = sum(int(node["status"]["allocatable"]["pods"]) for node in await world.api.list(NODES))
    return allowed - len(await world.api.list(PODS))


def _row(title: str, found: Mapping[str, Any]) -> str:
    cells = [found["percentiles"].get(key) for key in ("p50", "p90", "max")]
    text = " ".join(f"{_number(cell):>7}" for cell in [*cells, found["all_seconds"]])
    return f"{title:34} {len(found['seconds']):4} {found['failed']:6} {text}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
