"""A work queue of keys, not of events: it keeps which objects to reconcile, not what happened to them.

Each key is handled by at most one task at a time. Adding a key that waits keeps the earlier due time; adding a key that
is being handled has it handled again afterwards. A handler that raises is called again with growing delays, so one bad
object delays no other.

A queue that is paused drops keys: whoever resumes it adds all that there is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractContextManager
from typing import Generic, NamedTuple, TypeVar

from opentelemetry.trace import Span

from escrow_operator.adapters.limiter import PriorityLimiter
from escrow_operator.adapters.tracing import NO_SPAN, Attributes, outside, root
from escrow_operator.errors import NotLeading
from escrow_operator.services.runtime.gather import ends_task
from escrow_operator.services.runtime.meters import Meters

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
"""Seconds between attempts after an error: doubling from the first to the longest."""

LEAST_DELAY = 0.01
"""Seconds before a handler is called again that asked for it. What is left of an interval may come out as next to
nothing (floats), and a clock that has not moved on by then finds the same left, again and again."""

LONGEST_PLACE = 1.0
"""Seconds for which a running handler counts towards the concurrency. One that awaits little takes milliseconds."""

K = TypeVar("K", bound=Hashable)


class _Waiting(NamedTuple):
    """When a key is due. The time is kept here because not all event loops' handles have it."""

    due: float
    handle: asyncio.Handle


class WorkQueue(Generic[K]):
    """Calls its handler with a key; the handler returns the requeue delay in seconds, or None.

    ``concurrency`` handlers run at once; ``urgent`` keys go first, and each ``group`` of keys in turn. A handler that
    takes long, such as one waiting for a hanging server, makes room for others after ``LONGEST_PLACE``. With
    ``traced``, which gives the attributes for a key, each call of the handler is a span.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int,
        meters: Meters,
        urgent: Callable[[K], bool] = lambda _: False,
        group: Callable[[K], str] = lambda _: "",
        traced: Callable[[K], Attributes] | None = None,
    ) -> None:
        self._span_name = f"reconcile {name}"
        self._traced = traced
        self._log = logging.getLogger(f"{__name__}.{name}")
        self._wait, self._work = meters.queue_wait.labels(queue=name), meters.queue_work.labels(queue=name)
        self._handler: Callable[[K], Awaitable[float | None]] | None = None
        self._urgent = urgent
        self._group = group
        self._places = PriorityLimiter(concurrency)
        self._waiting: dict[K, _Waiting] = {}
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._closed = False
        self._paused = False

    def serve(self, handler: Callable[[K], Awaitable[float | None]]) -> None:
        """Call ``handler`` from now on; keys may be added before."""
        self._handler = handler

    def add(self, key: K, delay: float = 0.0) -> None:
        """Requeue a key, to be due in ``delay`` seconds; an earlier due time stays."""
        if self._closed or self._paused:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        waiting = self._waiting.get(key)
        if waiting is not None:
            if waiting.due <= due:
                return
            waiting.handle.cancel()
        # The loop keeps the present context until then: a key that waits for hours must not keep a span of today.
        with outside():
            self._waiting[key] = _Waiting(due, loop.call_at(due, self._due, key, due))

    def __len__(self) -> int:
        return len(self._tasks)

    def pause(self) -> None:
        """Take no keys until ``resume``; for a queue that has none yet."""
        self._paused = True

    def resume(self) -> None:
        """Take keys, and call the handler with them."""
        self._paused = False

    async def close(self) -> None:
        """Stop; handlers that run are cancelled (all state is in the cluster, invariant I7)."""
        self._closed = True
        for waiting in self._waiting.values():
            waiting.handle.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _due(self, key: K, due: float) -> None:
        self._waiting.pop(key, None)
        if key in self._tasks:
            self._again.add(key)
            return
        self._tasks[key] = asyncio.get_running_loop().create_task(self._run(key, due))

    def _span(self, key: K) -> AbstractContextManager[Span]:
        return NO_SPAN if self._traced is None else root(self._span_name, self._traced(key))

    async def _run(self, key: K, due: float) -> None:
        delay: float | None = None
        try:
            async with self._places.turn(urgent=self._urgent(key), longest=LONGEST_PLACE, group=self._group(key)):
                self._wait.observe(asyncio.get_running_loop().time() - due)
                assert self._handler is not None  # noqa: S101 - served before the event loop goes on
                with self._span(key), self._work.time():
                    delay = await self._handler(key)
            self._failures.pop(key, None)
        except NotLeading:
            # Whoever leads now looks at all there is.
            return
        except BaseException as error:
            if ends_task(error):
                raise
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_DELAY * 2 ** (failures - 1), LONGEST_DELAY)
            self._log.warning("%s: %s; next attempt in %g s", key, error, delay, exc_info=failures == 1)
        finally:
            self._tasks.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif delay is not None:
            self.add(key, max(delay, LEAST_DELAY))
