"""A session whose wallets do not open tries with pauses, replaces a pod once, and then says what to do."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from escrow_operator.core.backoff import OPENING_DEADLINE
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Blocked, NotOpened, SlotBroken
from escrow_operator.services.sessions.backoff import Backoff
from unit.clocks import FakeClock
from unit.factories import session, session_body, slot
from unit.world.context import make_context


class Bench:
    """A session that fails to open its wallets whenever it tries."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.backoff = Backoff(make_context(clock=self.clock))
        self.slots: dict[Role, Slot] = {role: slot(role.value, role) for role in ROLES}
        self.session: Session = session(phase=Phase.OPENING)

    def change(self, *, generation: int = 1, touch: str | None = None) -> None:
        """As a user does."""
        status, annotations = self.session.status, {Label.TOUCH: touch} if touch else {}
        body = session_body(phase=Phase.OPENING, status=status, generation=generation, annotations=annotations)
        self.session = Session.parse(body)

    def restart(self) -> None:
        """Another operator, which knows what is in the status."""
        self.backoff = Backoff(make_context(clock=self.clock))

    def look(self, role: Role | None = Role.BUYER, reason: str = "WalletBusy") -> tuple[bool, Blocked]:
        """Whether it tried, and what was said."""
        try:
            self.backoff.must_be_due(self.session, self.slots.values())
        except Blocked as again:
            return False, again
        error = NotOpened(reason, "It hangs.", slot=self.slots[role] if role else None)
        said = self.backoff.failed(self.session, self.slots.values(), error)
        status = self.session.status | dict(said.fields) | {"observedGeneration": self.session.generation}
        self.session = dataclasses.replace(self.session, status=status)
        return True, said

    def run(self, seconds: float, step: float = 1.0) -> list[float]:
        """Look every ``step`` seconds, as often as events wake it; when it tried."""
        start, tried = self.clock.seconds, []
        while self.clock.seconds < start + seconds:
            if self.look()[0]:
                tried.append(self.clock.seconds - start)
            self.clock.seconds += step
        return tried


def test_events_do_not_make_it_try_before_it_is_due() -> None:
    assert Bench().run(160) == [0, 5, 15, 35, 75, 155]


def test_what_it_said_last_is_said_until_then() -> None:
    bench = Bench()
    _, said = bench.look()
    bench.clock.seconds += 2
    tried, again = bench.look()
    assert not tried
    assert (again.reason, again.message, again.retry_after) == (said.reason, said.message, 3.0)
    assert again.fields == said.fields


@pytest.mark.parametrize("change", ["touch", "spec", "moved", "ready"])
def test_a_touch_another_spec_and_another_pod_are_tried_at_once(change: str) -> None:
    bench = Bench()
    bench.run(100)
    assert not bench.look()[0]
    match change:
        case "touch":
            bench.change(touch="2026-01-01T00:01:00Z")
        case "spec":
            bench.change(generation=2)
        case "moved":
            bench.slots[Role.VENDOR] = slot("vendor", Role.VENDOR, ip="10.0.0.9")
        case "ready":
            bench.slots[Role.VENDOR] = slot("vendor", Role.VENDOR, ready=False)
    tried, said = bench.look()
    assert tried
    fresh = change in ("touch", "spec")
    assert (said.fields["opening"]["attempts"] == 1) is fresh
    assert not bench.look()[0]


def test_an_operator_that_crashes_tries_once_and_goes_on_with_the_same_pauses() -> None:
    bench = Bench()
    bench.run(100)
    attempts = bench.session.status["opening"]["attempts"]
    bench.restart()
    tried, said = bench.look()
    assert tried
    assert said.fields["opening"]["attempts"] == attempts + 1
    assert said.retry_after > 100


def test_past_the_deadline_the_pod_is_replaced_once_and_then_it_is_said_what_to_do() -> None:
    bench = Bench()
    bench.look()
    bench.clock.seconds += OPENING_DEADLINE.total_seconds()
    _, said = bench.look(Role.ARBITER)
    assert isinstance(said, SlotBroken)
    assert (said.reason, said.slot) == ("OpeningTimedOut", bench.slots[Role.ARBITER])
    bench.slots[Role.ARBITER] = slot("other", Role.ARBITER)
    bench.restart()
    for _ in range(3):
        bench.clock.seconds += 600
        tried, said = bench.look(Role.ARBITER)
        assert tried
        assert not isinstance(said, SlotBroken)
        assert said.reason == "OpeningTimedOut"
        assert all(words in said.message for words in ("It hangs.", "in another pod neither", "log of the pod"))


def test_what_is_no_pods_fault_replaces_none() -> None:
    bench = Bench()
    bench.look(None, "WalletInUse")
    bench.clock.seconds += OPENING_DEADLINE.total_seconds()
    _, said = bench.look(None, "WalletInUse")
    assert not isinstance(said, SlotBroken)
    assert said.reason == "OpeningTimedOut"
    assert "another pod" not in said.message


def test_once_open_the_next_failure_is_the_first() -> None:
    bench = Bench()
    bench.run(100)
    bench.backoff.forget(bench.session)
    status = {key: value for key, value in bench.session.status.items() if key != "opening"}
    bench.session = dataclasses.replace(bench.session, status=status)
    assert bench.look()[1].retry_after == timedelta(seconds=5).total_seconds()
