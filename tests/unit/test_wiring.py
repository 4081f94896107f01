"""The operator as a whole, on an API server in memory: who is woken, and what a crash leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import ENDPOINT_SLICES, PODS, SECRETS, Kube
from escrow_operator.adapters.kube_errors import UnavailableError
from escrow_operator.core.daemon import DaemonView
from escrow_operator.core.manifests.common import (
    BASE_LABELS,
    connection_name,
    endpoint_slice_name,
    owner_reference,
)
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.resync import periodic as upkeep
from escrow_operator.services.runtime.work_queue import LONGEST_DELAY
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator
from unit.factories import pool_body, session, session_body, slot_body
from unit.services.cluster import FakeCluster

POOL = PoolKey("shop", "default")


class Watch(Clock):
    """A clock of which a test sets what monotonic() says."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed


def operator_on(cluster: FakeCluster, clock: Clock | None = None) -> Operator:
    """Not started: nothing is looked at but what a test asks for."""
    settings = Settings(slot_login_image="operator")
    return Operator(cast("Kube", cluster), settings, clock or Clock())


def connections(owner: Session) -> list[tuple[Any, dict[str, Any]]]:
    """What clients connect with."""
    meta = {
        "namespace": owner.key.namespace,
        "uid": "some",
        "labels": {**BASE_LABELS, Label.SESSION: owner.key.name},
        "ownerReferences": [owner_reference(owner)],
    }
    return [
        (ENDPOINT_SLICES, {"metadata": meta | {"name": endpoint_slice_name(owner.key)}}),
        *((SECRETS, {"metadata": meta | {"name": connection_name(owner.key, role)}}) for role in ROLES),
    ]


AWAY = DaemonView(None, "it is away")


def woken(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sessions that are woken from now on."""
    names: list[str] = []

    def wake(keys: Iterable[SessionKey]) -> None:
        names.extend(key.name for key in keys)

    monkeypatch.setattr(operator.wakeups, "sessions", wake)
    monkeypatch.setattr(operator.wakeups, "pool", lambda _: None)
    return names


@pytest.mark.parametrize("only_mempool", [True, False])
async def test_closed_and_failed_sessions_cost_nothing_at_a_new_mempool_or_block(
    only_mempool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = operator_on(FakeCluster())
    for phase in Phase:
        operator.store.see_session(session_body(phase.value.lower(), phase=phase))
    names = woken(operator, monkeypatch)

    operator.wakeups.daemon_changed(POOL, AWAY, only_mempool=only_mempool)

    assert set(names) == {"pending", "opening", "active", "settling"}


async def test_i10_a_block_wakes_none_of_those_who_wait_for_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's monerod says that there is another one each second, and each look asks for Secrets."""
    operator = operator_on(FakeCluster())
    operator.store.see_pool(pool_body())
    for name, reason in (("told", "DaemonUnreachable"), ("not-told", "Synced")):
        daemon = {"type": "DaemonSynced", "status": "Unknown", "reason": reason}
        operator.store.see_session(session_body(name, phase=Phase.PENDING, status={"conditions": [daemon]}))
    operator.store.see_session(session_body("fresh", phase=Phase.PENDING))
    holder = session("holder", phase=Phase.OPENING, status={"conditions": [{"type": "DaemonSynced"}]})
    operator.store.see_session(session_body("holder", phase=Phase.OPENING))
    operator.store.see_slot(slot_body("p", owner=holder))
    names = woken(operator, monkeypatch)

    operator.wakeups.daemon_changed(POOL, AWAY, only_mempool=False)

    assert set(names) == {"not-told", "fresh", "holder"}


async def test_an_index_that_names_an_unknown_session_wakes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = operator_on(FakeCluster())
    operator.store.see_session(session_body(phase=Phase.ACTIVE))
    known = operator.store.sessions_of_pool
    monkeypatch.setattr(operator.store, "sessions_of_pool", lambda pool: [SessionKey("shop", "gone"), *known(pool)])
    names = woken(operator, monkeypatch)

    operator.wakeups.daemon_changed(POOL, AWAY, only_mempool=False)

    assert names == ["demo"]


async def test_what_a_crash_left_of_a_closed_session_is_withdrawn() -> None:
    """Its status was written, its pods went, and nobody was there to delete what clients connect with."""
    cluster = FakeCluster()
    operator = operator_on(cluster)
    closed, active = session_body(phase=Phase.EXPIRED), session_body("active", phase=Phase.ACTIVE)
    for body in (closed, active):
        operator.store.see_session(body)
        for resource, made in connections(Session.parse(body)):
            cluster.put(resource, made)

    assert await operator.closer.find_stale(None) == [SessionKey("shop", "demo")]
    await operator.sessions.reconcile(SessionKey("shop", "demo"))

    left = {(resource.plural, name) for (resource, _, name), body in cluster.objects.items() if body.get("data") != {}}
    assert left == {
        (resource.plural, made["metadata"]["name"]) for resource, made in connections(Session.parse(active))
    }


async def test_the_first_sweep_looks_for_what_a_crash_left(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    operator = operator_on(cluster)
    body = session_body(phase=Phase.FAILED)
    operator.store.see_session(body)
    for resource, made in connections(Session.parse(body)):
        cluster.put(resource, made)
    names: list[SessionKey] = []
    monkeypatch.setattr(operator.wakeups, "sessions", names.extend)

    await operator.resync.sweep()
    await operator.resync.sweep()

    assert names == [SessionKey("shop", "demo")]


async def test_a_predecessors_host_names_are_left_to_garbage_collection() -> None:
    cluster = FakeCluster()
    operator = operator_on(cluster)
    former = session_body(phase=Phase.EXPIRED)
    former["metadata"]["uid"] = "former"
    for resource, made in connections(Session.parse(former)):
        cluster.put(resource, made)
    operator.store.see_session(session_body(phase=Phase.EXPIRED))

    assert await operator.closer.find_stale(None) == []


async def test_connections_are_withdrawn_before_the_pods_go() -> None:
    """A crash in between finds pods, and withdraws again."""
    cluster = FakeCluster()
    operator = operator_on(cluster)
    operator.store.see_session(session_body(phase=Phase.EXPIRED))
    for role in Role:
        # Not ready: there is no wallet that could be asked to close.
        operator.store.see_slot(slot_body(f"pod-{role}", role, owner=session(), ready=False))

    await operator.sessions.reconcile(SessionKey("shop", "demo"))

    assert [name.partition("/")[0] for name in cluster.withdrawn] == [SECRETS.plural] * 3
    kinds = [name.partition("/")[0] for name in cluster.deleted]
    assert kinds == [ENDPOINT_SLICES.plural] + [PODS.plural] * 3


async def test_wallets_close_although_connections_cannot_be_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    operator = operator_on(cluster)
    operator.store.see_session(session_body(phase=Phase.EXPIRED))
    operator.store.see_slot(slot_body("p", owner=session(), ready=False))

    async def refuse(*_: Any) -> None:
        raise UnavailableError(500, "InternalError", "not now")

    monkeypatch.setattr(cluster, "patch", refuse)
    await operator.sessions.reconcile(SessionKey("shop", "demo"))

    assert cluster.deleted == ["pods/p"]


async def test_sessions_of_an_ending_namespace_end_as_if_they_were_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    operator = operator_on(cluster)
    operator.store.see_session(session_body(phase=Phase.ACTIVE))
    finished: list[str] = []

    async def finish(session: Session) -> None:
        finished.append(session.key.name)

    operator.store.ending.add("shop")
    monkeypatch.setattr(operator.sessions._closer, "finish", finish)
    await operator.sessions.reconcile(SessionKey("shop", "demo"))

    assert finished == ["demo"]


async def test_an_api_server_that_is_away_is_no_reason_to_restart() -> None:
    """Sweeps fail for hours; that they are tried is what counts."""
    cluster, clock = FakeCluster(), Watch()
    operator = operator_on(cluster, clock)
    cluster.refuses[None] = UnavailableError(0, "Unavailable", "away")
    operator.store.see_slot(slot_body("p", owner=session()))
    for hour in range(1, 10):
        clock.passed = hour * LONGEST_DELAY
        with pytest.raises(UnavailableError):
            await operator.resync.sweep()
        assert operator.resync.is_alive
    assert not operator.resync.is_fresh

    cluster.refuses.clear()
    await operator.resync.sweep()
    assert operator.resync.is_fresh


async def test_sweeps_that_are_tried_no_more_are() -> None:
    clock = Watch()
    operator = operator_on(FakeCluster(), clock)
    await operator.resync.sweep()
    clock.passed = 3600
    assert not operator.resync.is_alive


async def test_a_sweep_that_hangs_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SWEEP_SECONDS", 0.01)
    cluster, clock = FakeCluster(), Watch()
    operator = operator_on(cluster, clock)

    async def hang(*_: object, **__: object) -> Any:
        async for _event in cluster.watch():
            pass

    monkeypatch.setattr(cluster, "list", hang)
    clock.passed = 7.0
    with pytest.raises(TimeoutError):
        await operator.resync.sweep()
    assert operator.resync.is_alive
