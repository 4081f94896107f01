"""Open-loop load: each thing is begun at its moment, whatever became of those before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from benchmarks.fleet.client import Adoptions
from harness.api import ApiError


class Load(NamedTuple):
    """So many at a fixed rate (1/s), or all at once at rate None."""

    rate: float | None
    number: int

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.number} at once" if self.rate is None else f"{self.rate:g}/s"


@dataclass
class Sent:
    """What a load has sent; moments are time.monotonic, in seconds."""

    at: dict[str, float] = field(default_factory=dict)
    """Session uid → the moment at which the request was begun."""
    errors: list[str] = field(default_factory=list)
    behind: float = 0.0
    """The longest time by which this process began a request too late: above it stand no latencies worth a thought."""

    def latencies(self, seen: Adoptions) -> list[float]:
        """Seconds from sending to seeing three pods, of the sessions that have them."""
        return [seen.complete[uid] - sent for uid, sent in self.at.items() if uid in seen.complete]

    def per_second(self, seen: Adoptions) -> float:
        """Sessions that got their pods, by the time from the first request to the last such moment."""
        done = [seen.complete[uid] for uid in self.at if uid in seen.complete]
        return len(done) / (max(done) - min(self.at.values())) if done else 0.0


async def offer(load: Load, send: Callable[[int], Awaitable[str]]) -> Sent:
    """Begin ``send(0)``, ``send(1)``, … each at its moment; it returns the session's uid."""
    sent = Sent()
    start = time.monotonic()

    async def one(number: int) -> None:
        due = start + (number / load.rate if load.rate else 0.0)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        sent.behind = max(sent.behind, now - due)
        try:
            sent.at[await send(number)] = now
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            sent.errors.append(f"{type(error).__name__}: {error}")

    await asyncio.gather(*(one(number) for number in range(load.number)))
    return sent
