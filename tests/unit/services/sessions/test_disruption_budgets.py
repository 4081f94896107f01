"""When drains wait for a session, and that they do not wait for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from escrow_operator.adapters.kube import DISRUPTION_BUDGETS, SESSIONS
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, UnavailableError
from escrow_operator.core.manifests.common import BASE_LABELS, disruption_budget_name
from escrow_operator.core.signing import ROUND, Round, write_rounds
from escrow_operator.models.common import Label, Role
from escrow_operator.models.session import Phase, Session
from escrow_operator.services.sessions.disruption_budgets import HOUR, LONGEST, DisruptionBudgets
from unit.clocks import FakeClock
from unit.factories import session_body
from unit.kube import FORBIDDEN, InstantKube
from unit.world.context import make_context

NAME = "demo-signing"
LOOK = 30.0


class Bench:
    """A session that is open, and who signs with it."""

    def __init__(self, kube: InstantKube | None = None, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.kube = kube or InstantKube(self.clock.now)
        self.ctx = make_context(self.kube, clock=self.clock)
        self.budgets = DisruptionBudgets(self.ctx)
        if kube is None:
            self.put()
        else:
            self.ctx.store.see_session(kube.find(SESSIONS, "demo") or {})

    def put(self, *, phase: Phase = Phase.ACTIVE, **annotations: str) -> None:
        body = session_body(phase=phase, annotations=annotations)
        self.ctx.store.see_session(self.kube.put(SESSIONS, body))

    def sign(self, *, phase: Phase = Phase.ACTIVE) -> None:
        until = self.clock.now() + ROUND
        self.put(phase=phase, **{Label.SIGNING_ROUND: write_rounds({Role.BUYER: Round("buyer", until)})})

    @property
    def session(self) -> Session:
        (found,) = self.ctx.store.sessions.values()
        return found

    async def look(self) -> bool:
        """Whether drains wait after a look at the session."""
        await self.budgets.follow(self.session)
        return self.is_held

    @property
    def is_held(self) -> bool:
        return self.kube.find(DISRUPTION_BUDGETS, NAME) is not None

    async def sign_for(self, seconds: float) -> float:
        """Somebody signs without an end, and the session is looked at; the seconds for which drains waited."""
        held, end = 0.0, self.clock.seconds + seconds
        while self.clock.seconds < end:
            self.sign()
            held += LOOK * await self.look()
            self.clock.seconds += LOOK
        return held

    def crash(self) -> Bench:
        """The next operator."""
        return Bench(self.kube, self.clock)


async def test_a_round_keeps_the_pods_and_its_end_lets_them_go() -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    assert await bench.look()
    assert bench.kube.written("create") == [f"poddisruptionbudgets/{NAME}"], "once for a round"
    bench.put()
    assert not await bench.look()


async def test_a_round_that_nobody_ends_ends_by_itself() -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    bench.clock.seconds = ROUND.total_seconds() + 1
    assert not await bench.look()


async def test_without_a_round_nothing_is_asked() -> None:
    bench = Bench()
    assert not await bench.look()
    await bench.budgets.lift(bench.session)
    assert not bench.kube.requests


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.OPENING, Phase.EXPIRED, Phase.COMPLETED])
async def test_a_session_without_open_wallets_has_no_round(phase: Phase) -> None:
    bench = Bench()
    bench.sign(phase=phase)
    assert not await bench.look()


async def test_no_party_holds_a_node_for_ever() -> None:
    """Each export prolongs a round."""
    bench = Bench()
    assert await bench.sign_for(HOUR) == LONGEST
    assert not bench.is_held
    assert await bench.sign_for(HOUR) == LONGEST, "who signs later is kept again"


async def test_nor_over_the_end_of_an_hour() -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    bench.put()
    assert not await bench.look()
    bench.clock.seconds += HOUR / 2
    assert await bench.sign_for(HOUR) == LONGEST


async def test_a_clock_that_is_ahead_of_the_api_servers_ends_no_round() -> None:
    bench = Bench()
    bench.kube.server._now = lambda: bench.clock.now() - timedelta(hours=3)
    bench.sign()
    assert await bench.look()
    assert await bench.look()


async def test_what_could_not_be_lifted_at_the_end_of_a_session_is_not_forgotten() -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    bench.kube.refuses[None] = UnavailableError(0, "Unavailable", "away")
    async with bench.budgets.closing(bench.session):
        bench.ctx.memory.clear(bench.session.uid)
    bench.kube.refuses.clear()
    async with bench.budgets.closing(bench.session):
        bench.ctx.memory.clear(bench.session.uid)
    assert not bench.is_held


async def test_a_quota_that_changes_at_that_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.sign()
    refused = ConflictError(409, "Conflict", "Operation cannot be fulfilled on resourcequotas")
    with monkeypatch.context() as patch:
        patch.setitem(bench.kube.refuses, None, refused)
        assert not await bench.look()
    assert await bench.look()


async def test_short_rounds_add_up() -> None:
    bench = Bench()
    held = 0.0
    for _ in range(8):
        held += await bench.sign_for(HOUR / 10)
        bench.put()
        assert not await bench.look()
    assert held == LONGEST


async def test_what_a_crash_left_of_a_round_that_is_over_is_found() -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    bench = bench.crash()
    bench.put()
    assert await bench.look(), "it knows of none"
    await bench.budgets.prune(None)
    assert not bench.is_held


@pytest.mark.parametrize("first", ["sweep", "look"])
async def test_the_next_operator_ends_what_a_crash_left_of_a_round_that_goes_on(first: str) -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    bench = bench.crash()
    if first == "sweep":
        await bench.budgets.prune(None)
        assert bench.is_held
    else:
        assert await bench.look()
    bench.put()
    assert not await bench.look()


async def test_crashes_do_not_begin_the_time_anew() -> None:
    bench = Bench()
    assert await bench.sign_for(LONGEST - LOOK) == LONGEST - LOOK
    bench = bench.crash()
    assert await bench.sign_for(HOUR / 2) <= 2 * LOOK


async def test_a_lost_answer_makes_no_second_one_and_loses_none() -> None:
    bench = Bench()
    bench.sign()
    bench.kube.fail_at = (0, True)
    assert await bench.look()
    assert await bench.look()
    bench.put()
    assert not await bench.look()


async def test_one_that_could_not_be_deleted_is_tried_again() -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    bench.put()
    bench.kube.refuses[None] = UnavailableError(0, "Unavailable", "away")
    assert await bench.look()
    bench.kube.refuses.clear()
    assert not await bench.look()


@pytest.mark.parametrize("error", [FORBIDDEN, KubeError(403, "Forbidden", "exceeded quota: no budgets")])
async def test_a_refusal_does_not_concern_the_session_and_is_not_repeated(error: KubeError) -> None:
    bench = Bench()
    bench.sign()
    bench.kube.refuses[None] = error
    assert not await bench.look()
    assert not await bench.look()
    assert bench.kube.requests["create", "poddisruptionbudgets"] == 1
    await bench.budgets.prune(None)
    bench.put()
    await bench.look()
    bench.kube.refuses.clear()
    bench.sign()
    assert await bench.look(), "the next round"


async def test_one_of_somebody_else_is_left_alone() -> None:
    bench = Bench()
    labels = BASE_LABELS | {Label.SESSION: "demo"}
    theirs: dict[str, Any] = {"metadata": {"name": NAME, "namespace": "shop", "labels": labels}}
    bench.kube.put(DISRUPTION_BUDGETS, theirs)
    bench.sign()
    await bench.look()
    bench.put()
    assert await bench.look()
    await bench.budgets.prune(None)
    assert bench.is_held
    assert not bench.kube.written("delete")


async def test_a_former_sessions_budget_is_not_the_present_ones() -> None:
    bench = Bench()
    bench.sign()
    assert await bench.look()
    body = bench.kube.find(DISRUPTION_BUDGETS, NAME)
    assert body
    bench.kube.put(
        DISRUPTION_BUDGETS,
        body | {"metadata": body["metadata"] | {"ownerReferences": [{"uid": "former", "controller": True}]}},
    )
    bench = bench.crash()
    bench.put()
    await bench.budgets.prune(None)
    assert bench.is_held, "garbage collection takes it"


async def test_the_name_says_what_a_drain_waits_for() -> None:
    assert disruption_budget_name(Bench().session.key) == NAME
