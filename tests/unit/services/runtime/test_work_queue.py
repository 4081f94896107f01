"""The work queue: one look at a time per key, nothing lost, nobody delayed by another's failure (invariant I10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from opentelemetry.trace import get_current_span
from prometheus_client import CollectorRegistry

from escrow_operator.adapters import tracing
from escrow_operator.errors import NotLeading
from escrow_operator.services.runtime import work_queue
from escrow_operator.services.runtime.meters import Meters
from escrow_operator.services.runtime.work_queue import LEAST_DELAY, WorkQueue
from unit.spans import Spans, is_child, recorded


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded() as found:
        yield found


def served(look: Callable[[str], Awaitable[float | None]], **how: Any) -> WorkQueue[str]:
    queue: WorkQueue[str] = WorkQueue("test", meters=Meters(CollectorRegistry()), **how)
    queue.serve(look)
    return queue


async def test_many_adds_make_one_look() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def look(key: str) -> None:
        seen.append(key)
        done.set()

    queue = served(look, concurrency=2)
    for _ in range(5):
        queue.add("a")
    await done.wait()
    await asyncio.sleep(0)
    assert seen == ["a"]
    await queue.close()


async def test_a_key_added_while_it_is_looked_at_is_looked_at_again_and_never_twice_at_once() -> None:
    running = 0
    most = 0
    rounds = 0
    started, go, twice = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look(_: str) -> None:
        nonlocal running, most, rounds
        running += 1
        most = max(most, running)
        rounds += 1
        started.set()
        await go.wait()
        running -= 1
        if rounds == 2:
            twice.set()

    queue = served(look, concurrency=8)
    queue.add("a")
    await started.wait()
    queue.add("a")
    queue.add("a")
    go.set()
    await twice.wait()
    assert (most, rounds) == (1, 2)
    await queue.close()


async def test_an_earlier_look_replaces_a_later_one() -> None:
    done = asyncio.Event()

    async def look(_: str) -> None:
        done.set()

    queue = served(look, concurrency=1)
    queue.add("a", 3600)
    queue.add("a", 0)
    await asyncio.wait_for(done.wait(), 5)
    await queue.close()


async def test_i10_a_failing_key_is_tried_again_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "FIRST_DELAY", 0.001)
    tries = 0
    good, mended = asyncio.Event(), asyncio.Event()

    async def look(key: str) -> None:
        nonlocal tries
        if key == "good":
            good.set()
            return
        tries += 1
        if tries < 3:
            raise RuntimeError("not yet")
        mended.set()

    queue = served(look, concurrency=4)
    queue.add("bad")
    queue.add("good")
    await asyncio.wait_for(asyncio.gather(good.wait(), mended.wait()), 5)
    assert tries == 3
    await queue.close()


async def test_a_look_may_ask_for_the_next_one() -> None:
    rounds = 0
    done = asyncio.Event()

    async def look(_: str) -> float | None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            done.set()
            return None
        return 0.0

    queue = served(look, concurrency=1)
    queue.add("a")
    await asyncio.wait_for(done.wait(), 5)
    await queue.close()


async def test_i10_looks_that_hang_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "LONGEST_PLACE", 0.01)
    done = asyncio.Event()

    async def look(key: str) -> None:
        if key.startswith("hangs"):
            await asyncio.Event().wait()
        done.set()

    queue = served(look, concurrency=2)
    for key in ("hangs-1", "hangs-2", "well"):
        queue.add(key)
    await asyncio.wait_for(done.wait(), 5)
    await queue.close()


async def test_urgent_keys_go_first() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def look(key: str) -> None:
        seen.append(key)
        if len(seen) == 4:
            done.set()
        await asyncio.sleep(0)

    queue = served(look, concurrency=1, urgent=lambda key: key.startswith("new"))
    for key in ("old-1", "old-2", "new-1", "new-2"):
        queue.add(key)
    await asyncio.wait_for(done.wait(), 5)
    assert seen == ["old-1", "new-1", "new-2", "old-2"]
    await queue.close()


async def test_i10_a_namespace_with_thousands_of_keys_waits_for_itself() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def look(key: str) -> None:
        seen.append(key)
        if key.startswith("shop"):
            done.set()
        await asyncio.sleep(0)

    queue = served(look, concurrency=4, group=lambda key: key.partition("/")[0])
    for number in range(2_000):
        queue.add(f"flood/{number}")
    queue.add("shop/trade")
    await asyncio.wait_for(done.wait(), 5)
    assert seen.index("shop/trade") < 10
    await queue.close()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), BaseExceptionGroup("both", [asyncio.CancelledError()])])
async def test_a_handler_that_hears_of_anothers_cancellation_is_called_again(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """What it waited for was cancelled, not it: forgotten, the key of the sweep would never be looked at again."""
    monkeypatch.setattr(work_queue, "FIRST_DELAY", 0.001)
    tries = 0
    mended = asyncio.Event()

    async def look(_: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise error
        mended.set()

    queue = served(look, concurrency=1)
    queue.add("a")
    await asyncio.wait_for(mended.wait(), 5)
    await queue.close()


async def test_closing_ends_looks_that_are_under_way() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def look(_: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    queue = served(look, concurrency=1)
    queue.add("a")
    await begun.wait()
    await asyncio.wait_for(queue.close(), 5)
    assert ended.is_set()
    assert len(queue) == 0


async def test_each_look_is_a_span_with_what_it_waits_for_in_it(spans: Spans) -> None:
    done = asyncio.Event()

    async def look(key: str) -> None:
        with tracing.leaf(f"call of {key}", {}):
            await asyncio.sleep(0)
        if key == "a":
            queue.add("b")
        else:
            done.set()

    queue = served(look, concurrency=1, traced=lambda key: {"key": key})
    queue.add("a")
    await done.wait()
    await queue.close()
    assert spans.names == ["call of a", "reconcile test", "call of b", "reconcile test"]
    first, second = (span for span in spans.all if span.name == "reconcile test")
    assert (first.attributes, second.attributes) == ({"key": "a"}, {"key": "b"})
    assert is_child(spans.named("call of b"), second)
    assert first.context.trace_id != second.context.trace_id, "a look that another one asked for is a trace of its own"


async def test_a_key_that_waits_keeps_no_span_of_who_added_it(spans: Spans) -> None:
    seen = []
    done = asyncio.Event()

    async def look(_: str) -> None:
        seen.append(get_current_span())
        done.set()

    queue = served(look, concurrency=1)
    with tracing.root("work", {}) as adding:
        queue.add("a")
        assert get_current_span() is adding
    await done.wait()
    await queue.close()
    assert adding not in seen
    assert spans.names == ["work"]


async def test_a_queue_that_is_paused_takes_no_keys_and_then_those_that_come() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def look(key: str) -> None:
        seen.append(key)
        done.set()

    queue = served(look, concurrency=2)
    queue.pause()
    queue.add("before")
    await asyncio.sleep(0.01)
    queue.resume()
    queue.add("after")
    await done.wait()
    assert seen == ["after"]
    await queue.close()


async def test_what_asks_for_next_to_no_time_is_called_again_after_some() -> None:
    seen: list[str] = []

    async def look(key: str) -> float:
        seen.append(key)
        return 1e-15

    queue = served(look, concurrency=2)
    queue.add("a")
    while not queue._waiting or not seen:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    assert queue._waiting["a"].due > asyncio.get_running_loop().time() + LEAST_DELAY / 2
    await queue.close()


async def test_whoever_leads_no_longer_tries_nothing_again(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def look(key: str) -> None:
        seen.append(key)
        raise NotLeading(1)

    queue = served(look, concurrency=2)
    queue.add("a")
    while not seen or len(queue):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    assert not queue._waiting
    assert not caplog.records
    await queue.close()
