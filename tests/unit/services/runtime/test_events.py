"""Events are told in the background: nobody waits for one, and one that is lost costs the others nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from escrow_operator.adapters.kube import EVENTS, Kube, Resource
from escrow_operator.adapters.kube_errors import KubeError, UnavailableError
from escrow_operator.core.conditions import MAX_MESSAGE
from escrow_operator.errors import NotLeading
from escrow_operator.services.runtime import events
from escrow_operator.services.runtime.events import EventRecorder
from escrow_operator.services.runtime.meters import Meters
from unit.clocks import FakeClock
from unit.factories import pool, session
from unit.kube import InstantKube

ENDING = "unable to create new content in namespace shop because it is being terminated"


class Bench:
    """A recorder whose API server answers when it is told to, and with these errors first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.answers = asyncio.Event()
        self.answers.set()
        self.kube = InstantKube()
        self.meters = Meters(CollectorRegistry())
        self.recorder = EventRecorder(cast("Kube", self), FakeClock(), self.meters)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Any:
        await self.answers.wait()
        if self.errors:
            raise self.errors.pop(0)
        return await self.kube.create(resource, namespace, body)

    def tell(self, *reasons: str) -> None:
        for reason in reasons:
            self.recorder.record(session(), reason, "It happened.")

    @property
    def told(self) -> list[str]:
        return [body["reason"] for body in self.kube.all(EVENTS)]

    @property
    def lost(self) -> Any:
        return self.meters.events_lost._value.get()


async def test_what_is_told_is_written_in_order_and_when_the_operator_stops_at_the_latest() -> None:
    bench = Bench()
    bench.answers.clear()
    bench.tell("First", "Second")
    assert bench.told == [], "who tells it waits for nothing"
    bench.answers.set()
    await bench.recorder.close()
    assert bench.told == ["First", "Second"]


async def test_an_event_is_about_its_object_and_not_about_another_of_its_name() -> None:
    bench = Bench()
    bench.recorder.record(pool(uid="this-one"), "Ready", "It can serve.", warning=True)
    await bench.recorder.close()
    (body,) = bench.kube.all(EVENTS)
    assert (body["involvedObject"]["kind"], body["involvedObject"]["uid"]) == ("WalletPool", "this-one")
    assert (body["type"], body["metadata"]["namespace"]) == ("Warning", "shop")


async def test_two_events_of_one_moment_have_two_names() -> None:
    bench = Bench()
    bench.tell("Same", "Same")
    await bench.recorder.close()
    assert bench.told == ["Same", "Same"]


@pytest.mark.parametrize("error", [UnavailableError(503, "Unavailable", "away"), RuntimeError("nobody thought of it")])
async def test_one_that_is_lost_is_counted_and_the_others_are_written(error: Exception) -> None:
    bench = Bench(error)
    bench.tell("Lost", "Told")
    await bench.recorder.close()
    assert (bench.told, bench.lost) == (["Told"], 1)


async def test_who_does_not_lead_any_more_tells_nothing_and_makes_no_fuss(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(NotLeading(1))
    bench.tell("Lost", "Told")
    caplog.clear()
    await bench.recorder.close()
    assert (bench.told, bench.lost) == (["Told"], 1)
    assert not caplog.records


async def test_in_a_namespace_that_ends_none_is_missed() -> None:
    bench = Bench(KubeError(403, "Forbidden", ENDING))
    assert KubeError(403, "Forbidden", ENDING).is_namespace_ending
    bench.tell("Ending", "Told")
    await bench.recorder.close()
    assert (bench.told, bench.lost) == (["Told"], 0)


async def test_a_flood_is_dropped_and_counted_and_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BACKLOG", 3)
    bench = Bench()
    bench.answers.clear()
    bench.tell(*(f"Reason{number}" for number in range(10)))
    assert bench.lost == 7
    bench.answers.set()
    await bench.recorder.close()
    assert bench.told == ["Reason0", "Reason1", "Reason2"]


async def test_an_api_server_that_hangs_keeps_no_operator_from_stopping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "FLUSH_SECONDS", 0.01)
    bench = Bench()
    bench.answers.clear()
    bench.tell("First", "Second")
    async with asyncio.timeout(5):
        await bench.recorder.close()
    assert bench.told == []
    assert "were not written" in caplog.text


async def test_a_recorder_that_told_nothing_has_nothing_to_write() -> None:
    async with asyncio.timeout(5):
        await Bench().recorder.close()


async def test_what_others_wrote_is_fit_for_a_log_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A registry, or a wallet, may have written a part of a message."""
    caplog.set_level(logging.INFO)
    bench = Bench()
    bench.recorder.record(session(), "Reason", "first\n2026 ERROR forged \x1b[31m" + "x" * 10_000)
    await bench.recorder.close()
    (body,) = bench.kube.all(EVENTS)
    assert body["message"].isprintable()
    assert len(body["message"]) <= MAX_MESSAGE
    (line,) = [record.getMessage() for record in caplog.records if "forged" in record.getMessage()]
    assert line.isprintable()
