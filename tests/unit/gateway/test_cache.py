"""Answers that are used again."""

from __future__ import annotations

import asyncio

import pytest

from escrow_gateway.cache import Recent


class Source:
    """Something to ask; ``now`` is the cache's clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.cache: Recent[str, int] = Recent(2, 10.0, lambda: self.now)

    async def answer(self) -> int:
        self.asked += 1
        return self.asked

    async def get(self, key: str = "x") -> int:
        return await self.cache.get(key, self.answer)


async def test_an_answer_is_kept_for_its_time() -> None:
    source = Source()
    assert [await source.get(), await source.get()] == [1, 1]
    source.now = 10.0
    assert await source.get() == 2


async def test_an_answer_is_as_old_as_its_question() -> None:
    source = Source()
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        begun.set()
        await go.wait()
        return await source.answer()

    first = asyncio.create_task(source.cache.get("x", slow))
    await begun.wait()
    source.now = 9.0
    go.set()
    await first
    source.now = 10.0
    assert await source.get() == 2


async def test_who_asks_meanwhile_gets_the_same_answer_and_one_who_leaves_takes_it_from_nobody() -> None:
    source = Source()
    go = asyncio.Event()

    async def slow() -> int:
        await go.wait()
        return await source.answer()

    leaving, staying = (asyncio.create_task(source.cache.get("x", slow)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    go.set()
    assert await staying == 1
    assert source.asked == 1


async def test_an_error_is_not_kept() -> None:
    source = Source()

    async def fails() -> int:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        await source.cache.get("x", fails)
    assert await source.get() == 1


async def test_what_was_dropped_while_it_was_fetched_is_not_kept() -> None:
    source = Source()
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        begun.set()
        await go.wait()
        return await source.answer()

    early = asyncio.create_task(source.cache.get("x", slow))
    await begun.wait()
    source.cache.drop("x")
    go.set()
    assert await early == 1
    assert await source.get() == 2


async def test_the_oldest_are_forgotten() -> None:
    source = Source()
    for key in "abc":
        await source.get(key)
    assert len(source.cache) == 2
    await source.get("a")
    assert source.asked == 4
