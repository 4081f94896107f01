"""Replacements of claimed slots start when no wallet is being opened, when somebody waits, or after a while."""

from __future__ import annotations

import contextlib

import pytest

from escrow_operator.adapters.kube import PODS
from escrow_operator.core.poolstatus import REPLACEMENT_GRACE
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.services.pools.scheduling_gates import (
    CROWDED_SECONDS,
    HOLD_SECONDS,
    LONGEST_SETTLE_SECONDS,
    SETTLE_SECONDS,
    SchedulingGates,
)
from unit.clocks import FakeClock
from unit.factories import at, slot_body
from unit.kube import InstantKube
from unit.world.context import make_context, woken

POOL = PoolKey("shop", "default")


class Bench:
    """Gated pods in a store, and the API server that takes their gates away."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kube = InstantKube()
        ctx = make_context(self.kube, clock=self.clock)
        self.ctx, self.store = ctx, ctx.store
        self.woken = woken(ctx).woken_pools
        self.gates = SchedulingGates(ctx)

    def gated(self, name: str, role: Role, created: float = 0) -> None:
        body = slot_body(name, role, ready=False, created=at(created))
        body["spec"]["schedulingGates"] = [{"name": "of-somebody-else"}, {"name": Label.WARM_UP}]
        self.store.see_slot(self.kube.put(PODS, body))

    @property
    def started(self) -> list[str]:
        """The pods that have no gate of the operator's any more."""
        gates = {pod["metadata"]["name"]: pod["spec"]["schedulingGates"] for pod in self.kube.all(PODS)}
        return [name for name, left in gates.items() if left == [{"name": "of-somebody-else"}]]


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
    # Those of the bench were made at 0.
    bench.clock.seconds = HOLD_SECONDS
    with bench.gates.opening():
        assert await bench.gates.look(POOL, waiting=0) == 3
    assert sorted(bench.started) == ["arbiter-0", "buyer-0", "vendor-0"]


async def test_where_sessions_queue_for_cpu_pods_that_nobody_waits_for_take_none(bench: Bench) -> None:
    most = bench.ctx.settings.sessions.max_key_exchanges
    bench.clock.seconds = HOLD_SECONDS
    with contextlib.ExitStack() as crowd:
        for _ in range(most):
            crowd.enter_context(bench.gates.opening())
        with bench.gates.opening():
            assert await bench.gates.look(POOL, waiting=0) == CROWDED_SECONDS - HOLD_SECONDS
            assert bench.started == []
        assert bench.woken == [POOL], "nobody queues any more"
        assert await bench.gates.look(POOL, waiting=0) is None
        assert len(bench.started) == len(ROLES)


def test_no_pool_is_told_unready_for_pods_that_are_held() -> None:
    assert HOLD_SECONDS < CROWDED_SECONDS < REPLACEMENT_GRACE.total_seconds()


async def test_a_crowd_that_does_not_end_holds_no_pod_up_for_ever(bench: Bench) -> None:
    bench.clock.seconds = CROWDED_SECONDS
    with contextlib.ExitStack() as crowd:
        for _ in range(bench.ctx.settings.sessions.max_key_exchanges + 1):
            crowd.enter_context(bench.gates.opening())
        assert await bench.gates.look(POOL, waiting=0) is None
    assert len(bench.started) == len(ROLES)


async def test_they_wait_until_no_session_takes_a_prepared_escrow_any_more(bench: Bench) -> None:
    bench.gates.unsettle()
    assert await bench.gates.look(POOL, waiting=0) == SETTLE_SECONDS
    bench.clock.seconds = 1.0
    bench.gates.unsettle()
    bench.clock.seconds = SETTLE_SECONDS
    assert await bench.gates.look(POOL, waiting=0) == 1.0
    assert bench.started == []
    bench.clock.seconds = 1.0 + SETTLE_SECONDS
    assert await bench.gates.look(POOL, waiting=0) is None
    assert len(bench.started) == len(ROLES)


async def test_sessions_that_take_prepared_escrows_without_end_hold_no_pod_up_for_ever(bench: Bench) -> None:
    bench.gated("buyer-1", Role.BUYER, created=SETTLE_SECONDS)
    bench.clock.seconds = LONGEST_SETTLE_SECONDS
    bench.gates.unsettle()
    assert await bench.gates.look(POOL, waiting=0) == SETTLE_SECONDS
    assert sorted(bench.started) == ["arbiter-0", "buyer-0", "vendor-0"]


async def test_a_clock_that_was_set_back_holds_nothing(bench: Bench) -> None:
    bench.clock.seconds = -3600
    assert await bench.gates.look(POOL, waiting=0) is None
    assert len(bench.started) == len(ROLES)


async def test_a_pod_that_went_away_is_no_error(bench: Bench) -> None:
    for role in ROLES:
        bench.kube.remove(PODS, f"{role}-0")
    assert await bench.gates.look(POOL, waiting=0) is None
    assert bench.started == []
