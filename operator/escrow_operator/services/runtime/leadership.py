"""Campaigns for the Lease, holds it, and says when to act and when not.

A loop of its own, and not the Kubernetes client's: that one counts by the wall clock, goes on renewing when what leads
has died, and never releases. Nor kopf's peering, which is no election (kopf#1266).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from typing import Protocol

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError
from escrow_operator.adapters.lease import Lease
from escrow_operator.adapters.predecessors import Predecessors
from escrow_operator.core.leadership import Observed, Timing, holds_until, observe, seconds_to_wait, taken
from escrow_operator.services.runtime.gather import ends_task
from escrow_operator.services.runtime.meters import LeaderMeters

_LOG = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.05
"""Seconds between two looks, however soon the lease may be free."""

RENEWALS_PER_LOOK = 5
"""Whether others act without the lease, by a rollback say, is looked at with each fifth renewal."""

SILENCE_SECONDS = 60.0
"""Seconds without a step of the loop after which it counts as dead; each of its requests has a deadline."""


class Led(Protocol):
    """What leads, term by term."""

    @property
    def fence(self) -> Fence:
        """That of the next term, or of the present one."""

    async def lead(self) -> None:
        """Begin to act; returns when all work is under way. It is cancelled when the term ends before that."""

    async def rest(self) -> None:
        """End all work of the term, and be ready for another one, with another fence."""


class Leadership:
    """One candidate. ``start`` it once, and ``stop`` it to hand over."""

    def __init__(
        self, lease: Lease, predecessors: Predecessors, timing: Timing, led: Led, *, clock: Clock, meters: LeaderMeters
    ) -> None:
        self._lease = lease
        self._predecessors = predecessors
        self._waits_for: list[str] = []
        self._timing = timing
        self._led = led
        self._clock = clock
        self._meters = meters
        self._observed: Observed | None = None
        self._stepped = clock.uptime()
        self._answered = -math.inf
        self._is_away = False
        self._ours: int | None = None
        """The last term that may still be in the Lease: asked for, and not known to be somebody else's by now."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to campaign."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End all work, and release the lease if it is held."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # Nobody would lead until this lease runs out.
        await self._release()

    @property
    def is_alive(self) -> bool:
        """Whether the loop goes on."""
        if self._task is None or self._task.done():
            return False
        return self._clock.uptime() - self._stepped < max(SILENCE_SECONDS, 2 * self._timing.lease)

    @property
    def is_fresh(self) -> bool:
        """Whether the API server has answered about the lease of late."""
        return self._clock.uptime() - self._answered < 2 * self._timing.lease

    async def _run(self) -> None:
        while True:
            try:
                await self._campaign()
                if not await self._reign():
                    continue
            except BaseException as error:
                if ends_task(error):
                    raise
                _LOG.exception("this process leaves the lease to others")
                self._led.fence.close()
                await self._led.rest()
            # One that could not begin lets others try.
            await asyncio.sleep(2 * self._timing.retry)

    async def _campaign(self) -> None:
        """Returns when the fence is open."""
        while True:
            self._stepped = self._clock.uptime()
            wait = self._timing.retry
            try:
                async with asyncio.timeout(self._timing.patience):
                    wait = await self._try()
                self._hear()
            except ConflictError:
                # Somebody was faster; the next look tells who.
                self._ours = None
                self._hear()
            except (KubeError, TimeoutError) as error:
                self._miss(error)
            if wait <= 0:
                return
            await asyncio.sleep(max(SHORTEST_PAUSE, min(wait, self._timing.retry)))

    async def _try(self) -> float:
        """Take the lease if it may be taken; returns the seconds to wait, 0 when it was taken. Raises KubeError."""
        found = await self._lease.read()
        now = self._clock.uptime()
        self._observed = observe(self._observed, found, me=self._lease.identity, now=now, lease=self._timing.lease)
        wait = seconds_to_wait(self._observed, now=now)
        if wait > 0:
            return wait
        if await self._has_predecessors():
            return self._timing.retry
        now = self._clock.uptime()
        term = self._ours = self._observed.term + 1
        await self._lease.take(found, term)
        self._observed = taken(self._observed, term)
        # Counted from before it was sent: the answer may have come late.
        self._led.fence.open(term, holds_until(now, self._timing))
        return 0.0

    async def _has_predecessors(self) -> bool:
        """Whether others act without any lease. Raises KubeError."""
        found = await self._predecessors.running()
        if found and found != self._waits_for:
            _LOG.info("this process waits for operators of a version without a lease to end: %s", ", ".join(found))
        self._waits_for = found
        return bool(found)

    async def _reign(self) -> bool:
        """Lead until that is over; returns whether it was given up."""
        fence = self._led.fence
        _LOG.info("this process leads, term %d", fence.term)
        self._meters.leader.set(1)
        self._meters.transitions.inc()
        leading = asyncio.create_task(self._led.lead())
        is_ours = True
        try:
            is_ours = await self._hold(fence, leading)
            # From here on nothing more is begun. Who is stopped instead has the time to end in order.
            fence.close()
        finally:
            self._meters.leader.set(0)
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)
            try:
                await self._led.rest()
            finally:
                fence.close()
            if is_ours:
                await self._release()
        return is_ours

    async def _hold(self, fence: Fence, leading: asyncio.Task[None]) -> bool:
        """Renew the lease for as long as that succeeds in time; returns whether it is given up: it is ours still."""
        for number in itertools.count():
            await self._rest_a_while(fence, leading)
            self._stepped = self._clock.uptime()
            if leading.done() and (error := _failure(leading)) is not None:
                _LOG.error("this process gives up term %d, in which it could not begin", fence.term, exc_info=error)
                return True
            try:
                async with asyncio.timeout(min(self._timing.patience, fence.left)):
                    sent = self._clock.uptime()
                    await self._lease.renew(fence.term)
                    if number % RENEWALS_PER_LOOK == 0 and await self._has_predecessors():
                        _LOG.warning("this process gives up term %d: others act without its lease", fence.term)
                        return True
                self._hear()
                still_leads = fence.extend(holds_until(sent, self._timing))
            except (ConflictError, NotFoundError) as error:
                self._ours = None
                self._hear()
                _LOG.warning("this process has lost term %d: the lease was taken: %s", fence.term, error)
                return False
            except (KubeError, TimeoutError) as error:
                self._miss(error)
                still_leads = fence.is_open
            if not still_leads:
                _LOG.warning("this process has lost term %d: the lease was not renewed in time", fence.term)
                return False
        raise AssertionError("unreachable")

    async def _rest_a_while(self, fence: Fence, leading: asyncio.Task[None]) -> None:
        """Until the next renewal is due, or what leads has failed."""
        pause = min(self._timing.retry, fence.left)
        if leading.done():
            await asyncio.sleep(pause)
        else:
            await asyncio.wait({leading}, timeout=pause)

    async def _release(self) -> None:
        """Others wait for as long as the lease lasts if this fails. It changes nothing of somebody else's."""
        if self._ours is None:
            return
        with contextlib.suppress(KubeError, TimeoutError):
            async with asyncio.timeout(self._timing.patience):
                await self._lease.release(self._ours)
            self._ours = None

    def _hear(self) -> None:
        self._answered = self._clock.uptime()
        self._is_away = False

    def _miss(self, error: Exception) -> None:
        """Told once: an API server that is away is asked every few seconds."""
        _LOG.log(
            logging.DEBUG if self._is_away else logging.WARNING, "the lease could not be read or renewed: %r", error
        )
        self._is_away = True


def _failure(task: asyncio.Task[None]) -> BaseException | None:
    """What a task that is done failed with, a cancellation by something inside of it included."""
    return asyncio.CancelledError() if task.cancelled() else task.exception()
