"""The connection to a monerod, and the Secrets that it takes."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from escrow_operator.adapters.json_rpc import rpc_session
from escrow_operator.adapters.kube import Resource
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import DaemonUnauthorized
from escrow_operator.models.monero import DaemonInfo, Login
from escrow_operator.models.pool import DaemonKey, Pool, PoolKey
from escrow_operator.services.monerod import poller as daemons
from escrow_operator.services.monerod.poller import DaemonPoller
from unit.factories import daemon_info, pool
from unit.world.context import make_context, woken

RIGHT = "right"


class FakeKube:
    """One Secret with monerod's login."""

    def __init__(self) -> None:
        self.password = "wrong"
        self.reads = 0
        self.labels = {"xmr-escrow.dev/secret-use": "monerod"}

    async def get(self, *_: object) -> dict[str, Any]:
        self.reads += 1
        data = {"username": b"user", "password": self.password.encode()}
        return {
            "metadata": {"name": "login", "resourceVersion": str(self.reads), "labels": self.labels},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


class FakeDaemon:
    """A monerod that checks the login."""

    def __init__(self, _: str, *, login: Login, **__: object) -> None:
        self._login = login
        self.infos = 0

    async def info(self) -> DaemonInfo:
        self.infos += 1
        if self._login.password != RIGHT:
            raise DaemonUnauthorized("get_info: the RPC login was refused")
        return daemon_info()

    async def spent(self, _: object) -> dict[str, bool]:
        return {}

    async def aclose(self) -> None: ...


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    monkeypatch.setattr(daemons, "Daemon", cast("type[Daemon]", FakeDaemon))
    return FakeKube()


def a_pool() -> Pool:
    daemon = {"address": "monerod:18081", "network": "regtest", "loginSecretRef": {"name": "login"}}
    return pool(daemon=daemon)


async def _watching(kube: FakeKube, pool: Pool) -> tuple[DaemonPoller, DaemonKey]:
    ctx = make_context(kube)
    service = DaemonPoller(ctx, rpc_session)
    await service.watch(pool)
    return service, woken(ctx).daemons[0]


def _problem(service: DaemonPoller, pool: PoolKey) -> str:
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


class OneSecret(FakeKube):
    """A Secret with these values."""

    def __init__(self, **data: bytes) -> None:
        super().__init__()
        self.data = {key: base64.b64encode(value).decode() for key, value in data.items()}

    async def get(self, *_: object) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "1", "labels": self.labels}, "data": self.data}


@pytest.mark.parametrize(
    "data", [{"pin": b"1234"}, {"username": b"u"}, {"username": b"u", "password": b"secret\xff"}, {}]
)
async def test_what_a_secret_of_monerod_holds_is_not_told(data: dict[str, bytes]) -> None:
    secured = a_pool()
    service, key = await _watching(OneSecret(**data), secured)
    await service.poll(key)
    assert _problem(service, secured.key) == "Secret login does not have username and password as text"
    await service.close()


async def test_a_key_that_nobody_asked_for_may_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "Daemon", cast("type[Daemon]", FakeDaemon))
    secured = a_pool()
    service, key = await _watching(OneSecret(username=b"u", password=RIGHT.encode(), other=b"\xff"), secured)
    await service.poll(key)
    assert _problem(service, secured.key) == ""
    await service.close()


async def test_a_pool_of_before_the_pattern_says_that_a_name_is_none() -> None:
    climbing = pool(
        daemon={"address": "monerod:18081", "network": "regtest", "loginSecretRef": {"name": "../../b/secrets/c"}}
    )
    reached: list[str] = []

    class Real(FakeKube):
        async def get(self, *where: object) -> dict[str, Any]:
            resource, namespace, name = cast("tuple[Resource, str, str]", where)
            reached.append(resource.path(namespace, name))
            return await super().get()

    service, key = await _watching(Real(), climbing)
    await service.poll(key)
    assert "'../../b/secrets/c' is not a valid name (secrets)" in _problem(service, climbing.key)
    assert reached == []
    await service.close()


async def test_what_monerod_said_before_does_not_outlive_an_answer_that_breaks(
    kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube.password = RIGHT
    secured = a_pool()
    service, key = await _watching(kube, secured)
    await service.poll(key)
    assert _problem(service, secured.key) == ""

    async def broken(_: object) -> DaemonInfo:
        raise RecursionError

    monkeypatch.setattr(FakeDaemon, "info", broken)
    assert await service.poll(key), "it is asked again"
    assert _problem(service, secured.key) == "its answer could not be read"
    await service.close()


async def test_what_monerod_says_at_a_look_up_is_its_turn(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeDaemon] = []

    class Noted(FakeDaemon):
        def __init__(self, url: str, *, login: Login, **options: object) -> None:
            super().__init__(url, login=login, **options)
            made.append(self)

    monkeypatch.setattr(daemons, "Daemon", cast("type[Daemon]", Noted))
    kube.password = RIGHT
    secured = a_pool()
    service, key = await _watching(kube, secured)
    await service.poll(key)
    await service.poll(key)
    assert made[0].infos == 2
    facts = await service.facts(secured, [], ["e" * 64])
    assert (facts.top, facts.height) == (daemon_info().top_block_hash, daemon_info().height)
    await service.poll(key)
    assert made[0].infos == 3
    monkeypatch.setattr(daemons, "HEARD_SECONDS", 0.0)
    await service.poll(key)
    assert made[0].infos == 4
    await service.close()


async def test_a_login_that_would_configure_more_of_a_wallet_is_not_used(kube: FakeKube) -> None:
    """No slot starts with it, and nothing of it is told."""
    kube.password = f"{RIGHT}\ntx-notify=/wallets/evil"
    pool = a_pool()
    service, key = await _watching(kube, pool)
    await service.poll(key)
    assert service.secrets(pool) is None
    assert "neither may have line breaks" in _problem(service, pool.key)
    assert "evil" not in _problem(service, pool.key)


async def test_those_that_were_noted_while_no_queue_took_anything_are_polled_all_the_same(kube: FakeKube) -> None:
    ctx = make_context(kube)
    service = DaemonPoller(ctx, rpc_session)
    await service.watch(a_pool())
    woken(ctx).daemons.clear()
    await service.watch(a_pool())
    assert not woken(ctx).daemons, "it is watched already"
    service.poll_all()
    assert len(woken(ctx).daemons) == 1
