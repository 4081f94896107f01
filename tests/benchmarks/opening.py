"""Apply → Ready for existing wallets, against the three raw open_wallet calls: same wallets, same pods, in turns.

The difference is what the operator adds: claiming three slots, proving address and multisig of each wallet, reading
them at the chain's height, and writing down connection Secrets, host names and status. Then once more with a pool that
keeps nothing warm: the session waits for its pods to start.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.models.common import ROLES, Role
from harness.api import Body
from harness.escrow import condition
from harness.place import Place, remove_places
from harness.waiting import wait_for
from harness.world import bring_up
from testbed import progress

from .measuring import Metrics, operator_metrics, raw_slots, summary

ROUNDS, QUICK_ROUNDS = 40, 2
"""Both sides of a round vary by a factor of two on a busy machine."""

COLD_ROUNDS, QUICK_COLD_ROUNDS = 3, 1

STAGES = "xmr_escrow_session_stage_seconds"
COLD_PATIENCE = 180.0
"""Seconds until a session is Ready whose pods start first."""


@dataclass(frozen=True)
class Wallets:
    """Existing wallets: ``spec`` as spec.wallets has them, the passwords, and the address that they share."""

    spec: Mapping[str, Body]
    passwords: Mapping[Role, str]
    address: str


async def make_wallets(place: Place, name: str = "maker") -> Wallets:
    """Three wallets of a 2-of-3, by a session that is gone again."""
    maker = await place.active(name)
    passwords = {role: (await maker.deed(role))["password"] for role in ROLES}
    wallets = Wallets(await maker.deeds_as_wallets(), passwords, (await maker.status())["address"])
    await maker.delete()
    return wallets


async def measure(*, quick: bool) -> dict[str, Any]:
    """Seconds of each round (lists, in order), their medians and extremes, and ratios.

    ``operator`` apply → Ready; ``claimed`` apply → slots claimed, seen by a watch; ``raw`` three open_wallet calls in
    parallel; ``stages`` the operator's own account of where the time went, empty without its metric; ``cold`` apply →
    Ready with nothing warm; ``ratios`` operator / raw of each round, ``ratio`` of the medians.
    """
    async with bring_up() as world:
        await remove_places(world.api)
        place = Place(world, "bench-open")
        await place.open()
        try:
            with progress.step("making the wallets"):
                wallets = await make_wallets(place)
            async with operator_metrics(world) as metrics:
                figures = await _warm(place, wallets, metrics, QUICK_ROUNDS if quick else ROUNDS)
            figures["cold"] = await _cold(place, wallets, QUICK_COLD_ROUNDS if quick else COLD_ROUNDS)
        finally:
            await place.close()
        series = {name: figures[name] for name in ("operator", "claimed", "raw", "cold")}
        series |= {f"stage {name}": values for name, values in figures["stages"].items()}
        figures["summary"] = {name: summary(values) for name, values in series.items() if values}
        figures["ratios"] = [o / r for o, r in zip(figures["operator"], figures["raw"], strict=True)]
        figures["ratio"] = statistics.median(figures["operator"]) / statistics.median(figures["raw"])
        return figures


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    titles = {
        "operator": "Apply to Ready, existing wallets",
        "claimed": "  of that, until the slots are claimed",
        "raw": "three raw open_wallet calls in parallel",
        "cold": "Apply to Ready, nothing warm",
    }
    lines = [f"{'seconds':40} median    min    max"]
    for name, s in figures["summary"].items():
        title = titles.get(name, f"  {name}")
        lines.append(f"{title:40} {s['median']:6.2f} {s['min']:6.2f} {s['max']:6.2f}")
    ratios = ", ".join(f"{ratio:.2f}" for ratio in figures["ratios"])
    return "\n".join([*lines, f"ratio of the medians: {figures['ratio']:.2f}  (of each round: {ratios})"])


def counts(_: Mapping[str, Any]) -> dict[str, float]:
    """None: all that is measured here are seconds."""
    return {}


async def apply_until_ready(place: Place, wallets: Wallets, *, within: float = 90.0) -> tuple[float, float]:
    """Seconds until a session with these wallets is Ready, and until its slots are claimed; it is gone afterwards."""
    escrow = place.escrow("measured")
    claimed = 0.0
    start = time.monotonic()
    await escrow.apply(setup="Open", wallets=wallets.spec, address=wallets.address)
    async with asyncio.timeout(within):
        async for body in place.api.watch(SESSIONS, place.namespace, escrow.name):
            status = body.get("status") or {}
            if status.get("wallets") and not claimed:
                claimed = time.monotonic() - start
            if condition(status, "Ready").get("status") == "True":
                break
    opened = time.monotonic() - start
    await escrow.delete()
    return opened, claimed


async def _warm(place: Place, wallets: Wallets, metrics: Metrics, rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"operator": [], "claimed": [], "raw": [], "stages": {}}
    for number in range(1, rounds + 1):
        await place.until_warm()
        before = await metrics.read()
        opened, claimed = await apply_until_ready(place, wallets)
        change = (await metrics.read()).since(before)
        figures["operator"].append(opened)
        figures["claimed"].append(claimed)
        # One that the operator did not take the time of (it first saw the session in a list) is no session of 0 s.
        if change.value(f"{STAGES}_count"):
            for stage, seconds in change.by_labels(f"{STAGES}_sum", "stage").items():
                figures["stages"].setdefault(stage, []).append(seconds)
        await place.until_warm()
        figures["raw"].append(await _raw(place, wallets))
        progress.say(f"round {number} of {rounds}: operator {opened:.2f} s, raw {figures['raw'][-1]:.2f} s")
    return figures


async def _raw(place: Place, wallets: Wallets) -> float:
    """Seconds of three open_wallet calls to three warm slots."""
    async with raw_slots(place) as slots:
        start = time.monotonic()
        await asyncio.gather(
            *(slots[role].open_wallet(wallets.spec[role.value]["file"], wallets.passwords[role]) for role in ROLES)
        )
        taken = time.monotonic() - start
        await asyncio.gather(*(slots[role].close_wallet() for role in ROLES))
    return taken


async def _cold(place: Place, wallets: Wallets, rounds: int) -> list[float]:
    """Seconds of apply → Ready in a pool that keeps nothing warm."""
    await place.make_pool(warmSlots=0)

    async def none() -> bool:
        return not await place.slots()

    seconds = []
    for number in range(1, rounds + 1):
        await wait_for(none, what="the pool to be empty", explain=place.explain)
        seconds.append((await apply_until_ready(place, wallets, within=COLD_PATIENCE))[0])
        progress.say(f"cold round {number} of {rounds}: {seconds[-1]:.2f} s")
    return seconds
