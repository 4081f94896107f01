"""Sweeps go on whatever happens, and say how well; what others changed is found by the next of them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import ENDPOINT_SLICES, NAMESPACES, PODS, POOLS, SESSIONS
from escrow_operator.adapters.kube_errors import KubeError, UnavailableError
from escrow_operator.core.manifests.common import BASE_LABELS, endpoint_slice_name, owner_reference
from escrow_operator.models.common import Label
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.namespaces import Namespaces
from escrow_operator.services.pools.drift import Applied, DriftDetector
from escrow_operator.services.pools.gateway_logins import GatewayLogins
from escrow_operator.services.resync import periodic
from escrow_operator.services.resync.periodic import START_PATIENCE, PeriodicResync
from escrow_operator.services.resync.relist import Relist
from escrow_operator.services.runtime.work_queue import LONGEST_DELAY
from escrow_operator.services.wallets.closer import WalletCloser
from escrow_operator.settings import Settings
from unit.clocks import FakeClock
from unit.factories import pool_body, session, session_body, slot_body
from unit.kube import FORBIDDEN, InstantKube
from unit.world.context import make_context, woken

AWAY = UnavailableError(0, "Unavailable", "away")
KEY, POOL = SessionKey("shop", "demo"), PoolKey("shop", "default")


class Bench:
    """All that is swept; monerods and login keys are only noted."""

    def __init__(self, *names: str) -> None:
        self.kube, self.clock = InstantKube(), FakeClock()
        settings = Settings(slot_login_image="operator", namespaces=names)
        self.ctx = ctx = make_context(self.kube, clock=self.clock, settings=settings)
        self.store = ctx.store
        self.watched: list[PoolKey] = []
        self.forgotten: list[PoolKey] = []
        namespaces = Namespaces(ctx)
        self.resync = PeriodicResync(
            ctx,
            closer=WalletCloser(ctx, cast("Any", self), cast("Any", self)),
            daemons=cast("Any", self),
            drift=DriftDetector(ctx, Applied(ctx), namespaces),
            logins=GatewayLogins(ctx, cast("Any", self)),
            namespaces=namespaces,
            relist=Relist(ctx, namespaces),
            wallets=cast("Any", self),
        )

    async def watch(self, pool: Pool) -> None:
        self.watched.append(pool.key)

    def forget_login_key(self, pool: PoolKey) -> None:
        self.forgotten.append(pool)

    def leave_connected(self, phase: Phase) -> None:
        """A closed session whose EndpointSlice is still there."""
        body = self.kube.put(SESSIONS, session_body(phase=phase))
        self.store.see_session(body)
        owner = Session.parse(body)
        labels = {**BASE_LABELS, Label.SESSION: owner.key.name}
        name, where = endpoint_slice_name(owner.key), owner.key.namespace
        refs = [owner_reference(owner)]
        self.kube.put(
            ENDPOINT_SLICES,
            {"metadata": {"name": name, "namespace": where, "labels": labels, "ownerReferences": refs}},
        )

    async def resync_is_due(self) -> None:
        await self.resync.sweep()
        self.clock.seconds += self.ctx.settings.intervals.resync.total_seconds()
        woken(self.ctx).woken_sessions.clear()
        woken(self.ctx).woken_pools.clear()

    @property
    def sessions(self) -> list[SessionKey]:
        return woken(self.ctx).woken_sessions


async def test_the_first_sweep_looks_for_what_a_crash_left_and_the_next_do_not() -> None:
    bench = Bench()
    bench.leave_connected(Phase.FAILED)
    await bench.resync.sweep()
    assert bench.resync._meters.last_sweep._value.get() == bench.clock.now().timestamp()
    await bench.resync.sweep()
    assert bench.sessions == [KEY]
    await bench.resync_is_due()
    await bench.resync.sweep()
    assert bench.sessions == [KEY], "what was not withdrawn is found again at the resync"


async def test_a_sweep_looks_at_every_pool_and_a_resync_at_those_that_are_gone_too() -> None:
    bench = Bench()
    bench.store.see_pool(bench.kube.put(POOLS, pool_body()))
    bench.store.see_pool(pool_body("lost"))
    await bench.resync_is_due()
    await bench.resync.sweep()
    assert set(woken(bench.ctx).woken_pools) == {POOL, PoolKey("shop", "lost")}
    assert bench.watched == bench.forgotten == [POOL]
    await bench.resync.sweep()
    assert bench.watched == [POOL], "full lists are not asked for by every sweep"


async def test_a_resync_wakes_those_of_whom_the_lists_say_something_new() -> None:
    bench = Bench()
    bench.store.see_session(bench.kube.put(SESSIONS, session_body("same")))
    await bench.resync_is_due()
    bench.kube.put(SESSIONS, session_body("missed"))
    await bench.resync.sweep()
    assert [key.name for key in bench.sessions] == ["missed"]


async def test_a_resync_that_failed_is_tried_with_the_next_sweep() -> None:
    bench = Bench()
    await bench.resync_is_due()
    bench.kube.put(SESSIONS, session_body("missed"))
    bench.kube.refuses[None] = AWAY
    with pytest.raises(UnavailableError):
        await bench.resync.sweep()
    bench.kube.refuses.clear()
    await bench.resync.sweep()
    assert [key.name for key in bench.sessions] == ["missed"]


async def test_i10_a_namespace_that_refuses_keeps_no_other_from_being_looked_through() -> None:
    bench = Bench("closed", "shop")
    bench.leave_connected(Phase.EXPIRED)
    bench.kube.refuses["closed"] = FORBIDDEN
    await bench.resync.sweep()
    assert bench.sessions == [KEY]
    assert bench.resync.is_fresh


async def test_an_api_server_that_is_away_is_no_reason_to_restart() -> None:
    """Sweeps fail for hours; that they are tried is what counts."""
    bench = Bench()
    bench.kube.refuses[None] = AWAY
    bench.store.see_slot(slot_body("p", owner=session()))
    for hour in range(1, 10):
        bench.clock.seconds = hour * LONGEST_DELAY
        with pytest.raises(UnavailableError):
            await bench.resync.sweep()
        assert bench.resync.is_alive
    assert not bench.resync.is_fresh

    bench.kube.refuses.clear()
    await bench.resync.sweep()
    assert bench.resync.is_fresh


async def test_sweeps_that_are_tried_no_more_are() -> None:
    bench = Bench()
    await bench.resync.sweep()
    bench.clock.seconds = 3600
    assert not bench.resync.is_alive


async def test_a_sweep_that_hangs_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "SWEEP_SECONDS", 0.01)
    bench = Bench()

    monkeypatch.setattr(bench.kube, "pages", bench.kube.watch)
    bench.clock.seconds = 7.0
    with pytest.raises(TimeoutError):
        await bench.resync.sweep()
    assert bench.resync.is_alive


async def test_a_start_waits_for_a_namespace_that_exists_and_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that has just started refuses everything, and the pods in there count against the cap."""
    monkeypatch.setattr(periodic, "START_AGAIN", 0.0)
    bench = Bench("shop")
    bench.kube.put(PODS, slot_body("p"))
    lists, pages = 0, bench.kube.pages

    def refused_at_first(*args: Any, **labels: Any) -> Any:
        nonlocal lists
        lists += 1
        bench.kube.refuses = {"shop": FORBIDDEN} if lists < 3 else {}
        return pages(*args, **labels)

    monkeypatch.setattr(bench.kube, "pages", refused_at_first)
    versions = await bench.resync.first_list()
    assert versions["shop"] is not None
    assert bench.store.count_slots(POOL) == 1


async def test_a_start_does_without_a_namespace_that_is_gone_and_waits_for_no_other_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(periodic, "START_AGAIN", 0.0)
    bench = Bench("shop", "gone")
    get = bench.kube.get
    refuses: dict[str | None, KubeError] = {"gone": FORBIDDEN}

    async def asked(*args: Any) -> Any:
        # Whether there is one it may ask, what is in it it may not.
        bench.kube.refuses = {}
        try:
            return await get(*args)
        finally:
            bench.kube.refuses = refuses

    monkeypatch.setattr(bench.kube, "get", asked)
    bench.kube.refuses = refuses
    assert (await bench.resync.first_list())["gone"] is None

    bench.kube.put(NAMESPACES, {"metadata": {"name": "gone"}})
    tries, monotonic = 0, bench.clock.monotonic

    def passes() -> float:
        nonlocal tries
        tries += 1
        bench.clock.seconds += START_PATIENCE / 4
        return monotonic()

    monkeypatch.setattr(bench.clock, "monotonic", passes)
    assert (await bench.resync.first_list())["gone"] is None
    assert tries > 2, "it waited"
