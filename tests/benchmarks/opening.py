"""Apply → Ready for existing wallets, against the three raw open_wallet calls: same wallets, same pods, in turns.

The difference is what the operator adds: claiming three slots, proving address and multisig of each wallet, reading
them at the chain's height, and writing down connection Secrets, host names and status.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.login import derive_login
from escrow_operator.models.common import ROLES, Label, Role
from harness.api import Body
from harness.escrow import condition
from harness.place import POOL, Place, remove_places
from harness.world import bring_up
from testbed import progress


@dataclass(frozen=True)
class Result:
    """Seconds of each round."""

    operator: list[float]
    claimed: list[float]
    raw: list[float]

    @property
    def ratio(self) -> float:
        """How many times the raw calls the operator takes, by the medians."""
        return statistics.median(self.operator) / statistics.median(self.raw)

    def as_json(self) -> str:
        """All numbers."""
        medians = {name: statistics.median(values) for name, values in asdict(self).items()}
        return json.dumps({"seconds": asdict(self), "medians": medians, "ratio": round(self.ratio, 3)}, indent=1)

    def as_text(self) -> str:
        """A table for people."""
        rows = [
            ("Apply to Ready, existing wallets", self.operator),
            ("  of that, until the slots are claimed", self.claimed),
            ("three raw open_wallet calls in parallel", self.raw),
        ]
        lines = [f"{'seconds':40} median    min    max"]
        lines += [f"{title:40} {statistics.median(v):6.2f} {min(v):6.2f} {max(v):6.2f}" for title, v in rows]
        return "\n".join([*lines, f"ratio of the medians: {self.ratio:.2f}  ({len(self.raw)} rounds each, in turns)"])


async def measure(rounds: int) -> Result:
    """Bring up what is needed, and measure."""
    async with bring_up() as world:
        await remove_places(world.api)
        place = Place(world, "bench-open")
        await place.open()
        try:
            return await _measure(place, rounds)
        finally:
            await place.close()


async def _measure(place: Place, rounds: int) -> Result:
    with progress.step("making the wallets"):
        maker = await place.active("maker")
        wallets, address = await maker.deeds_as_wallets(), (await maker.status())["address"]
        passwords = {role: (await maker.deed(role))["password"] for role in ROLES}
        await maker.delete()
    result = Result([], [], [])
    for number in range(1, rounds + 1):
        await place.until_warm()
        opened, claimed = await _through_the_operator(place, wallets, address)
        result.operator.append(opened)
        result.claimed.append(claimed)
        await place.until_warm()
        result.raw.append(await _raw(place, wallets, passwords))
        progress.say(f"round {number} of {rounds}: operator {result.operator[-1]:.2f} s, raw {result.raw[-1]:.2f} s")
    return result


async def _through_the_operator(place: Place, wallets: Mapping[str, Body], address: str) -> tuple[float, float]:
    """Seconds until Ready, and until the slots are claimed."""
    escrow = place.escrow("measured")
    claimed = 0.0
    start = time.monotonic()
    await escrow.apply(setup="Open", wallets=wallets, address=address)
    async for body in place.api.watch(SESSIONS, place.namespace, escrow.name):
        status = body.get("status") or {}
        if status.get("wallets") and not claimed:
            claimed = time.monotonic() - start
        if condition(status, "Ready").get("status") == "True":
            break
    opened = time.monotonic() - start
    await escrow.delete()
    return opened, claimed


async def _raw(place: Place, wallets: Mapping[str, Body], passwords: Mapping[Role, str]) -> float:
    """Seconds of three open_wallet calls to three warm slots, over connections that stand already."""
    key = (await place.read_secret(f"{POOL}-slot-login"))["key"]
    async with AsyncExitStack() as stack:
        clients: dict[Role, WalletRpc] = {}
        for pod in await place.free_slots():
            meta = pod["metadata"]
            role = Role(meta["labels"][Label.ROLE])
            url = await place.forward(stack, meta["name"])
            clients[role] = WalletRpc(url, derive_login(key, meta["uid"]))
            stack.push_async_callback(clients[role].aclose)
            await clients[role].version()
        start = time.monotonic()
        await asyncio.gather(*(clients[r].open_wallet(wallets[r.value]["file"], passwords[r]) for r in ROLES))
        taken = time.monotonic() - start
        await asyncio.gather(*(clients[role].close_wallet() for role in ROLES))
    return taken
