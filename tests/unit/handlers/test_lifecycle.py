"""The operator starts when the API server lets it, however long that takes, and kubelet hears from it meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import kopf
import pytest

from escrow_operator.adapters.health import ALIVE_PATH, READY_PATH
from escrow_operator.adapters.kube import LEASES, NAMESPACES, Kube
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError, UnavailableError
from escrow_operator.handlers import Memo, lifecycle
from escrow_operator.handlers.backoff import DELAYS, Backoff
from escrow_operator.handlers.lifecycle import cleanup, startup
from escrow_operator.services.resync.periodic import PeriodicResync
from escrow_operator.services.runtime.leadership import Leadership
from escrow_operator.settings import Settings
from unit.kube import InstantKube

HOME = "xmr-escrow-system"

AWAY = UnavailableError(503, "Unavailable", "the API server does not answer")


class ApiServer(InstantKube):
    """One to which the operator connects again for each attempt to start."""

    def __init__(self, error: KubeError) -> None:
        super().__init__()
        self.put(NAMESPACES, {"metadata": {"name": HOME}})
        self.refuses[None] = error
        self.attempts = self.closed = 0
        self.third_attempt = asyncio.Event()

    async def close(self) -> None:
        self.closed += 1


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def settings() -> Settings:
    return Settings(slot_login_image="operator", metrics_port=free_port(), probe_port=free_port())


def memo_at(api: ApiServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Memo:
    async def connect() -> Any:
        api.attempts += 1
        if api.attempts == 3:
            api.third_attempt.set()
        return api

    name = settings.leader_election.lease_name
    if api.find(LEASES, name, HOME) is None:
        # That of operators which have ended: where there is none they wait.
        api.put(LEASES, {"metadata": {"name": name, "namespace": HOME}})
    monkeypatch.setattr(Kube, "connect", connect)
    monkeypatch.setattr(lifecycle, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(lifecycle, "LONGEST_DELAY", 0.01)
    return Memo(settings)


async def start(memo: Memo, settings: kopf.OperatorSettings | None = None) -> None:
    """As kopf calls it."""
    handler: Any = startup
    await handler(settings=settings or kopf.OperatorSettings(), memo=memo)


async def stop(memo: Memo) -> None:
    handler: Any = cleanup
    await handler(memo=memo)


async def leads(memo: Memo) -> None:
    async with asyncio.timeout(5):
        while not memo.operator.is_working:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def probes(http: aiohttp.ClientSession, settings: Settings) -> tuple[int, int]:
    """What kubelet is told: alive and ready."""
    found = []
    for path in (ALIVE_PATH, READY_PATH):
        async with http.get(f"http://localhost:{settings.probe_port}{path}") as response:
            found.append(response.status)
    return found[0], found[1]


async def test_without_the_api_server_the_start_waits_and_is_alive(
    settings: Settings, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = ApiServer(AWAY)
    memo = memo_at(api, settings, monkeypatch)
    starting = asyncio.create_task(start(memo))
    async with asyncio.timeout(5):
        # The second attempt needs the port of the first one's metrics.
        await api.third_attempt.wait()
        assert api.closed >= 2, "nothing of an attempt is left"
        assert await probes(http, settings) == (200, 503)
        assert not starting.done()

        api.refuses.clear()
        await starting
        assert await probes(http, settings) == (200, 200)
    await stop(memo)
    with pytest.raises(aiohttp.ClientConnectionError):
        await probes(http, settings)


async def test_an_operator_without_the_api_server_is_not_ready_but_alive(
    settings: Settings, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = ApiServer(AWAY)
    api.refuses.clear()
    memo = memo_at(api, settings, monkeypatch)
    await start(memo)
    await leads(memo)
    with monkeypatch.context() as patched:
        patched.setattr(PeriodicResync, "is_fresh", False)
        assert await probes(http, settings) == (200, 503)
        patched.setattr(PeriodicResync, "is_alive", False)
        assert await probes(http, settings) == (503, 503)
        memo.operator.is_working = False
        assert await probes(http, settings) == (200, 200), "no sweep is missed by one that does not lead"
    memo.operator.is_working = True
    for name, told in (("is_fresh", (200, 503)), ("is_alive", (503, 200))):
        with monkeypatch.context() as patched:
            patched.setattr(Leadership, name, False)
            assert await probes(http, settings) == told
    await stop(memo)


async def test_who_does_not_lead_tells_nothing_of_the_cluster(
    settings: Settings, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it knows may be old: of two who say something of a session the one that leads is right."""
    api = ApiServer(AWAY)
    api.refuses.clear()
    name = settings.leader_election.lease_name
    spec = {"holderIdentity": "another", "leaseDurationSeconds": 15, "leaseTransitions": 4}
    api.put(LEASES, {"metadata": {"name": name, "namespace": HOME}, "spec": spec})
    memo = memo_at(api, settings, monkeypatch)
    await start(memo)
    assert memo.replica is not None

    async def told() -> str:
        async with http.get(f"http://localhost:{settings.metrics_port}/metrics") as response:
            return await response.text()

    assert "xmr_escrow_sessions_max" not in await told()
    assert "xmr_escrow_leader 0.0" in await told()
    api.server.merge(LEASES, HOME, name, {"spec": {"holderIdentity": ""}})
    await leads(memo)
    assert memo.operator.context.fence.token == "5"
    assert "xmr_escrow_sessions_max" in await told()
    assert "xmr_escrow_leader 1.0" in await told()
    await memo.replica.leadership.stop()
    assert "xmr_escrow_sessions_max" not in await told()
    lease = api.find(LEASES, name, HOME)
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""
    await stop(memo)


async def test_a_start_that_is_cancelled_frees_its_ports(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = memo_at(ApiServer(AWAY), settings, monkeypatch)
    for _ in range(2):
        starting = asyncio.create_task(start(memo))
        await asyncio.sleep(0.05)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting


async def test_without_crds_it_gives_up_and_says_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = memo_at(ApiServer(NotFoundError(404, "NotFound", "no such resource")), settings, monkeypatch)

    with pytest.raises(kopf.PermanentError, match="kubectl apply -f crds/"):
        await start(memo)


async def test_kopf_never_gives_up_a_request(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its last delay kopf ends the whole operator, also for one namespace that refuses (403)."""
    api = ApiServer(AWAY)
    api.refuses.clear()
    memo = memo_at(api, settings, monkeypatch)
    of_kopf = kopf.OperatorSettings()
    await start(memo, of_kopf)
    await stop(memo)

    delays = of_kopf.networking.error_backoffs
    assert isinstance(delays, Backoff)
    for _ in range(2):
        assert list(itertools.islice(delays, 1000)) == [*DELAYS, *[DELAYS[-1]] * (1000 - len(DELAYS))]
