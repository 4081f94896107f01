"""What a wallet's questions to monerod take over plain HTTP and over TLS: the same calls, in turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.common import Role
from harness.place import POOL, Place, remove_places
from harness.secured import LOGIN, identify, log_in, own_monerod, plain_daemon, secured_daemon, vouch
from harness.world import World, bring_up
from regtest.calls import transfer_by_txid, version
from testbed import progress

from .measuring import raw_slots, summary, timed
from .opening import Wallets, make_wallets

ROUNDS, QUICK_ROUNDS = 30, 2

LINKS = {"plain": "plain HTTP", "tls": "TLS", "identified": "TLS, certificate given"}
"""The ways to monerod; in the last one wallets are given a certificate to show."""

CALLS: Mapping[str, Callable[[WalletRpc, str], Awaitable[object]]] = {
    "get_balance": lambda wallet, _: wallet.balance(),
    "get_transfers (in)": lambda wallet, _: wallet.transfers(incoming=True),
    "get_transfers (in, pool)": lambda wallet, _: wallet.transfers(incoming=True, pool=True),
    "get_transfer_by_txid": transfer_by_txid,
    "refresh": lambda wallet, _: wallet.refresh(),
}

OPEN = "open_wallet"


@dataclass(frozen=True)
class _Side:
    """An open wallet with a payment, a slot with none, and wallets for it."""

    wallet: WalletRpc
    txid: str
    slot: WalletRpc
    wallets: Wallets


async def measure(*, quick: bool) -> dict[str, Any]:
    """``calls``: for each, ``seconds`` of all rounds over each of the ``LINKS``, and their ``summary``."""
    seconds: dict[str, dict[str, list[float]]] = {name: {link: [] for link in LINKS} for name in (*CALLS, OPEN)}
    async with bring_up() as world:
        await remove_places(world.api)
        async with AsyncExitStack() as stack:
            with progress.step("three monerods, and a session with each"):
                sides = {link: await stack.enter_async_context(_side(world, link)) for link in LINKS}
            rounds = QUICK_ROUNDS if quick else ROUNDS
            for number in range(rounds):
                for link, side in sides.items():
                    await _round(side, {name: of[link] for name, of in seconds.items()})
                progress.say(f"round {number + 1} of {rounds}")
    return {
        "calls": {
            name: {"seconds": of, "summary": {link: summary(values) for link, values in of.items()}}
            for name, of in seconds.items()
        }
    }


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = [f"{'ms (median, min … max)':28}" + "".join(f"{title:>27}" for title in LINKS.values())]
    for name, found in figures["calls"].items():
        cells = [found["summary"][link] for link in LINKS]
        texts = [f"{s['median'] * 1e3:.1f} ({s['min'] * 1e3:.1f} … {s['max'] * 1e3:.1f})" for s in cells]
        lines.append(f"{name:28}" + "".join(f"{text:>27}" for text in texts))
    return "\n".join(lines)


def counts(_: Mapping[str, Any]) -> dict[str, float]:
    """None: all that is measured here are seconds."""
    return {}


@asynccontextmanager
async def _side(world: World, link: str) -> AsyncIterator[_Side]:
    secured, identified = link != "plain", link == "identified"
    place = Place(world, f"bench-{link}")
    await place.open(warm_slots=None)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(place.close)
        monerod = await stack.enter_async_context(own_monerod(place, secured=secured))
        if secured:
            await vouch(place, POOL, monerod.authority)
            await identify(place, POOL, monerod.authority)
            await log_in(place, POOL, LOGIN.password)
            await place.make_pool(daemon=secured_daemon(POOL, monerod.address, identified=identified))
        else:
            await place.make_pool(daemon=plain_daemon(monerod.address))
        wallets = await make_wallets(place)
        escrow = await place.active("asking")
        await monerod.daemon.generate_blocks((await escrow.status())["address"], 1)
        await escrow.until(lambda s: float((s.get("balance") or {}).get("total", "0")) > 0, "a balance")
        open_ones = await stack.enter_async_context(escrow.wallets(Role.ARBITER))
        slots = await stack.enter_async_context(raw_slots(place))
        wallet = open_ones[Role.ARBITER]
        txid = (await wallet.transfers(incoming=True))[0].txid
        yield _Side(wallet, txid, slots[Role.ARBITER], wallets)


async def _round(side: _Side, seconds: Mapping[str, list[float]]) -> None:
    # The first call after a pause pays for a login challenge.
    await version(side.wallet)
    for name, call in CALLS.items():
        seconds[name].append(await timed(call(side.wallet, side.txid)))
    file, password = side.wallets.spec[Role.ARBITER.value]["file"], side.wallets.passwords[Role.ARBITER]
    seconds[OPEN].append(await timed(side.slot.open_wallet(file, password)))
    await side.slot.close_wallet()
