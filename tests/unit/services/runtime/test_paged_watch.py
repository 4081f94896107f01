"""A watch goes on after everything that can end it, and misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from escrow_operator.adapters.kube_errors import ExpiredError, UnavailableError
from escrow_operator.services.runtime import paged_watch as reflector
from escrow_operator.services.runtime.paged_watch import PagedWatch


def event(version: str, kind: str = "MODIFIED") -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"resourceVersion": version}}}


class Bench:
    """An API server whose watches do what a test says, one after the other; the last one stays silent."""

    def __init__(self, *watches: list[dict[str, Any] | BaseException]) -> None:
        self.watches = list(watches)
        self.asked: list[str] = []
        self.seen: list[str] = []
        self.silent = asyncio.Event()
        self.fails_on = self.cancels_on = ""
        self.begins_at: str | None = "1"
        self.reflector = PagedWatch("pods", watch=self.watch, seen=self._see, level=self._level)

    async def watch(self, namespace: str | None, version: str) -> AsyncIterator[Any]:
        assert namespace is None
        self.asked.append(version)
        if not self.watches:
            self.silent.set()
            await asyncio.Event().wait()
        for one in self.watches.pop(0):
            if isinstance(one, BaseException):
                raise one
            yield one

    async def _see(self, kind: str, body: dict[str, Any]) -> None:
        assert kind != "BOOKMARK"
        version = body["metadata"]["resourceVersion"]
        if version == self.fails_on:
            raise ValueError("a pod that cannot be read")
        if version == self.cancels_on:
            raise asyncio.CancelledError
        self.seen.append(version)

    async def _level(self, namespace: str | None) -> str:
        assert namespace is None
        return "100"

    async def run(self) -> None:
        self.reflector.start({None: self.begins_at})
        async with asyncio.timeout(5):
            await self.silent.wait()
        await self.reflector.close()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "FIRST_DELAY", 0.0)


async def test_a_watch_that_ends_is_gone_on_with_from_the_last_version() -> None:
    bench = Bench([event("2"), event("3")], [event("9", "BOOKMARK")])
    await bench.run()
    assert bench.seen == ["2", "3"]
    assert bench.asked == ["1", "3", "9"]


async def test_a_version_that_is_forgotten_brings_a_new_list() -> None:
    bench = Bench([event("2"), ExpiredError(410, "Expired", "too old")])
    await bench.run()
    assert bench.asked == ["1", "100"]


async def test_an_api_server_that_is_away_is_asked_again() -> None:
    away = UnavailableError(0, "Unavailable", "away")
    bench = Bench([event("2"), away], [away], [event("3")])
    await bench.run()
    assert bench.asked == ["1", "2", "2", "3"]
    assert bench.seen == ["2", "3"]


async def test_one_pod_that_cannot_be_handled_does_not_end_the_watch() -> None:
    bench = Bench([event("2"), event("3"), event("4")])
    bench.fails_on = "3"
    await bench.run()
    assert bench.seen == ["2", "4"]
    assert bench.asked == ["1", "4"]


async def test_what_cannot_be_read_is_left_behind_by_a_new_list() -> None:
    """A line of the watch that is no event comes again at the same version, for ever."""
    broken: dict[str, Any] = {"type": "MODIFIED", "object": {"metadata": {}}}
    bench = Bench([event("2"), broken], [ValueError("no JSON")], [event("101")])
    await bench.run()
    assert bench.asked == ["1", "2", "100", "101"]
    assert bench.seen == ["2", "101"]


async def test_the_cancellation_of_somebody_else_does_not_end_the_watch() -> None:
    bench = Bench([event("2"), asyncio.CancelledError()], [event("3")])
    bench.cancels_on = "2"
    await bench.run()
    assert bench.seen == ["3"]


async def test_a_namespace_without_a_list_yet_begins_with_one() -> None:
    bench = Bench([event("101")])
    bench.begins_at = None
    await bench.run()
    assert bench.asked == ["100", "101"]


async def test_watches_that_end_at_once_are_not_opened_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr(reflector, "FIRST_DELAY", 0.5)
    monkeypatch.setattr(asyncio, "sleep", nap)
    await Bench([], [], []).run()
    assert len(naps) == 3
