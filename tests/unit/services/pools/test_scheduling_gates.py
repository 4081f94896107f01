"""Replacements of claimed slots start when no wallet is being opened, when somebody waits, or after a while."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube_errors import NotFoundError
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.services.pools.scheduling_gates import HOLD_SECONDS, SchedulingGates
from unit.factories import at, slot_body
from unit.world.context import make_context, woken

POOL = PoolKey("shop", "default")


class SteppedClock(Clock):
    seconds = 0.0

    def now(self) -> datetime:
        return at(self.seconds)


class Bench:
    """Gated pods in a store, and the API server that takes their gates away."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        ctx = make_context(self, clock=self.clock)
        self.store = ctx.store
        self.started: list[str] = []
        self.woken = woken(ctx).woken_pools
        self.bodies: dict[str, dict[str, Any]] = {}
        self.gates = SchedulingGates(ctx)

    def gated(self, name: str, role: Role, created: float = 0) -> None:
        body = slot_body(name, role, ready=False, created=at(created))
        body["spec"]["schedulingGates"] = [{"name": "of-somebody-else"}, {"name": Label.WARM_UP}]
        self.bodies[name] = body
        self.store.see_slot(body)

    async def patch(self, _: Any, __: str, name: str, ops: list[dict[str, Any]]) -> dict[str, Any]:
        assert [op["path"] for op in ops] == ["/spec/schedulingGates/1/name", "/spec/schedulingGates/1"]
        if name not in self.bodies:
            raise NotFoundError(404, "NotFound", name)
        body = self.bodies.pop(name)
        body["spec"]["schedulingGates"].pop()
        body["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1000)
        self.started.append(name)
        return body


@pytest.fixture
def bench() -> Bench:
    found = Bench()
    for role in ROLES:
        found.gated(f"{role}-0", role)
    return found


async def test_they_start_at_once_when_nothing_is_being_opened(bench: Bench) -> None:
    assert await bench.gates.look(POOL, waiting=0) is None
    assert sorted(bench.started) == ["arbiter-0", "buyer-0", "vendor-0"]
    assert bench.store.gated_slots(POOL) == []


async def test_they_wait_while_wallets_are_opened_and_start_afterwards(bench: Bench) -> None:
    with bench.gates.opening():
        with bench.gates.opening():
            assert await bench.gates.look(POOL, waiting=0) == HOLD_SECONDS
        assert bench.woken == [], "the other one is still opening"
    assert (bench.started, bench.woken) == ([], [POOL])
    await bench.gates.look(POOL, waiting=0)
    assert len(bench.started) == len(ROLES)


async def test_who_waits_for_slots_gets_as_many_of_each_role_and_no_more(bench: Bench) -> None:
    for role in ROLES:
        bench.gated(f"{role}-1", role, created=1)
    with bench.gates.opening():
        await bench.gates.look(POOL, waiting=1)
        assert sorted(bench.started) == ["arbiter-0", "buyer-0", "vendor-0"], "the oldest"


async def test_nobody_holds_a_pool_up_for_ever(bench: Bench) -> None:
    bench.gated("buyer-1", Role.BUYER, created=3)
    bench.clock.seconds = HOLD_SECONDS
    with bench.gates.opening():
        assert await bench.gates.look(POOL, waiting=0) == 3
    assert sorted(bench.started) == ["arbiter-0", "buyer-0", "vendor-0"]


async def test_a_pod_that_went_away_is_no_error(bench: Bench) -> None:
    bench.bodies.clear()
    assert await bench.gates.look(POOL, waiting=0) is None
    assert bench.started == []
