"""From a payment to the session's status: through the mempool, and through the block that has it.

The clock starts when monerod has the transaction, or the block, and ends when a client that watches the EscrowSession
sees it there. The operator runs with the intervals of its chart, not with the shorter ones of the tests.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.models.monero import format_xmr, parse_xmr
from harness.api import Body
from harness.escrow import Escrow
from harness.place import Place, remove_places
from harness.world import bring_up
from testbed import progress

from .measuring import DEFAULT_INTERVALS, Metrics, configured, operator_metrics, spread

PAYMENTS, QUICK_PAYMENTS = 25, 5
PIECE = "0.01"
AMOUNT = "100"
"""Of the session: more than all payments, so that none is the last one and each is followed like the first."""

REQUESTS = "xmr_escrow_daemon_requests_total"
SHOWN_SECONDS = 60.0
"""Until a payment that does not show counts as unseen."""

SPREAD_SECONDS = 3.0
"""Payments come at any moment between two looks of the operator, and not always just after one."""

IDLE_SECONDS, QUICK_IDLE_SECONDS = 60.0, 15.0
"""Of the window in which nothing is paid, and the operator's requests are counted."""

AIM_P95 = 2.0
AIM_REQUESTS = 3.0


class Client:
    """Watches a session, as somebody's shop does, and notes when it saw what."""

    def __init__(self) -> None:
        self._status: Body = {}
        self._seen = 0.0
        self._news = asyncio.Condition()

    async def follow(self, escrow: Escrow) -> None:
        """Watch until cancelled; a watch that the API server ends begins again."""
        while True:
            async for body in escrow.place.api.watch(SESSIONS, escrow.place.namespace, escrow.name):
                async with self._news:
                    self._status, self._seen = body.get("status") or {}, time.monotonic()
                    self._news.notify_all()

    async def sees(self, test: Callable[[Body], bool]) -> float | None:
        """Wait for a status; the moment at which it came (monotonic seconds). None when it does not come."""
        try:
            async with asyncio.timeout(SHOWN_SECONDS), self._news:
                await self._news.wait_for(lambda: test(self._status))
        except TimeoutError:
            return None
        return self._seen


@asynccontextmanager
async def watching(escrow: Escrow) -> AsyncIterator[Client]:
    """A client that watches for as long as the block lasts."""
    client = Client()
    task = asyncio.create_task(client.follow(escrow))
    try:
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(*, quick: bool) -> dict[str, Any]:
    """``mempool`` and ``block``: ``seconds`` of each payment, in order, and their ``spread`` (p50, p95, max).

    ``unseen``: payments or confirmations that did not show within a minute. ``requests_per_second`` (1/s) that monerod
    got from the operator, ``paying`` and ``idle``; None where the operator does not count them. ``intervals`` that were
    set ({}: the chart's own).
    """
    async with bring_up() as world, configured(world, intervals=DEFAULT_INTERVALS):
        await remove_places(world.api)
        place = Place(world, "bench-payment")
        await place.open()
        try:
            escrow = await place.active("paid", amount=AMOUNT)
            async with operator_metrics(world) as metrics, watching(escrow) as client:
                figures = await _payments(escrow, client, metrics, QUICK_PAYMENTS if quick else PAYMENTS)
                with progress.step("counting requests while nothing happens"):
                    idle = await _requests(metrics, QUICK_IDLE_SECONDS if quick else IDLE_SECONDS)
        finally:
            await place.close()
    figures["requests_per_second"]["idle"] = idle
    figures["intervals"] = dict(DEFAULT_INTERVALS)
    figures["aims"] = {"p95": AIM_P95, "requests_per_second": AIM_REQUESTS}
    for name in ("mempool", "block"):
        figures[name]["spread"] = spread(figures[name]["seconds"]) if figures[name]["seconds"] else {}
    return figures


def as_text(figures: Mapping[str, Any]) -> str:
    """A table for people."""
    lines = [f"{'seconds until the status shows it':40}    p50    p95    max"]
    for name, title in (("mempool", "payment in the mempool"), ("block", "payment in a block")):
        s = figures[name]["spread"]
        if s:
            lines.append(f"{title:40} {s['p50']:6.2f} {s['p95']:6.2f} {s['max']:6.2f}")
    lines.append(f"unseen: {figures['unseen']}, of {len(figures['mempool']['seconds'])} payments")
    for name, rate in figures["requests_per_second"].items():
        said = "not counted by this operator" if rate is None else f"{rate:.2f} per second"
        lines.append(f"requests to monerod, {name}: {said}")
    return "\n".join(lines)


def counts(figures: Mapping[str, Any]) -> dict[str, float]:
    """Payments that did not show, and the requests that following them cost (a count over a window)."""
    found = {"payments_unseen": float(figures["unseen"])}
    rates = [rate for rate in figures["requests_per_second"].values() if rate is not None]
    return found | ({"daemon_requests_per_second": max(rates)} if rates else {})


async def _payments(escrow: Escrow, client: Client, metrics: Metrics, number: int) -> dict[str, Any]:
    chain = escrow.place.world.chain
    address = (await escrow.status())["address"]
    mempool: list[float] = []
    block: list[float] = []
    unseen = 0
    before, start = await _asked(metrics), time.monotonic()
    for count in range(1, number + 1):
        # Making a transaction takes half a second: only sending it is on the clock.
        payment = await chain.customer.sign_payment(address, parse_xmr(PIECE))
        await asyncio.sleep(random.uniform(0, SPREAD_SECONDS))
        await chain.customer.relay(payment)
        sent = time.monotonic()
        shown = await client.sees(_received(count))
        await asyncio.sleep(random.uniform(0, SPREAD_SECONDS))
        await chain.mine(1)
        mined = time.monotonic()
        confirmed = await client.sees(_in_a_block(payment.txid))
        for moment, since, values in ((shown, sent, mempool), (confirmed, mined, block)):
            if moment is None:
                unseen += 1
            else:
                # Seen before monerod has answered the customer: at once.
                values.append(max(0.0, moment - since))
        progress.say(f"payment {count} of {number}: {mempool[-1:]}, block {block[-1:]}")
    after, seconds = await _asked(metrics), time.monotonic() - start
    rate = None if before is None or after is None else (after - before) / seconds
    return {
        "mempool": {"seconds": mempool},
        "block": {"seconds": block},
        "unseen": unseen,
        "requests_per_second": {"paying": rate},
    }


def _received(payments: int) -> Callable[[Body], bool]:
    """Whether a status shows the sum of so many."""
    total = format_xmr(payments * parse_xmr(PIECE))
    return lambda status: status.get("funding", {}).get("received") == total


def _in_a_block(txid: str) -> Callable[[Body], bool]:
    """Whether a status shows the first confirmation of a payment."""

    def test(status: Body) -> bool:
        funding = status.get("funding", {})
        return bool(funding.get("txid") == txid and funding.get("confirmations") == 1)

    return test


async def _asked(metrics: Metrics) -> float | None:
    return (await metrics.read()).value(REQUESTS)


async def _requests(metrics: Metrics, window: float) -> float | None:
    """Requests per second over a window of time."""
    before, start = await _asked(metrics), time.monotonic()
    await asyncio.sleep(window)
    after, seconds = await _asked(metrics), time.monotonic() - start
    return None if before is None or after is None else (after - before) / seconds
