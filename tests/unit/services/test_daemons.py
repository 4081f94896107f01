"""The connection to a monerod, and the Secrets that it takes."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from escrow_operator.adapters.kube import Kube
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import DaemonUnauthorized
from escrow_operator.models.monero import DaemonInfo, Login
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.services import daemons
from escrow_operator.services.daemons import DaemonService
from escrow_operator.services.meters import Meters
from unit.factories import daemon_info, pool

RIGHT = "right"


class FakeKube:
    """One Secret with monerod's login."""

    def __init__(self) -> None:
        self.password = "wrong"
        self.reads = 0

    async def get(self, *_: object) -> dict[str, Any]:
        self.reads += 1
        data = {"username": "user", "password": self.password}
        return {
            "metadata": {"resourceVersion": str(self.reads)},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }


class FakeDaemon:
    """A monerod that checks the login."""

    def __init__(self, _: str, *, login: Login, **__: object) -> None:
        self._login = login

    async def info(self) -> DaemonInfo:
        if self._login.password != RIGHT:
            raise DaemonUnauthorized("get_info: the RPC login was refused")
        return daemon_info()

    async def aclose(self) -> None: ...


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    monkeypatch.setattr(daemons, "Daemon", cast("type[Daemon]", FakeDaemon))
    return FakeKube()


def a_pool() -> Pool:
    daemon = {"address": "monerod:18081", "network": "regtest", "loginSecretRef": {"name": "login"}}
    return pool(daemon=daemon)


async def _watching(kube: FakeKube, pool: Pool) -> tuple[DaemonService, daemons.DaemonKey]:
    service = DaemonService(cast("Kube", kube), Meters(CollectorRegistry()), lambda _, __: None)
    key = await service.watch(pool)
    assert key is not None
    return service, key


def _problem(service: DaemonService, pool: PoolKey) -> str:
    view = service.view(pool)
    assert view is not None
    return view.problem


async def test_a_login_that_was_corrected_is_used(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "SECRETS_SECONDS", -1.0)
    secured = a_pool()
    service, key = await _watching(kube, secured)
    await service.poll(key)
    assert "refused" in _problem(service, secured.key)
    kube.password = RIGHT
    await service.poll(key)
    assert _problem(service, secured.key) == ""
    await service.poll(key)
    assert kube.reads == 2, "Secrets are read once per connection"
    assert service.secrets(secured) == "2"
    await service.close()


async def test_a_monerod_that_is_down_does_not_cost_a_secret_a_second(kube: FakeKube) -> None:
    secured = a_pool()
    service, key = await _watching(kube, secured)
    assert service.secrets(secured) is None
    for _ in range(5):
        await service.poll(key)
    assert (kube.reads, service.secrets(secured)) == (1, "1")
    assert service.secrets(pool("without")) == ""
    await service.close()
