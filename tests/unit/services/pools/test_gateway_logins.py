"""The Secret that tells the gateway the pools' login keys."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import NAMESPACES, SECRETS
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.services.pools import gateway_logins
from escrow_operator.services.pools.gateway_logins import LONGEST_KEY, GatewayLogins
from escrow_operator.settings import Settings
from unit.factories import pool, pool_body
from unit.kube import InstantKube
from unit.world.context import make_context

HOME, NAME = "escrow", "logins"


class Bench:
    """The service, whose login keys are ``keys``."""

    def __init__(self, *, gateway: bool = True) -> None:
        self.kube = InstantKube()
        self.kube.put(NAMESPACES, {"metadata": {"name": HOME}})
        settings = Settings(slot_login_image="operator", own_namespace=HOME, logins_secret=NAME if gateway else "")
        self.ctx = make_context(self.kube, settings=settings)
        self.keys = {"default": "k" * 64}
        self.logins = GatewayLogins(self.ctx, cast("Any", self))

    def login_key(self, of: Pool) -> str | None:
        return self.keys.get(of.key.name)

    @property
    def told(self) -> dict[str, str]:
        secret = self.kube.find(SECRETS, NAME, HOME) or {}
        return {name: base64.b64decode(text).decode() for name, text in (secret.get("data") or {}).items()}


def named(name: str) -> Pool:
    body = pool_body()
    body["metadata"]["name"] = name
    return Pool.parse(body)


async def test_a_pools_key_is_told_once() -> None:
    bench = Bench()
    await bench.logins.publish(pool())
    await bench.logins.publish(pool())
    assert bench.told == {"shop.default": "k" * 64}
    assert len(bench.kube.writes) == 1


async def test_another_operator_process_writes_nothing_that_is_there() -> None:
    bench = Bench()
    await bench.logins.publish(pool())
    again = GatewayLogins(bench.ctx, cast("Any", bench))
    await again.publish(pool())
    assert len(bench.kube.writes) == 1


async def test_a_key_that_changed_is_told_again() -> None:
    bench = Bench()
    await bench.logins.publish(pool())
    bench.keys["default"] = "n" * 64
    await bench.logins.publish(pool())
    assert bench.told == {"shop.default": "n" * 64}


async def test_a_pool_that_is_gone_is_taken_back_and_others_stay() -> None:
    bench = Bench()
    bench.keys["other"] = "o" * 64
    await bench.logins.publish(pool())
    await bench.logins.publish(named("other"))
    await bench.logins.withdraw(PoolKey("shop", "default"))
    assert bench.told == {"shop.other": "o" * 64}


async def test_what_nobody_took_back_is_found_later() -> None:
    bench = Bench()
    bench.keys["other"] = "o" * 64
    await bench.logins.publish(pool())
    await bench.logins.publish(named("other"))
    bench.ctx.store.see_pool(pool_body())
    await bench.logins.prune()
    assert bench.told == {"shop.default": "k" * 64}


async def test_what_others_changed_is_told_again_after_the_resync() -> None:
    bench = Bench()
    await bench.logins.publish(pool())
    bench.ctx.store.see_pool(pool_body())
    bench.kube.remove(SECRETS, NAME, HOME)
    await bench.logins.prune()
    await bench.logins.publish(pool())
    assert bench.told == {"shop.default": "k" * 64}


async def test_a_tenants_overlong_key_fills_nothing() -> None:
    bench = Bench()
    await bench.logins.publish(pool())
    bench.keys["default"] = "k" * (LONGEST_KEY + 1)
    await bench.logins.publish(pool())
    assert bench.told == {}


async def test_a_namespace_with_many_pools_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_logins, "MOST_IN_NAMESPACE", 1)
    bench = Bench()
    bench.keys["other"] = "o" * 64
    await bench.logins.publish(pool())
    await bench.logins.publish(named("other"))
    assert list(bench.told) == ["shop.default"]
    bench.keys["default"] = "n" * 64
    await bench.logins.publish(pool())
    assert bench.told == {"shop.default": "n" * 64}


async def test_without_a_gateway_nothing_is_asked_or_written() -> None:
    bench = Bench(gateway=False)
    await bench.logins.publish(pool())
    await bench.logins.withdraw(PoolKey("shop", "default"))
    await bench.logins.prune()
    assert not bench.kube.requests


async def test_a_refusal_concerns_no_pool_and_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.kube.refuses[HOME] = KubeError(403, "Forbidden", "no")
    await bench.logins.publish(pool())
    await bench.logins.prune()
    bench.kube.refuses.clear()
    asked = bench.kube.requests.total()
    await bench.logins.publish(pool())
    assert bench.kube.requests.total() == asked, "every pool's reconciliation would ask again"
    monkeypatch.setattr(gateway_logins, "PAUSE_SECONDS", 0.0)
    await bench.logins.publish(pool())
    assert bench.told == {"shop.default": "k" * 64}
