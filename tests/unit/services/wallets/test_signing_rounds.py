"""The operator's own exports, and the rounds of clients."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.adapters.kube_errors import ConflictError
from escrow_operator.core.signing import EXCHANGE, LONGEST_DEFERRAL, ROUND, Round, is_exchanging, write_rounds
from escrow_operator.models.common import Label, Role
from escrow_operator.models.session import Session
from escrow_operator.services.wallets import signing_rounds
from escrow_operator.services.wallets.signing_rounds import SigningRounds
from escrow_operator.settings import Settings
from unit.clocks import FakeClock
from unit.factories import session_body
from unit.kube import InstantKube
from unit.world.context import make_context


class Bench:
    """A session, and the question."""

    def __init__(self, *, gateway: bool = True) -> None:
        self.kube, self.clock = InstantKube(), FakeClock()
        settings = Settings(slot_login_image="operator", logins_secret="logins" if gateway else "")
        self.ctx = make_context(self.kube, clock=self.clock, settings=settings)
        self.rounds = SigningRounds(self.ctx)
        self.noted: str | None = None
        self.put()

    def put(self, **annotations: str) -> None:
        body = session_body(annotations=annotations)
        self.ctx.store.see_session(self.kube.put(SESSIONS, body))

    def begin_round(self) -> None:
        until = self.clock.now() + ROUND
        self.put(**{Label.SIGNING_ROUND: write_rounds({Role.BUYER: Round("buyer", until)})})

    @property
    def session(self) -> Session:
        body = self.kube.find(SESSIONS, "demo")
        assert body is not None
        return Session.parse(body)

    async def ask(self, session: Session | None = None) -> bool:
        """Whether wallets may export; what is noted meanwhile is in ``noted``."""
        async with self.rounds.exchange(session or self.session) as may:
            self.noted = self.session.key_images_at
            return may


async def test_an_exchange_is_noted_before_it_is_made() -> None:
    bench = Bench()
    assert await bench.ask()
    assert is_exchanging(bench.noted, now=bench.clock.now())
    assert bench.session.key_images_at is None, "and taken back"


async def test_one_that_fails_is_taken_back_too() -> None:
    bench = Bench()
    with pytest.raises(RuntimeError):
        async with bench.rounds.exchange(bench.session):
            raise RuntimeError
    assert bench.session.key_images_at is None


async def test_it_ends_before_clients_count_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_rounds, "SURE_SECONDS", EXCHANGE.total_seconds() - 0.01)
    bench = Bench()
    with pytest.raises(TimeoutError):
        async with bench.rounds.exchange(bench.session):
            await asyncio.sleep(10)
    assert bench.session.key_images_at is None


async def test_what_an_earlier_exchange_waited_for_does_not_count() -> None:
    bench = Bench()
    bench.begin_round()
    assert not await bench.ask()
    bench.rounds.forget(bench.session)
    bench.clock.seconds = LONGEST_DEFERRAL.total_seconds() + 1
    bench.begin_round()
    assert not await bench.ask()


async def test_it_waits_for_a_round() -> None:
    bench = Bench()
    bench.begin_round()
    assert not await bench.ask()
    assert bench.noted is None
    bench.clock.seconds = (ROUND + timedelta(seconds=1)).total_seconds()
    assert await bench.ask()


async def test_rounds_without_an_end_do_not_hide_money_for_ever() -> None:
    bench = Bench()
    for seconds in range(0, int(LONGEST_DEFERRAL.total_seconds()), 60):
        bench.clock.seconds = float(seconds)
        bench.begin_round()
        assert not await bench.ask()
    bench.clock.seconds = LONGEST_DEFERRAL.total_seconds()
    bench.begin_round()
    assert await bench.ask()
    assert not await bench.ask(), "the next one waits anew"


async def test_a_round_that_began_meanwhile_is_seen() -> None:
    bench = Bench()
    seen = bench.session
    bench.begin_round()
    with pytest.raises(ConflictError):
        await bench.ask(seen)


async def test_without_a_gateway_nothing_is_written() -> None:
    bench = Bench(gateway=False)
    bench.begin_round()
    assert await bench.ask()
    assert not bench.kube.writes
