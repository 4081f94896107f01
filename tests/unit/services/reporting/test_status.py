"""One writer of status: nothing is written that says nothing new, or over what it has not seen; news is told once."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.adapters.kube import POOLS, SESSIONS
from escrow_operator.adapters.kube_errors import ConflictError, UnavailableError
from escrow_operator.core.conditions import Condition
from escrow_operator.core.health import health
from escrow_operator.core.report import Report
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.reporting.status import StatusWriter
from unit.clocks import FakeClock
from unit.factories import pool_body, session_body
from unit.kube import InstantKube
from unit.world.context import make_context, told

KEY = SessionKey("shop", "demo")
OPEN = health(Phase.ACTIVE, "WalletsOpen", "All is well.", wallets_open=True)


def funded(status: bool | None, reason: str) -> Condition:
    return Condition("Funded", status, reason, "Of money.")


def synced(status: bool | None, reason: str) -> Condition:
    return Condition("DaemonSynced", status, reason, "Of monerod.")


class Bench:
    """A session and a pool on an API server."""

    def __init__(self) -> None:
        self.kube, self.clock = InstantKube(), FakeClock()
        self.ctx = make_context(self.kube, clock=self.clock)
        self.writer = StatusWriter(self.ctx)
        self.session = Session.parse(self.kube.put(SESSIONS, session_body()))

    async def report(self, *conditions: Condition, phase: Phase = Phase.ACTIVE, **fields: Any) -> Session:
        """What a look found, and the session as it is then."""
        self.session = await self.writer.report(self.session, Report(phase, conditions, fields))
        return self.session

    def told_since(self, number: int) -> list[str]:
        return told(self.ctx)[number:]

    @property
    def counted(self) -> tuple[int, dict[str, float]]:
        """How many became Ready, and how many ended in which phase."""
        ready = [s for m in self.ctx.meters.time_to_ready.collect() for s in m.samples if s.name.endswith("_count")]
        ended = [s for m in self.ctx.meters.endings.collect() for s in m.samples if s.name.endswith("_total")]
        return int(ready[0].value), {s.labels["phase"]: s.value for s in ended}


async def test_what_says_nothing_new_costs_no_request() -> None:
    bench = Bench()
    await bench.report(*OPEN)
    written, events = len(bench.kube.writes), len(told(bench.ctx))
    bench.clock.seconds += 1000
    await bench.report(*OPEN)
    assert len(bench.kube.writes) == written
    assert bench.told_since(events) == []


async def test_what_was_written_is_known_before_its_watch_event() -> None:
    bench = Bench()
    after = await bench.report(*OPEN)
    assert bench.ctx.store.sessions[KEY] == after
    assert after.phase is Phase.ACTIVE


async def test_what_changed_since_it_was_read_is_not_overwritten() -> None:
    """Another operator, or this one before a restart, may have written an address."""
    bench = Bench()
    bench.kube.put(SESSIONS, session_body(status={"address": "4escrow"}))
    with pytest.raises(ConflictError):
        await bench.report(*OPEN)
    assert told(bench.ctx) == [], "nothing is told that was not written"
    assert bench.counted == (0, {})


async def test_a_status_whose_answer_is_lost_is_told_when_it_is_decided_again() -> None:
    bench = Bench()
    bench.kube.fail_at = (0, True)
    with pytest.raises(UnavailableError):
        await bench.report(*OPEN)
    assert told(bench.ctx) == []
    body = bench.kube.find(SESSIONS, "demo")
    assert body
    assert body["status"]["phase"] == "Active"


async def test_a_change_of_reason_is_an_event_and_a_change_of_words_is_none() -> None:
    bench = Bench()
    await bench.report(*OPEN)
    events = len(told(bench.ctx))
    for message in ("1 of 10 confirmations.", "2 of 10 confirmations."):
        await bench.report(*OPEN, Condition("Funded", False, "Confirming", message))
    assert bench.told_since(events) == ["Confirming"]
    await bench.report(*OPEN, funded(True, "Confirmed"))
    assert bench.told_since(events) == ["Confirming", "Confirmed"]


async def test_what_is_for_machines_is_told_once_for_people() -> None:
    bench = Bench()
    await bench.report(*health(Phase.FAILED, "WrongPassword", "It does not open."), phase=Phase.FAILED)
    assert told(bench.ctx) == ["WrongPassword"]


@pytest.mark.parametrize(
    "usual",
    [
        synced(True, "Synced"),
        synced(None, "NotChecked"),
        funded(None, "DaemonUnreachable"),
        Condition("Ready", False, "Opening", "The wallets are being opened."),
        Condition("Settled", None, "NotWatched", ""),
    ],
    ids=lambda condition: condition.reason,
)
async def test_what_everybody_expects_is_no_event(usual: Condition) -> None:
    bench = Bench()
    await bench.report(usual)
    assert told(bench.ctx) == []


async def test_that_money_is_not_known_any_more_is_an_event_and_that_it_never_was_is_none() -> None:
    bench = Bench()
    await bench.report(funded(True, "Confirmed"))
    await bench.report(funded(None, "DaemonUnreachable"))
    await bench.report(funded(None, "WalletSyncing"))
    assert told(bench.ctx) == ["Confirmed", "DaemonUnreachable"]


async def test_a_monerod_that_comes_back_is_an_event() -> None:
    bench = Bench()
    for condition in (synced(True, "Synced"), synced(False, "DaemonUnreachable"), synced(True, "Synced")):
        await bench.report(condition)
    assert told(bench.ctx) == ["DaemonUnreachable", "Synced"]


async def test_what_closing_makes_unknown_is_told_by_the_closing() -> None:
    bench = Bench()
    await bench.report(*OPEN, funded(True, "Confirmed"))
    events = len(told(bench.ctx))
    closed = health(Phase.EXPIRED, "Expired", "Nobody used it.")
    await bench.report(*closed, funded(None, "NotWatched"), phase=Phase.EXPIRED)
    assert bench.told_since(events) == ["Expired"]


async def test_an_end_is_counted_once_by_its_phase() -> None:
    bench = Bench()
    closed = health(Phase.EXPIRED, "Expired", "Nobody used it.")
    for words in ("Expired", "Expired", "ExpiredAndClosed"):
        await bench.report(*closed, funded(None, words), phase=Phase.EXPIRED)
    assert bench.counted[1] == {"Expired": 1}


async def test_the_way_to_ready_is_counted_the_first_time_only() -> None:
    bench = Bench()
    bench.clock.seconds = 3
    await bench.report(*health(Phase.ACTIVE, "DaemonUnreachable", "", wallets_open=False))
    assert bench.counted[0] == 0
    await bench.report(*OPEN, lastActivityTime="2026-01-01T00:00:03Z")
    await bench.report(*health(Phase.ACTIVE, "DaemonUnreachable", "", wallets_open=None))
    await bench.report(*OPEN)
    assert bench.counted[0] == 1


async def test_of_a_pool_one_story_is_one_event_and_what_goes_on_by_itself_is_none() -> None:
    bench = Bench()
    subject = Pool.parse(bench.kube.put(POOLS, pool_body()))
    conditions = (
        Condition("Ready", False, "StorageClassNotFound", "There is none."),
        Condition("Stalled", True, "StorageClassNotFound", "There is none."),
        Condition("Reconciling", True, "SlotsStarting", "They start."),
        synced(None, "NotChecked"),
    )
    status = {"warmSlots": 1}
    await bench.writer.report_pool(subject, status, conditions)
    assert told(bench.ctx) == ["StorageClassNotFound"]
    assert bench.ctx.store.pools
    written = len(bench.kube.writes)
    (known,) = bench.ctx.store.pools.values()
    await bench.writer.report_pool(known, dict(known.status), conditions)
    assert len(bench.kube.writes) == written
    with pytest.raises(ConflictError):
        await bench.writer.report_pool(subject, {"warmSlots": 2}, conditions)
