"""The old way against sessions: what a server pays that opens the wallets for each operation and closes them again.

Both sides do the same calls on wallets of the same kind, in pods of the same image, through the same kind of
connection, in turns. The old way opens the three wallets of the escrow one after the other for every RPC, brings each
up to date, does the RPC, and closes them. In a session they are open, and the operator keeps them up to date: what
remains is the RPC. The variants that are kinder to the old way, or harder on the session, stand beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.answer import Answer
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import parse_xmr
from harness.escrow import AMOUNT, Escrow
from harness.place import Place, remove_places
from harness.waiting import wait_for
from harness.world import bring_up
from regtest.calls import transfer_by_txid, version
from regtest.payout import Platform
from testbed import progress

from .measuring import raw_slots, summary, timed
from .opening import Wallets, apply_until_ready, make_wallets

ROUNDS, QUICK_ROUNDS = 10, 2
PAYOUT_ROUNDS, QUICK_PAYOUT_ROUNDS = 5, 1
PAYOUT = "0.01"
LOCK_BLOCKS = 10

OPERATIONS: Mapping[str, float | None] = {
    "balance": 0.98,
    "balance, one wallet opened": None,
    "balance, refreshed first": None,
    "balance, from the status": None,
    "confirmations": 0.98,
    "confirmations, monerod asked first": None,
    "confirmations, from the status": None,
    "release": 0.80,
    "release, opened once": None,
    "session init": None,
}
"""The operations with the reduction of time that is aimed at."""

Slots = Mapping[Role, WalletRpc]


@dataclass(frozen=True)
class OldWay:
    """A server with existing wallets and a wallet-rpc that has none of them open."""

    slots: Slots
    wallets: Wallets

    @asynccontextmanager
    async def opened(self, roles: Sequence[Role]) -> AsyncIterator[None]:
        """Open these wallets one after the other, each brought up to date; closed one after the other at the end."""
        for role in roles:
            await self.slots[role].open_wallet(self.wallets.spec[role.value]["file"], self.wallets.passwords[role])
            await self.slots[role].refresh()
        yield
        for role in roles:
            await self.slots[role].close_wallet()

    async def balance(self, roles: Sequence[Role]) -> None:
        """What the escrow holds."""
        async with self.opened(roles):
            await self.slots[roles[0]].balance()

    async def confirmations(self, confirmed: Callable[[WalletRpc, str], Awaitable[None]], txid: str) -> None:
        """How deep the payment is, by ``confirmed``."""
        async with self.opened(ROLES):
            await confirmed(self.slots[ROLES[0]], txid)

    async def release(self, address: str) -> None:
        """Two of the three pay out; the three are opened for each RPC of it."""
        turn = asyncio.Lock()
        vendor, arbiter = (_EachTime(self, role, turn) for role in (Role.VENDOR, Role.ARBITER))
        await Platform(vendor, arbiter).pay(address, parse_xmr(PAYOUT))

    async def release_opened_once(self, address: str) -> None:
        """The same, with the three opened for all of it together."""
        async with self.opened(ROLES):
            await Platform(self.slots[Role.VENDOR], self.slots[Role.ARBITER]).pay(address, parse_xmr(PAYOUT))

    async def init(self) -> None:
        """Open the three, and see whether they are those of this escrow."""
        async with self.opened(ROLES):
            addresses = [await self.slots[role].address() for role in ROLES]
        assert set(addresses) == {self.wallets.address}


class _EachTime(WalletRpc):
    """A wallet whose every call opens the three wallets of the escrow and closes them."""

    def __init__(self, old: OldWay, role: Role, turn: asyncio.Lock) -> None:
        super().__init__("http://unused", None)
        self._old = old
        self._role = role
        self._turn = turn

    async def call(self, method: str, params: Mapping[str, object], deadline: float) -> Answer:
        async with self._turn, self._old.opened(ROLES):
            return await self._old.slots[self._role].call(method, params, deadline)

    async def refresh(self, **_: float) -> int:
        """Nothing: opening does it each time."""
        return 0


class Rounds:
    """Seconds of each operation, old way and session, in the order they were measured."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, list[float]]] = {name: {"old": [], "session": []} for name in OPERATIONS}

    async def measure(self, operation: str, side: str, work: Awaitable[object]) -> None:
        """Take the time of one."""
        self.seconds[operation][side].append(await timed(work))

    def same(self, operation: str, side: str, as_of: str) -> None:
        """Compare with the newest time that was taken of another operation."""
        self.seconds[operation][side].append(self.seconds[as_of][side][-1])


async def measure(*, quick: bool) -> dict[str, Any]:
    """``operations``: for each, ``seconds`` of all rounds of both sides (old, session), their ``summary``,
    ``reduction`` = 1 − session / old by the medians, and the ``aim`` for it (None: none).
    ``pods_replaced``: pods of the session that are not those it began with.
    """
    async with bring_up() as world:
        await remove_places(world.api)
        place = Place(world, "bench-oldway")
        await place.open()
        try:
            rounds = Rounds()
            replaced = await _measure(place, rounds, quick=quick)
        finally:
            await place.close()
    figures: dict[str, Any] = {"operations": {}, "pods_replaced": replaced}
    for name, aim in OPERATIONS.items():
        seconds = rounds.seconds[name]
        medians = {side: summary(values) for side, values in seconds.items()}
        figures["operations"][name] = {
            "seconds": seconds,
            "summary": medians,
            "reduction": 1 - medians["session"]["median"] / medians["old"]["median"],
            "aim": aim,
        }
    return figures


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = [f"{'seconds (median, min … max)':32} {'old way':>24} {'session':>24}  reduction   aim"]
    for name, found in figures["operations"].items():
        old, session = (found["summary"][side] for side in ("old", "session"))
        texts = [f"{s['median']:.3f} ({s['min']:.3f} … {s['max']:.3f})" for s in (old, session)]
        aim = "" if found["aim"] is None else f"{found['aim']:.0%}"
        lines.append(f"{name:32} {texts[0]:>24} {texts[1]:>24}  {found['reduction']:8.2%}  {aim:>5}")
    return "\n".join(lines)


def counts(figures: Mapping[str, Any]) -> dict[str, float]:
    """Pods that operations cost the session."""
    return {"pods_replaced": figures["pods_replaced"]}


async def _measure(place: Place, rounds: Rounds, *, quick: bool) -> int:
    """All operations, in turns; how many pods of the session were replaced."""
    chain = place.world.chain
    with progress.step("making the wallets"):
        wallets = await make_wallets(place)
        paid = (await chain.pay(wallets.address, AMOUNT)).txid
        await chain.mine(LOCK_BLOCKS)
    for number in range(QUICK_ROUNDS if quick else ROUNDS):
        await place.until_warm()
        opened, _ = await apply_until_ready(place, wallets)
        rounds.seconds["session init"]["session"].append(opened)
        await place.until_warm()
        async with raw_slots(place) as slots:
            await rounds.measure("session init", "old", OldWay(slots, wallets).init())
        progress.say(f"session init, round {number + 1}")
    escrow = await place.active("in-a-session")
    txid = (await chain.pay((await escrow.status())["address"], AMOUNT)).txid
    await chain.mine(LOCK_BLOCKS)
    await _until_spendable(escrow)
    before = {pod["metadata"]["uid"] for pod in await escrow.pods()}
    async with raw_slots(place) as slots, escrow.wallets() as open_ones:
        old = OldWay(slots, wallets)
        # Both sides stand ready: the session's connections have their login too.
        await asyncio.gather(*(version(open_ones[role]) for role in ROLES))
        for number in range(QUICK_ROUNDS if quick else ROUNDS):
            await _reads(rounds, old, open_ones, escrow, {"old": paid, "session": txid})
            progress.say(f"reads, round {number + 1}")
        for number in range(QUICK_PAYOUT_ROUNDS if quick else PAYOUT_ROUNDS):
            await _releases(rounds, old, open_ones, escrow)
            progress.say(f"release, round {number + 1}")
    return len(before - {pod["metadata"]["uid"] for pod in await escrow.pods()})


async def _reads(rounds: Rounds, old: OldWay, open_ones: Slots, escrow: Escrow, txids: Mapping[str, str]) -> None:
    """A round of balance and confirmation checks."""
    # The one that the operator keeps at the chain's height.
    wallet = open_ones[Role.ARBITER]
    await rounds.measure("balance", "old", old.balance(ROLES))
    await rounds.measure("balance", "session", wallet.balance())
    await rounds.measure("balance, one wallet opened", "old", old.balance(ROLES[:1]))
    await rounds.measure("balance, one wallet opened", "session", wallet.balance())
    await rounds.measure("balance, refreshed first", "session", _refreshed(wallet))
    await rounds.measure("balance, from the status", "session", _balance_of(escrow))
    await rounds.measure("confirmations", "old", old.confirmations(_confirmed, txids["old"]))
    await rounds.measure("confirmations", "session", _confirmed(wallet, txids["session"]))
    await rounds.measure(
        "confirmations, monerod asked first", "old", old.confirmations(_confirmed_by_txid, txids["old"])
    )
    await rounds.measure("confirmations, monerod asked first", "session", _confirmed_by_txid(wallet, txids["session"]))
    await rounds.measure("confirmations, from the status", "session", _confirmations_of(escrow))
    for name in ("balance, refreshed first", "balance, from the status", "confirmations, from the status"):
        rounds.same(name, "old", name.partition(",")[0])


async def _releases(rounds: Rounds, old: OldWay, open_ones: Slots, escrow: Escrow) -> None:
    """Payouts on each side; afterwards both can spend again."""
    chain = escrow.place.world.chain
    platform = Platform(open_ones[Role.VENDOR], open_ones[Role.ARBITER])
    for name, release in (("release", old.release), ("release, opened once", old.release_opened_once)):
        await rounds.measure(name, "old", release(chain.customer.address))
        if name == "release":
            await rounds.measure(name, "session", platform.pay(chain.customer.address, parse_xmr(PAYOUT)))
        else:
            rounds.same(name, "session", "release")
        await chain.mine(LOCK_BLOCKS)
        await _until_spendable(escrow)


async def _refreshed(wallet: WalletRpc) -> None:
    await wallet.refresh()
    await wallet.balance()


async def _confirmed(wallet: WalletRpc, txid: str) -> None:
    """``get_transfers`` of what was mined: answered by the wallet alone, as of the block it is at."""
    transfer = next(t for t in await wallet.transfers(incoming=True) if t.txid == txid)
    assert transfer.confirmations


async def _confirmed_by_txid(wallet: WalletRpc, txid: str) -> None:
    """``get_transfer_by_txid``, for which wallet-rpc asks monerod for its mempool first."""
    transfer = await transfer_by_txid(wallet, txid)
    assert transfer is not None
    assert transfer.integer("confirmations", 0)


async def _balance_of(escrow: Escrow) -> None:
    """One GET of the object, as a client of the API does it."""
    assert (await escrow.status())["balance"]["total"]


async def _confirmations_of(escrow: Escrow) -> None:
    assert (await escrow.status())["funding"]["confirmations"]


async def _until_spendable(escrow: Escrow) -> None:
    """Wait until the operator has read the newest block: its export would spoil a payout that is under way."""
    height = await escrow.place.world.chain.daemon.height()

    async def read() -> bool:
        pool, status = await escrow.place.pool(), await escrow.status()
        return (
            pool.get("daemon", {}).get("height") == height
            and "balance" in status
            and status["balance"]["blocksToUnlock"] == 0
            and parse_xmr(status["balance"]["unlocked"]) > 0
        )

    await wait_for(read, what=f"{escrow.name} to be spendable", explain=escrow.explain)
