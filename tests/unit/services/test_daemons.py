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
        self.labels = {"xmr-escrow.dev/secret-use": "monerod"}
        self.more: dict[str, bytes] = {}

    async def get(self, *_: object) -> dict[str, Any]:
        self.reads += 1
        data = {"username": b"user", "password": self.password.encode()} | self.more
        return {
            "metadata": {"name": "login", "resourceVersion": str(self.reads), "labels": self.labels},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
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


@pytest.mark.parametrize("labels", [{}, {"xmr-escrow.dev/secret-use": "wallet-password"}])
async def test_a_secret_that_is_not_marked_reaches_no_monerod_and_no_pod(
    kube: FakeKube, labels: dict[str, str]
) -> None:
    kube.labels, kube.password = labels, RIGHT
    secured = a_pool()
    service, key = await _watching(kube, secured)
    await service.poll(key)
    assert service.secrets(secured) is None, "slots are started with it"
    assert "kubectl -n shop label secret login xmr-escrow.dev/secret-use=monerod" in _problem(service, secured.key)
    assert service.secrets_problem(secured.key) == ("SecretNotMarked", _problem(service, secured.key))
    await service.close()


async def test_a_mark_that_is_taken_away_counts_at_the_next_reading(
    kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons, "SECRETS_SECONDS", -1.0)
    secured = a_pool()
    service, key = await _watching(kube, secured)
    await service.poll(key)
    assert service.secrets(secured) == "1"
    kube.labels = {}
    await service.poll(key)
    assert service.secrets(secured) is None
    await service.close()


async def test_what_else_is_in_the_secret_does_not_matter_and_no_byte_of_it_is_told(kube: FakeKube) -> None:
    kube.password, kube.more = RIGHT, {"keystore.jks": b"\xfe\xed"}
    secured = a_pool()
    service, key = await _watching(kube, secured)
    await service.poll(key)
    assert _problem(service, secured.key) == ""
    kube.more = {"password": b"\xfe\xed"}
    other = pool("other", daemon={"address": "m:1", "network": "regtest", "loginSecretRef": {"name": "login"}})
    key = await service.watch(other)  # type: ignore[assignment]
    await service.poll(key)
    assert "0xfe" not in _problem(service, other.key)
    assert "password" in _problem(service, other.key)
    await service.close()
