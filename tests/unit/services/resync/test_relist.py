"""Sweeps delete no living pod of a living session, and namespaces fail alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import NAMESPACES, PODS, POOLS, SESSIONS, Resource
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError, UnavailableError
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.services.namespaces import Namespaces
from escrow_operator.services.pools.drift import Applied, DriftDetector
from escrow_operator.services.resync import relist
from escrow_operator.services.resync.relist import Relist
from escrow_operator.settings import Settings
from unit.factories import pool_body, session, session_body, slot_body
from unit.kube import FORBIDDEN, InstantKube
from unit.world.context import make_context, woken


class Watch(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed


class Bench:
    """The services that read all there is, for some namespaces."""

    def __init__(self, *names: str) -> None:
        self.kube = InstantKube()
        self.clock = Watch()
        settings = Settings(slot_login_image="operator", namespaces=names)
        self.ctx = make_context(self.kube, clock=self.clock, settings=settings)
        self.store = self.ctx.store
        self.namespaces = Namespaces(self.ctx)
        self.relist = Relist(self.ctx, self.namespaces)
        self.drift = DriftDetector(self.ctx, Applied(self.ctx), self.namespaces)

    @property
    def changed(self) -> list[SessionKey | PoolKey]:
        """Who was woken."""
        return [*woken(self.ctx).woken_sessions, *woken(self.ctx).woken_pools]

    def fill(self, namespace: str) -> None:
        """A namespace with a pool, a session and its pod."""
        self.kube.put(NAMESPACES, {"metadata": {"name": namespace}})
        self.kube.put(POOLS, pool_body(namespace=namespace))
        self.kube.put(SESSIONS, session_body(namespace=namespace))
        owner = session(namespace=namespace)
        self.kube.put(PODS, slot_body(f"pod-{namespace}", owner=owner, namespace=namespace))

    def known(self) -> set[str]:
        """Of which namespaces there are sessions."""
        return {key.namespace for key in self.store.sessions}


async def test_the_pods_of_a_session_that_lives_are_no_orphans_whatever_was_seen() -> None:
    """A wrong deletion closes the wallets of a trade."""
    bench = Bench()
    bench.fill("shop")
    bench.store.see_slot(slot_body("p", owner=session()))
    assert [slot.name for slot in bench.store.orphans()] == ["p"]

    await bench.relist.heal_orphans()

    assert bench.kube.written("delete") == []
    assert bench.store.orphans() == [], "and what was read is known from now on"


async def test_the_pods_of_a_session_that_is_gone_or_another_are_deleted() -> None:
    bench = Bench()
    bench.store.see_slot(slot_body("of-the-gone", owner=session("gone")))
    bench.store.see_slot(slot_body("of-the-former", owner=session("again")))
    again = session_body("again")
    again["metadata"]["uid"] = "another"
    bench.kube.put(SESSIONS, again)

    await bench.relist.heal_orphans()

    assert set(bench.kube.written("delete")) == {"pods/of-the-gone", "pods/of-the-former"}


@pytest.mark.parametrize(
    "error", [FORBIDDEN, NotFoundError(404, "NotFound", "the server could not find the requested resource")]
)
async def test_who_cannot_be_sure_deletes_nothing_and_goes_on(error: KubeError) -> None:
    bench = Bench()
    bench.store.see_slot(slot_body("unsure", owner=session("gone", namespace="closed"), namespace="closed"))
    bench.store.see_slot(slot_body("sure", owner=session("gone")))
    bench.kube.refuses["closed"] = error

    await bench.relist.heal_orphans()

    assert bench.kube.written("delete") == ["pods/sure"]


async def test_i10_many_orphans_of_one_namespace_keep_nobody_elses_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relist, "ORPHANS_AT_ONCE", 2)
    bench = Bench()
    for number in range(10):
        owner = session("gone", namespace="flood")
        bench.store.see_slot(slot_body(f"flood-{number}", owner=owner, namespace="flood"))
    bench.store.see_slot(slot_body("of-another", owner=session("gone")))

    await bench.relist.heal_orphans()

    assert "pods/of-another" in bench.kube.written("delete")
    assert len(bench.kube.written("delete")) == 3


async def test_i10_a_namespace_that_refuses_is_left_out_of_lists_and_drift() -> None:
    bench = Bench("shop", "closed")
    bench.fill("shop")
    bench.fill("closed")
    bench.kube.refuses["closed"] = FORBIDDEN

    _, versions = await bench.relist.everything()
    await bench.drift.look()

    assert bench.known() == {"shop"}
    assert versions == {"shop": str(bench.kube.server.version), "closed": None}
    assert bench.namespaces.is_refused("closed")

    del bench.kube.refuses["closed"]
    news, _ = await bench.relist.everything()
    assert news == {SessionKey("closed", "demo")}
    assert not bench.namespaces.is_refused("closed")


async def test_what_all_namespaces_refuse_or_the_api_server_does_not_answer_is_an_error() -> None:
    bench = Bench()
    bench.kube.refuses[None] = FORBIDDEN
    with pytest.raises(KubeError, match="forbidden"):
        await bench.relist.everything()
    bench = Bench("shop")
    bench.kube.refuses["shop"] = UnavailableError(0, "Unavailable", "away")
    with pytest.raises(UnavailableError):
        await bench.relist.everything()


async def test_a_list_that_fails_half_way_drops_nothing() -> None:
    bench = Bench()
    bench.fill("shop")
    bench.fill("market")
    await bench.relist.everything()
    before = set(bench.store.sessions)
    pages = bench.kube.pages

    async def broken(resource: Resource, namespace: str | None = None, **_: object) -> Any:
        async for page in pages(resource, namespace):
            yield page._replace(items=page.items[:1])
        raise UnavailableError(500, "InternalError", "etcd is away")

    bench.kube.pages = broken  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await bench.relist.everything()
    assert set(bench.store.sessions) == before
    await asyncio.sleep(0)
