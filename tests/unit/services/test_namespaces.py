"""What one namespace refuses concerns that namespace alone, and what is in it counts until it is certainly gone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from escrow_operator.adapters.kube import NAMESPACES
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError, UnavailableError
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.services.namespaces import FORGET_SECONDS, LOOK_SECONDS, Namespaces
from escrow_operator.settings import Settings
from unit.clocks import FakeClock
from unit.factories import pool_body, session, session_body, slot_body
from unit.kube import FORBIDDEN, InstantKube
from unit.world.context import make_context, woken

ENDING = "2026-01-01T00:00:00Z"


class Bench:
    """Some namespaces that are served by name, each with a pool, a session and its pod."""

    def __init__(self, *names: str) -> None:
        self.kube, self.clock = InstantKube(), FakeClock()
        settings = Settings(slot_login_image="operator", namespaces=names)
        self.ctx = make_context(self.kube, clock=self.clock, settings=settings)
        self.store = self.ctx.store
        self.namespaces = Namespaces(self.ctx)
        for name in names:
            self.kube.put(NAMESPACES, {"metadata": {"name": name}})
            self.store.see_pool(pool_body(namespace=name))
            self.store.see_session(session_body(namespace=name))
            self.store.see_slot(slot_body("p", owner=session(namespace=name), namespace=name))

    def is_deleted(self, name: str) -> None:
        self.kube.put(NAMESPACES, {"metadata": {"name": name, "deletionTimestamp": ENDING, "finalizers": ["it"]}})

    def known(self) -> set[str]:
        """Of which namespaces there are sessions."""
        return {key.namespace for key in self.store.sessions}

    @property
    def woken(self) -> list[SessionKey | PoolKey]:
        return [*woken(self.ctx).woken_sessions, *woken(self.ctx).woken_pools]

    @property
    def refused(self) -> Any:
        """The number that monitoring sees."""
        return self.ctx.meters.namespaces_refused._value.get()


async def says(answer: str | KubeError) -> str:
    """Some work in a namespace."""
    if isinstance(answer, KubeError):
        raise answer
    return answer


async def test_a_namespace_is_forgotten_when_it_is_certainly_gone() -> None:
    bench = Bench("shop", "closed")
    bench.kube.remove(NAMESPACES, "closed")
    await bench.namespaces.look("closed")
    assert bench.known() == {"shop"}
    assert bench.store.pools.keys() == {PoolKey("shop", "default")}
    assert not bench.store.slots_of_pool(PoolKey("closed", "default"))
    assert set(bench.woken) == {SessionKey("closed", "demo"), PoolKey("closed", "default")}
    assert bench.namespaces.is_gone("closed")


async def test_a_namespace_that_only_refuses_keeps_its_places_under_the_cap() -> None:
    """The operator may not even ask for it: the Role that let it was there."""
    bench = Bench("closed")
    bench.kube.refuses["closed"] = FORBIDDEN
    assert await bench.namespaces.apart("closed", says(FORBIDDEN)) is None
    bench.clock.seconds = FORGET_SECONDS
    await bench.namespaces.apart("closed", says(FORBIDDEN))
    await bench.namespaces.look("closed")
    assert bench.known() == {"closed"}
    bench.clock.seconds = FORGET_SECONDS + 1
    await bench.namespaces.look("closed")
    assert bench.known() == set()


async def test_a_namespace_that_can_be_read_is_not_forgotten_for_who_may_not_ask_for_it() -> None:
    bench = Bench("shop")
    bench.kube.refuses["shop"] = FORBIDDEN
    bench.clock.seconds = 10 * FORGET_SECONDS
    await bench.namespaces.look("shop")
    assert bench.known() == {"shop"}


async def test_refusals_count_from_the_first_and_anew_after_an_answer() -> None:
    bench = Bench("shop")
    bench.kube.refuses["shop"] = FORBIDDEN
    await bench.namespaces.apart("shop", says(FORBIDDEN))
    bench.clock.seconds = FORGET_SECONDS - 1
    await bench.namespaces.apart("shop", says("there is one"))
    await bench.namespaces.apart("shop", says(FORBIDDEN))
    bench.clock.seconds = FORGET_SECONDS + 1
    await bench.namespaces.apart("shop", says(FORBIDDEN))
    await bench.namespaces.look("shop")
    assert bench.known() == {"shop"}


async def test_the_sessions_of_a_namespace_that_is_being_deleted_end_with_it() -> None:
    bench = Bench("shop", "other")
    await bench.namespaces.look("shop")
    assert not bench.store.ending
    bench.is_deleted("shop")
    await bench.namespaces.look("shop")
    assert bench.store.ending == {"shop"}
    assert bench.woken == [SessionKey("shop", "demo"), PoolKey("shop", "default")]
    await bench.namespaces.look("shop")
    assert len(bench.woken) == 2, "they are told once"


async def test_in_a_namespace_that_was_made_again_nothing_ends() -> None:
    bench = Bench("shop")
    bench.is_deleted("shop")
    await bench.namespaces.look("shop")
    bench.kube.put(NAMESPACES, {"metadata": {"name": "shop", "uid": "made-again"}})
    await bench.namespaces.look("shop")
    assert not bench.store.ending


async def test_a_namespace_that_comes_back_is_not_gone() -> None:
    bench = Bench("shop")
    bench.kube.remove(NAMESPACES, "shop")
    assert await bench.namespaces.look("shop") == LOOK_SECONDS, "it is looked for"
    bench.kube.put(NAMESPACES, {"metadata": {"name": "shop"}})
    await bench.namespaces.look("shop")
    assert not bench.namespaces.is_gone("shop")


async def test_nothing_is_forgotten_for_an_api_server_that_does_not_answer() -> None:
    bench = Bench("shop")
    bench.kube.refuses[None] = UnavailableError(503, "Unavailable", "away")
    bench.clock.seconds = 10 * FORGET_SECONDS
    with pytest.raises(UnavailableError):
        await bench.namespaces.look("shop")
    assert bench.known() == {"shop"}


async def test_i10_a_refusal_is_told_once_and_counted_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench("shop", "closed")
    for _ in range(3):
        assert await bench.namespaces.apart("closed", says(FORBIDDEN)) is None
    assert await bench.namespaces.apart("shop", says("well")) == "well"
    assert bench.namespaces.is_refused("closed")
    assert not bench.namespaces.is_refused("shop")
    assert bench.refused == 1
    assert await bench.namespaces.apart("closed", says("well")) == "well"
    assert bench.refused == 0
    assert [record.getMessage().split(",")[0].split(":")[0] for record in caplog.records] == [
        "namespace closed cannot be served",
        "namespace closed is served again",
    ]


@pytest.mark.parametrize("error", [UnavailableError(503, "Unavailable", "away"), NotFoundError(404, "NotFound", "it")])
async def test_what_is_no_refusal_is_nobody_elses_to_swallow(error: KubeError) -> None:
    bench = Bench("shop")
    with pytest.raises(type(error)):
        await bench.namespaces.apart("shop", says(error))
    assert not bench.namespaces.is_refused("shop")


async def test_what_the_whole_cluster_refuses_is_an_error() -> None:
    bench = Bench()
    assert bench.namespaces.served == (None,)
    with pytest.raises(KubeError, match="forbidden"):
        await bench.namespaces.apart(None, says(FORBIDDEN))
    assert not bench.namespaces.is_refused(None)
