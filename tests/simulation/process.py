"""One operator process: what it has running, and the moment at which it is killed."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


READS = frozenset(
    {"get_address", "get_height", "get_transfers", "get_version", "incoming_transfers", "is_multisig", "refresh"}
)
"""Calls to wallets that change nothing which another process could see."""


class CrashPoint(NamedTuple):
    """The process is killed at its n-th step (from 0): before it happens, or after, with the answer lost."""

    step: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} step {self.step}"


class Process:
    """Steps are writes to the API server and calls to wallets: what another process could see of this one."""

    def __init__(self, name: str, crash: CrashPoint | None = None) -> None:
        self.name = name
        self.steps: list[str] = []
        self.dead = False
        self.crashed = asyncio.Event()
        self._crash = crash
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as a part of this process: all tasks that it makes are, too."""
        context = contextvars.copy_context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def before(self, what: str) -> None:
        """A step is about to happen: the process may die of it first."""
        self._must_live()
        self.steps.append(what)
        if self._crash == CrashPoint(len(self.steps) - 1, False):
            await self._die()

    async def after(self, step: int) -> None:
        """A step has happened, and nothing was heard of it yet."""
        if self._crash == CrashPoint(step, True):
            await self._die()
        self._must_live()

    def reads(self) -> None:
        """A request that changes nothing."""
        self._must_live()

    async def kill(self) -> None:
        """SIGKILL: nothing more is sent, not even by what cleans up."""
        self.dead = True
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _die(self) -> None:
        self.dead = True
        self.crashed.set()
        await asyncio.Event().wait()

    def _must_live(self) -> None:
        if self.dead:
            raise asyncio.CancelledError


def spawn_apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run something that belongs to no process: what a request sets going outlives who sent it."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


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


def crash_points(steps: Sequence[str], *, begin: int = 0) -> list[CrashPoint]:
    """Before and after each step; after what only read it is as before the next."""
    points = []
    for number, step in enumerate(steps[begin:], begin):
        points += [CrashPoint(number, after) for after in (False, True) if not after or step.split()[0] not in READS]
    return points
