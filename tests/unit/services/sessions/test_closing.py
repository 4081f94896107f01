"""A Failed session looks again slowly, and takes nobody's place for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from escrow_operator.core.conditions import Condition
from escrow_operator.core.report import Report, compose_status
from escrow_operator.models.session import Phase, Session
from escrow_operator.services.runtime.outcomes import Failed
from escrow_operator.services.sessions.closing import SessionCloser
from unit.clocks import FakeClock
from unit.factories import session
from unit.world.context import make_context

UNKNOWN = Condition("DaemonSynced", None, "NotChecked", "")


class Bench:
    """A session that failed; all services around it are this one."""

    def __init__(self, *, again: bool) -> None:
        self.clock, self.active, self.secrets, self.closed = FakeClock(), 0, "1", 0
        self.failure = Failed("WalletFileNotFound", "It is not there.", again=again)
        self.session = session(phase=Phase.ACTIVE)
        self.max_active = 10
        fakes: dict[str, Any] = dict.fromkeys(("claims", "closer", "deeds", "status"), self)
        self.closer = SessionCloser(make_context(self, clock=self.clock), **fakes)

    async def versions(self, _: Session) -> str:
        return self.secrets

    def has_room(self, _: Session) -> bool:
        return self.active < self.max_active

    def is_holder(self, _: str) -> bool:
        return False

    def is_stale(self, _: Session) -> bool:
        return False

    async def report(self, session: Session, report: Report) -> Session:
        status = compose_status(session, report, now=self.clock.now())
        self.session = dataclasses.replace(session, status=status)
        return self.session

    async def release(self, _: Session) -> bool:
        self.closed += 1
        return True

    def forget(self, *_: object) -> None: ...

    async def fail(self) -> None:
        await self.closer.fail(self.session, self.failure, UNKNOWN)

    async def is_mended(self) -> bool:
        return await self.closer.is_mended(self.session)


async def test_a_lost_file_is_looked_for_again_and_the_message_says_when() -> None:
    bench = Bench(again=True)
    await bench.fail()
    ready = bench.session.condition("Ready") or {}
    assert ready["message"] == (
        "It is not there. It is tried again at 2026-01-01T00:10:00Z, or when its spec or a Secret changes."
    )
    assert bench.closed == 1
    assert not await bench.is_mended()
    bench.clock.seconds = 600
    assert await bench.is_mended()
    await bench.fail()
    assert (
        bench.session.status["failure"] | {"tries": 2, "retryAt": "2026-01-01T00:30:00Z"}
        == (bench.session.status["failure"])
    )
    assert not await bench.is_mended()


async def test_after_a_wrong_password_only_a_change_counts() -> None:
    bench = Bench(again=False)
    await bench.fail()
    assert "tried again at" not in (bench.session.condition("Ready") or {})["message"]
    bench.clock.seconds = 10**7
    assert not await bench.is_mended()
    bench.secrets = "2"
    assert await bench.is_mended()


async def test_nobody_gives_way_to_a_session_that_only_looks() -> None:
    bench = Bench(again=True)
    await bench.fail()
    bench.clock.seconds, bench.active = 600, bench.max_active
    assert not await bench.is_mended()
    bench.active -= 1
    assert await bench.is_mended()


@pytest.mark.parametrize("phase", [Phase.ACTIVE, Phase.OPENING])
async def test_a_session_that_failed_is_not_opening(phase: Phase) -> None:
    bench = Bench(again=True)
    status = {"opening": {"since": "2026-01-01T00:00:00Z", "attempts": 3}, "wallets": {}}
    bench.session = session(phase=phase, status=status)
    await bench.fail()
    assert "opening" not in bench.session.status
    assert bench.session.phase is Phase.FAILED


async def test_a_secret_that_was_mended_during_the_try_is_tried() -> None:
    bench = Bench(again=False)
    bench.failure.secrets = "as read"
    bench.secrets = "mended since"
    await bench.fail()
    assert await bench.is_mended()
