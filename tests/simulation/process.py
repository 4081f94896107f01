"""One operator process: what it has running, and the moment at which it is killed."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


READS = frozenset(
    {
        "get_address",
        "get_attribute",
        "get_balance",
        "get_height",
        "get_transfers",
        "get_version",
        "incoming_transfers",
        "is_multisig",
        "refresh",
    }
)
"""Calls to wallets that change nothing which another process could see."""


class CrashPoint(NamedTuple):
    """The process is killed at its n-th step (from 0): before it happens, or after, with the answer lost."""

    step: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} step {self.step}"


Dies = Callable[[CrashPoint], bool]
"""Asked at every moment at which a process may be killed."""


class Process:
    """Steps are writes to the API server and calls to wallets: what another process could see of this one.

    They are appended to ``steps``, which processes of one world may share.
    """

    def __init__(self, name: str, dies: Dies = lambda _: False, steps: list[str] | None = None) -> None:
        self.name = name
        self.steps = [] if steps is None else steps
        self.dead = False
        self.paused = False
        self.ended = asyncio.Event()
        self._dies = dies
        self._tasks: set[asyncio.Task[Any]] = set()
        self._held_back: list[Callable[[], object]] = []

    def pause(self) -> None:
        """SIGSTOP, or a machine that stands still: nothing of it runs, while the time passes. See ``let_pause``."""
        self.paused = True

    def go_on(self) -> None:
        """SIGCONT: what came due meanwhile runs in its order."""
        self.paused = False
        held_back, self._held_back = self._held_back, []
        for callback in held_back:
            callback()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as a part of this process: all tasks that it makes are, too."""
        context = contextvars.copy_context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    @asynccontextmanager
    async def step(self, what: str) -> AsyncIterator[None]:
        """Around what another process could see; it may be killed before, and after with the answer (or error) lost."""
        self._must_live()
        number = len(self.steps)
        self.steps.append(what)
        await self._may_die(CrashPoint(number, after=False))
        try:
            yield
        finally:
            # After what only reads it is as before the next step.
            if what.split(maxsplit=1)[0] not in READS:
                await self._may_die(CrashPoint(number, after=True))
        self._must_live()

    def reads(self) -> None:
        """A request that changes nothing."""
        self._must_live()

    def end(self) -> None:
        """It ends: from now on nothing of it is sent. Whoever waits for that has yet to kill what is left."""
        self.dead = True
        self.ended.set()

    async def kill(self) -> None:
        """SIGKILL: nothing more is sent, not even by what cleans up."""
        self.dead = True
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _may_die(self, point: CrashPoint) -> None:
        if not self._dies(point):
            return
        self.end()
        await asyncio.Event().wait()

    def _must_live(self) -> None:
        if self.dead:
            raise asyncio.CancelledError


def spawn_apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run something that belongs to no process: what a request sets going outlives who sent it."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


def let_pause(loop: asyncio.AbstractEventLoop) -> None:
    """From now on no callback of a process runs while it is paused, whatever it came from: a timer, or an answer."""
    call_soon, call_at = loop.call_soon, loop.call_at

    def held(schedule: Callable[..., asyncio.Handle], callback: Callable[..., Any], args: Any, context: Any) -> Any:
        context = contextvars.copy_context() if context is None else context
        process = context.get(_CURRENT)
        if process is None:
            return schedule(callback, *args, context=context)
        mine: list[asyncio.Handle] = []

        def run(*given: Any) -> None:
            if not process.paused:
                callback(*given)
                return

            def if_still_wanted() -> None:
                # What ran before it may have cancelled it.
                if not mine[0].cancelled():
                    callback(*given)

            process._held_back.append(functools.partial(loop.call_soon, if_still_wanted, context=context))

        mine.append(schedule(run, *args, context=context))
        return mine[0]

    def soon(callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return held(call_soon, callback, args, context)

    def at(when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return held(functools.partial(call_at, when), callback, args, context)

    for name, instead in (("call_soon", soon), ("call_at", at)):
        setattr(loop, name, instead)


def task_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """Notes to which process a task belongs; those of a dead one begin nothing."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context = options.get("context")
    process = context.get(_CURRENT) if context is not None else _CURRENT.get()
    if process is not None:
        process._tasks.add(task)
        task.add_done_callback(process._tasks.discard)
        if process.dead:
            task.cancel()
    return task
