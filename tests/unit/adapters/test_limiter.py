"""Claims go before what can wait, and nothing waits for ever."""

from __future__ import annotations

import asyncio

from escrow_operator.adapters.limiter import URGENT_OF, PriorityLimiter


class Bench:
    def __init__(self, limit: int) -> None:
        self.turns = PriorityLimiter(limit)
        self.order: list[str] = []
        self.most = 0
        self._now = 0

    async def ask(self, name: str, *, urgent: bool = False, group: str = "") -> None:
        async with self.turns.turn(urgent=urgent, group=group):
            self.order.append(name)
            self._now += 1
            self.most = max(self.most, self._now)
            await asyncio.sleep(0)
            self._now -= 1


async def test_no_more_than_the_limit_at_once_and_in_order() -> None:
    bench = Bench(3)
    await asyncio.gather(*(bench.ask(str(n)) for n in range(10)))
    assert bench.most == 3
    assert bench.order == [str(n) for n in range(10)]


async def test_the_urgent_go_first_and_the_others_get_a_share() -> None:
    bench = Bench(1)
    patient = [bench.ask(f"p{n}") for n in range(4)]
    urgent = [bench.ask(f"u{n}", urgent=True) for n in range(9)]
    await asyncio.gather(*patient, *urgent)
    first, rest = bench.order[0], bench.order[1:]
    assert first == "p0", "it came when nobody waited"
    for begin in range(0, 9, URGENT_OF):
        assert sum(name.startswith("p") for name in rest[begin : begin + URGENT_OF]) == 1
    assert [name for name in rest if name.startswith("u")] == [f"u{n}" for n in range(9)]


async def test_who_gives_up_costs_nobody_a_turn() -> None:
    bench = Bench(1)
    holding = asyncio.Event()

    async def hold() -> None:
        async with bench.turns.turn(urgent=False):
            await holding.wait()

    holder = asyncio.create_task(hold())
    waiting = [asyncio.create_task(bench.ask(name)) for name in ("gone", "stays")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    holding.set()
    await asyncio.gather(holder, *waiting, return_exceptions=True)
    assert bench.order == ["stays"]
    await bench.ask("later")
    assert bench.order == ["stays", "later"]


async def test_a_turn_given_to_one_who_gives_up_at_that_moment_is_passed_on() -> None:
    bench = Bench(1)
    holding = asyncio.Event()

    async def hold() -> None:
        async with bench.turns.turn(urgent=False):
            await holding.wait()
        waiting.cancel()  # its turn was given a line ago

    holder = asyncio.create_task(hold())
    waiting = asyncio.create_task(bench.ask("gone"))
    await asyncio.sleep(0)
    holding.set()
    await asyncio.gather(holder, waiting, return_exceptions=True)
    await asyncio.wait_for(bench.ask("later"), 1)
    assert bench.order == ["later"]


async def test_i10_a_namespace_that_floods_waits_for_itself() -> None:
    bench = Bench(1)
    flood = [bench.ask(f"f{n}", urgent=True, group="flood") for n in range(1_000)]
    others = [bench.ask(name, urgent=True, group=name) for name in ("shop", "bank")]
    shop = bench.ask("shop again", urgent=True, group="shop")
    await asyncio.gather(*flood, *others, shop)
    assert {bench.order.index(name) for name in ("shop", "bank", "shop again")} == {2, 3, 5}
    assert [name for name in bench.order if name.startswith("f")] == [f"f{n}" for n in range(1_000)]
