"""Who is woken by what, in which order, and how soon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from escrow_operator.core.daemon import DaemonView
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import Phase, SessionKey
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.runtime.meters import Meters
from escrow_operator.services.runtime.work_queue import WorkQueue
from escrow_operator.services.scheduling import (
    LIST_DELAY,
    POOL_DELAY,
    SESSIONS_PER_SECOND,
    SLOTS_PER_SECOND,
    Handlers,
    Wakeups,
)
from escrow_operator.services.state.store import Store
from unit.factories import pool_body, session, session_body, slot_body

POOL = PoolKey("shop", "default")
AWAY = DaemonView(None, "it is away")


class Bench:
    """Wakeups over a store, whose queues only note what is put into them, and when it is due."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *named: str) -> None:
        self.store = Store(Memory())
        self.wakeups = Wakeups(self.store, Meters(CollectorRegistry()), named)
        self.due: dict[str, list[tuple[Any, float]]] = {name: [] for name in self.wakeups.queues}
        for name, queue in self.wakeups.queues.items():
            monkeypatch.setattr(queue, "add", lambda key, delay=0.0, to=self.due[name]: to.append((key, delay)))

    def names(self) -> list[str]:
        """Of the sessions that were woken, in order."""
        return [key.name for key, _ in self.due["sessions"]]

    def sees(self, *names: str, **session: Any) -> None:
        for name in names:
            self.store.see_session(session_body(name, **session))


@pytest.mark.parametrize("only_mempool", [True, False])
def test_closed_and_failed_sessions_cost_nothing_at_a_new_mempool_or_block(
    monkeypatch: pytest.MonkeyPatch, only_mempool: bool
) -> None:
    bench = Bench(monkeypatch)
    for phase in Phase:
        bench.sees(phase.value.lower(), phase=phase)
    bench.wakeups.daemon_changed(POOL, AWAY, only_mempool=only_mempool)
    assert set(bench.names()) == {"pending", "opening", "active", "settling"}


def test_i10_a_block_wakes_none_of_those_who_wait_for_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's monerod says that there is another one each second, and each look asks for Secrets."""
    bench = Bench(monkeypatch)
    bench.store.see_pool(pool_body())
    for name, reason in (("told", "DaemonUnreachable"), ("not-told", "Synced")):
        daemon = {"type": "DaemonSynced", "status": "Unknown", "reason": reason}
        bench.sees(name, phase=Phase.PENDING, status={"conditions": [daemon]})
    bench.sees("fresh", phase=Phase.PENDING)
    told = {"type": "DaemonSynced", "status": "False", "reason": "DaemonUnreachable"}
    bench.sees("holder", phase=Phase.OPENING, status={"conditions": [told]})
    bench.store.see_slot(slot_body("p", owner=session("holder")))
    bench.wakeups.daemon_changed(POOL, AWAY, only_mempool=False)
    assert set(bench.names()) == {"not-told", "fresh", "holder"}


def test_an_index_that_names_an_unknown_session_wakes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.sees("demo", phase=Phase.ACTIVE)
    known = bench.store.sessions_of_pool
    monkeypatch.setattr(bench.store, "sessions_of_pool", lambda pool: [SessionKey("shop", "gone"), *known(pool)])
    bench.wakeups.daemon_changed(POOL, AWAY, only_mempool=False)
    assert bench.names() == ["demo"]


def test_who_awaits_money_goes_first_and_alone_hears_of_the_mempool(monkeypatch: pytest.MonkeyPatch) -> None:
    funded = {"funding": {"state": "Confirmed", "received": "0.35"}}
    for only_mempool, woken in ((True, ["awaits-1", "awaits-2"]), (False, ["awaits-1", "awaits-2", "funded"])):
        bench = Bench(monkeypatch)
        bench.sees("funded", phase=Phase.ACTIVE, status=funded)
        bench.sees("awaits-1", "awaits-2", phase=Phase.ACTIVE)
        monkeypatch.setattr(bench.store, "sessions_of_pool", lambda _, known=bench.store.sessions: sorted(known)[::-1])
        bench.wakeups.daemon_changed(POOL, AWAY, only_mempool=only_mempool)
        assert sorted(bench.names()[:2]) == woken[:2]
        assert bench.names()[2:] == woken[2:]
        assert [key for key, _ in bench.due["pools"]] == [POOL]


def test_a_block_wakes_thousands_of_sessions_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    keys = [SessionKey("shop", f"trade-{number}") for number in range(2 * SESSIONS_PER_SECOND)]
    bench.wakeups.sessions(iter(keys))
    assert [key for key, _ in bench.due["sessions"]] == keys
    delays = [delay for _, delay in bench.due["sessions"]]
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert sum(1 for delay in delays if delay < 1) == SESSIONS_PER_SECOND


def test_one_session_is_looked_at_now_and_a_pool_the_later_the_more_pods_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch)
    bench.wakeups.session(SessionKey("shop", "demo"))
    bench.wakeups.pool(POOL)
    monkeypatch.setattr(bench.store, "count_slots", lambda _: 3 * SLOTS_PER_SECOND)
    bench.wakeups.pool(POOL)
    assert bench.due["sessions"] == [(SessionKey("shop", "demo"), 0.0)]
    assert bench.due["pools"] == [(POOL, POOL_DELAY), (POOL, POOL_DELAY + 3)]


@pytest.mark.parametrize(
    ("seen", "urgent"),
    [
        ({"phase": Phase.PENDING}, True),
        ({"phase": Phase.OPENING}, True),
        ({"phase": Phase.ACTIVE}, False),
        ({"phase": Phase.SETTLING}, False),
        ({"phase": Phase.EXPIRED}, True),
        (None, True),
    ],
)
def test_who_waits_for_a_look_goes_before_those_that_are_looked_at_for_the_record(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any] | None, urgent: bool
) -> None:
    bench = Bench(monkeypatch)
    if seen:
        bench.sees("demo", **seen)
    assert bench.wakeups.is_urgent(SessionKey("shop", "demo")) is urgent


def test_a_deleted_session_is_urgent_although_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    body = session_body(phase=Phase.ACTIVE)
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    bench.store.see_session(body)
    assert bench.wakeups.is_urgent(SessionKey("shop", "demo"))


def test_only_namespaces_that_are_served_by_name_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, "shop")
    for namespace in ("shop", "elsewhere"):
        bench.wakeups.namespace(namespace)
        bench.wakeups.pod_ends(namespace)
    assert bench.due["namespaces"] == [("shop", 0.0), ("shop", POOL_DELAY)]


@pytest.mark.parametrize(("named", "listed"), [((), None), (("shop",), "shop")])
def test_our_list_comes_after_kopfs_and_is_of_what_is_served(
    monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...], listed: str | None
) -> None:
    bench = Bench(monkeypatch, *named)
    bench.wakeups.relist("shop")
    assert bench.due["lists"] == [(listed, LIST_DELAY)]


async def test_all_pools_are_looked_at_and_so_are_those_who_wait_for_their_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch)
    free: list[PoolKey] = []

    async def nothing(_: object) -> None: ...

    queues: dict[str, Any] = dict.fromkeys(
        ("session", "pool", "daemon", "namespace", "relist", "sweep", "prepare"), nothing
    )
    bench.wakeups.serve(Handlers(**queues, place_free=lambda: None, slot_free=free.append))
    for name in ("a", "b"):
        bench.store.see_pool(pool_body(name))
    bench.wakeups.all_pools()
    assert {key.name for key, _ in bench.due["pools"]} == {key.name for key in free} == {"a", "b"}
    await bench.wakeups.close()


async def test_closing_ends_what_wakes_others_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that ends last would fill the queues that were closed."""
    closed: list[WorkQueue[Any]] = []

    async def close(queue: WorkQueue[Any]) -> None:
        closed.append(queue)

    bench = Bench(monkeypatch)
    monkeypatch.setattr(WorkQueue, "close", close)
    await bench.wakeups.close()
    order = [next(name for name, one in bench.wakeups.queues.items() if one is queue) for queue in closed]
    assert len(order) == len(set(order)) == len(bench.wakeups.queues)
    wakes: Iterable[tuple[str, str]] = [("sweep", "sessions"), ("lists", "pools"), ("daemons", "sessions")]
    assert all(order.index(first) < order.index(then) for first, then in wakes)
