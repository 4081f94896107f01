"""What prepared escrows cost: memory and CPU of their wallets, and how late others are while one is being made."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from escrow_operator.models.common import ROLES, Label
from harness.place import Place
from harness.waiting import wait_for
from harness.world import World
from testbed import progress

from .capacity import memory_available
from .fleet.load import Load
from .opening import apply_until_ready, make_wallets

SECONDS, QUICK_SECONDS = 60.0, 5.0
BLOCKS, QUICK_BLOCKS = 6, 1
ROUNDS, QUICK_ROUNDS = 5, 1
HELD = 2
"""Prepared escrows there are while another one is made."""

UNDER_WAY_SECONDS = 120.0

_TICKS = """
getconf CLK_TCK
for p in /proc/[0-9]*; do
  read -r name < "$p/comm" 2>/dev/null || continue
  case "$name" in monero-wallet-r*)
    rss=$(awk '/^Pss:/{print $2}' "$p/smaps_rollup")
    sed 's/.*) //' "$p/stat" | awk -v id="${p#/proc/}" -v rss="$rss" '{print id, $12 + $13, rss}';;
  esac
done 2>/dev/null
true
"""

Sessions = Callable[[Load], Awaitable[Mapping[str, Any]]]
"""Applies new sessions and waits for Ready; see ``creating``."""


class Wallets:
    """The wallet-rpc processes on the nodes: CPU seconds and Pss bytes of each."""

    def __init__(self, cpu: Mapping[tuple[str, str], float], pss: Mapping[tuple[str, str], int]) -> None:
        self.cpu, self.pss = cpu, pss

    @classmethod
    def read(cls, world: World) -> Wallets:
        """As they are now."""
        cpu, pss = {}, {}
        for node in world.cluster.node_containers():
            first, *lines = world.cluster.engine.capture("exec", node.name, "sh", "-c", _TICKS).splitlines()
            for line in lines:
                cells = line.split()
                # A process that ended meanwhile leaves an incomplete line.
                if len(cells) == 3:
                    cpu[node.name, cells[0]] = int(cells[1]) / int(first)
                    pss[node.name, cells[0]] = int(cells[2]) * 1024
        return cls(cpu, pss)

    def spent_since(self, before: Wallets) -> float:
        """CPU seconds of those that were there before as well."""
        return sum(seconds - before.cpu[which] for which, seconds in self.cpu.items() if which in before.cpu)


async def standing(place: Place, without: int, number: int, *, quick: bool) -> dict[str, Any]:
    """``number`` prepared escrows that nobody takes: ``memory`` of the machine and ``pss`` of the wallets, bytes each;
    ``cores`` of all their wallets while the chain rests, and ``cpu_per_block``, seconds each for a further block.

    ``without`` is the machine's available memory before there were any. There are ``warmSlots`` beside them, which have
    no wallet open.
    """
    window, blocks = (QUICK_SECONDS, QUICK_BLOCKS) if quick else (SECONDS, BLOCKS)
    with_them = memory_available()
    first = await asyncio.to_thread(Wallets.read, place.world)
    await asyncio.sleep(window)
    second = await asyncio.to_thread(Wallets.read, place.world)
    begun = time.monotonic()
    for _ in range(blocks):
        await place.world.chain.mine()
        await asyncio.sleep(window / blocks)
    lasted = time.monotonic() - begun
    third = await asyncio.to_thread(Wallets.read, place.world)
    resting = second.spent_since(first) / window
    largest = sorted(third.pss.values(), reverse=True)[: number * len(ROLES)]
    return {
        "number": number,
        "memory": (without - with_them) / number,
        "pss": sum(largest) / number,
        "cores": resting,
        "cpu_per_block": (third.spent_since(second) - resting * lasted) / blocks / number,
        "blocks": blocks,
        "seconds": window,
    }


async def beside(place: Place, sessions: Sessions, *, quick: bool) -> dict[str, list[float]]:
    """Seconds from apply to Ready, in turns: of a session that opens its wallets ``again``, of one that does so while
    an escrow is prepared (``again_meanwhile``), and of one that takes a prepared one then (``taken_meanwhile``).
    """
    found: dict[str, list[float]] = {"again": [], "again_meanwhile": [], "taken_meanwhile": []}
    wallets = await make_wallets(place)
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        await _until(place, HELD)
        found["again"].append((await apply_until_ready(place, wallets))[0])
        await _until(place, HELD)
        await _until_under_way(place)
        found["again_meanwhile"].append((await apply_until_ready(place, wallets))[0])
        await _until(place, HELD)
        await _until_under_way(place)
        run = await sessions(Load(None, 1))
        found["taken_meanwhile"] += run["seconds"]
        progress.say(", ".join(f"{what} {seconds[-1]:.2f} s" for what, seconds in found.items() if seconds))
        for name in run["names"]:
            escrow = place.escrow(name)
            await escrow.delete()
            await escrow.until_gone()
    return found


def as_text(standing: Mapping[str, Any], beside: Mapping[str, list[float]]) -> str:
    """For people."""
    return (
        f"each of {standing['number']} prepared escrows: {standing['memory'] / 1e6:.0f} MB of the machine, wallets"
        f" {standing['pss'] / 1e6:.0f} MB; all at rest {standing['cores']:.3f} cores; one at a block"
        f" {standing['cpu_per_block'] * 1e3:.1f} ms of CPU\n"
        + "\n".join(f"{what}: {statistics.median(s):.2f} s, at most {max(s):.2f}" for what, s in beside.items() if s)
    )


async def _until(place: Place, number: int) -> None:
    await place.make_pool(warmSlots=1, preparedEscrows=number)
    await place.until_prepared(number, within=UNDER_WAY_SECONDS)
    await place.until_refilled()


async def _until_under_way(place: Place) -> None:
    """Let the pool make one more, and wait until it has begun."""
    await place.make_pool(warmSlots=1, preparedEscrows=HELD + 1)

    async def under_way() -> bool:
        return len(await place.slots(f"{Label.SLOT}=prepared")) == (HELD + 1) * len(ROLES)

    await wait_for(under_way, what="another escrow to be prepared", within=UNDER_WAY_SECONDS, explain=place.explain)
