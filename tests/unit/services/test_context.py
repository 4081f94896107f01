"""All services of one operator work with the same things, and two operators share none of them."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import Kube
from escrow_operator.models.session import Phase, SessionKey
from escrow_operator.services.context import Context
from escrow_operator.settings import Settings
from unit.factories import session_body
from unit.kube import InstantKube


@dataclasses.dataclass
class Record:
    """What a service might keep."""

    number: int = 0


def made(*namespaces: str) -> Context:
    settings = Settings(slot_login_image="operator", namespaces=namespaces)
    return Context.make(cast("Kube", InstantKube()), settings, Clock(), CollectorRegistry())


def test_what_the_store_drops_is_forgotten_by_all() -> None:
    ctx = made()
    body = session_body()
    ctx.store.see_session(body)
    ctx.memory.of("uid-shop-demo", Record).number = 7
    ctx.stages.begin("uid-shop-demo")
    ctx.memory.begin("another")
    ctx.stages.begin("another")
    assert len(ctx.memory) == 2
    body["metadata"]["resourceVersion"] = str(10**9)
    ctx.store.drop_session(body)
    assert len(ctx.memory) == 1
    for uid in ("uid-shop-demo", "another"):
        ctx.stages.ready(uid)
    timed = next(iter(ctx.meters.stages.collect())).samples
    assert {sample.value for sample in timed if sample.name.endswith("_count")} == {1}, "the one that is still there"


def test_who_is_urgent_is_read_from_the_same_store() -> None:
    ctx = made()
    ctx.store.see_session(session_body(phase=Phase.ACTIVE))
    assert not ctx.wakeups.is_urgent(SessionKey("shop", "demo"))


def test_the_namespaces_of_the_settings_are_those_that_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for named, looked_at in (((), []), (("shop",), ["shop"])):
        ctx = made(*named)
        seen: list[str] = []
        monkeypatch.setattr(ctx.wakeups.queues["namespaces"], "add", lambda key, _, to=seen: to.append(key))
        ctx.wakeups.namespace("shop")
        assert seen == looked_at


def test_two_operators_share_nothing() -> None:
    one, other = made(), made()
    one.store.see_session(session_body())
    one.meters.events_lost.inc()
    assert not other.store.sessions
    assert len(other.memory) == 0
    assert other.meters.events_lost._value.get() == 0


def test_no_service_puts_another_thing_in_its_place() -> None:
    ctx = made()
    with pytest.raises(dataclasses.FrozenInstanceError):
        ctx.store = made().store  # type: ignore[misc]
