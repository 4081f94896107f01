"""Of several calls none is left running, and what must go on for ever ends for its own cancellation only."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from escrow_operator.services.runtime.gather import both, ends_task, gather_all


async def gives(value: int) -> int:
    return value


async def fails(error: BaseException) -> NoReturn:
    raise error


class Slow:
    """A call that is under way until it is told to end."""

    def __init__(self) -> None:
        self.ended = False
        self.begun = asyncio.Event()

    async def __call__(self) -> int:
        self.begun.set()
        for _ in range(5):
            await asyncio.sleep(0)
        self.ended = True
        return 1


async def test_results_come_in_the_order_of_the_calls() -> None:
    assert await gather_all(gives(number) for number in range(5)) == [0, 1, 2, 3, 4]
    assert await gather_all([]) == []
    assert await both(gives(1), gives(2)) == (1, 2)


async def test_an_error_is_raised_after_the_others_have_ended() -> None:
    """A wallet must not be opened after its session was told that opening failed."""
    for failing in (0, 1):
        slow = Slow()
        calls = [slow(), fails(RuntimeError("it fails"))]
        with pytest.raises(RuntimeError, match="it fails"):
            await gather_all(calls[::-1] if failing else calls)
        assert slow.ended
    slow = Slow()
    with pytest.raises(RuntimeError):
        await both(fails(RuntimeError("it fails")), slow())
    assert slow.ended
    slow = Slow()
    with pytest.raises(RuntimeError):
        await both(slow(), fails(RuntimeError("it fails")))
    assert slow.ended


async def test_of_several_errors_the_first_in_order_is_raised() -> None:
    with pytest.raises(KeyError):
        await gather_all([gives(1), fails(KeyError("first")), fails(ValueError("second"))])
    with pytest.raises(KeyError):
        await both(fails(KeyError("first")), fails(ValueError("second")))


async def test_who_is_cancelled_ends_his_calls() -> None:
    slow = Slow()

    async def hangs() -> int:
        await slow()
        return await asyncio.Event().wait() or 0

    task = asyncio.create_task(gather_all([hangs()]))
    await slow.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(10):
        await asyncio.sleep(0)
    assert not slow.ended, "it was left running"


async def caught(error: BaseException) -> bool:
    """What a task says of an error that it caught."""
    return ends_task(error)


async def test_somebody_elses_cancellation_ends_no_task() -> None:
    other = asyncio.create_task(asyncio.Event().wait())
    other.cancel()
    ends = None
    try:
        await other
    except asyncio.CancelledError as error:
        ends = ends_task(error)
    assert ends is False


async def test_a_tasks_own_cancellation_does() -> None:
    said: list[bool] = []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            said.append(ends_task(error))
            raise

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said == [True]


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (KeyboardInterrupt(), True),
        (SystemExit(1), True),
        (GeneratorExit(), True),
        (RuntimeError("a defect"), False),
        (BaseExceptionGroup("both", [asyncio.CancelledError()]), False),
    ],
)
async def test_the_process_may_be_ended_and_a_defect_ends_nothing(error: BaseException, ends: bool) -> None:
    assert await caught(error) is ends
