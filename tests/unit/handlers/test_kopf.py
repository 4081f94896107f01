"""kopf itself, with this operator's handlers and settings, against an API server on loopback.

It holds kopf to what handlers/ and the simulated world (``simulation/kopf_watch.py``) assume of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web

from escrow_operator.adapters.kube import Kube
from escrow_operator.handlers import Memo
from escrow_operator.models.common import GROUP, VERSION
from escrow_operator.services.scheduling import Wakeups
from escrow_operator.settings import Settings
from unit.factories import pool_body, session_body
from unit.kube import InstantKube

from .test_lifecycle import free_port

Body = dict[str, Any]
FIRST = 2_000_000
BASE = f"/apis/{GROUP}/{VERSION}"
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
BROKEN = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "InternalError"}}


def numbered(number: int) -> Body:
    """A session, newer than what the fake cluster lists."""
    body = session_body(f"trade-{number}")
    body["metadata"] |= {"resourceVersion": str(FIRST + number), "uid": f"uid-{number}"}
    return body


class ApiServer:
    """What kopf asks for; ``events`` are told by the next watch of sessions, which then stays open."""

    def __init__(self) -> None:
        self.sessions: list[Body] = []
        pool = pool_body()
        pool["metadata"]["resourceVersion"] = str(FIRST)
        self.pools = [pool]
        self.events: asyncio.Queue[Body] = asyncio.Queue()
        self.pages: list[str] = []
        self.writes: list[str] = []

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._note_writes])
        groups = [(GROUP, VERSION), ("apiextensions.k8s.io", "v1")]
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for group, version in groups]
        found = [
            {"name": group, "versions": [version], "preferredVersion": version}
            for (group, _), version in zip(groups, versions, strict=True)
        ]
        _serve(app, "/api", {"versions": ["v1"]})
        _serve(app, "/apis", {"groups": found})
        # kopf waits until discovery tells it of the latter two.
        _serve(app, "/api/v1", _kinds(namespaces="Namespace", namespaced=False))
        _serve(app, "/apis/apiextensions.k8s.io/v1", _kinds(customresourcedefinitions="CRD", namespaced=False))
        _serve(app, BASE, _kinds(escrowsessions="EscrowSession", walletpools="WalletPool"))
        app.router.add_get(f"{BASE}/escrowsessions", self._of_sessions)
        app.router.add_get(f"{BASE}/walletpools", self._of_pools)
        return app

    @web.middleware
    async def _note_writes(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.path}")
        return await handler(request)

    async def _of_sessions(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.pages.append(request.query.get("limit", "all"))
            return web.json_response({"metadata": {"resourceVersion": str(FIRST + 100)}, "items": self.sessions})
        return await self._stream(request, self.events)

    async def _of_pools(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": str(FIRST + 100)}, "items": self.pools})
        return await self._stream(request, asyncio.Queue())

    @staticmethod
    async def _stream(request: web.Request, events: asyncio.Queue[Body]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await events.get()
            await response.write(json.dumps(event).encode() + b"\n")
            if event["type"] == "ERROR":
                return response


def _serve(app: web.Application, path: str, body: Body) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body)

    app.router.add_get(path, answer)


def _kinds(*, namespaced: bool = True, **kinds: str) -> Body:
    """What discovery tells of a group, by plural."""
    rest = {"namespaced": namespaced, "verbs": ["list", "watch", "patch"]}
    return {
        "resources": [
            {"name": plural, "singularName": kind.lower(), "kind": kind, **rest} for plural, kind in kinds.items()
        ]
    }


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    server = ApiServer()
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "localhost", port).start()
    names = {"cluster": "c", "user": "u"}
    kubeconfig = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": names}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://localhost:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "config").write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    yield server
    await runner.cleanup()


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Memo, asyncio.Task[None]]]:
    """The operator as ``__main__`` runs it; what its services see of the cluster is a fake one."""

    async def connect() -> Any:
        return InstantKube()

    monkeypatch.setattr(Kube, "connect", connect)
    memo = Memo(Settings(slot_login_image="operator", metrics_port=free_port(), probe_port=free_port()))
    stop = asyncio.Event()
    task = asyncio.create_task(kopf.operator(memo=memo, clusterwide=True, standalone=True, stop_flag=stop))
    try:
        yield memo, task
    finally:
        stop.set()
        await asyncio.wait([task])


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - others change it, and tell nobody
            await asyncio.sleep(0.01)


async def test_what_kopf_sees_is_in_the_store_and_kopf_writes_nothing(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One story, since kopf takes five seconds to end in one loop with its API server."""
    lists: list[str | None] = []
    monkeypatch.setattr(Wakeups, "relist", lambda _, namespace: lists.append(namespace))
    api.sessions = [numbered(number) for number in range(1, 4)]
    async with running(monkeypatch) as (memo, task):
        await until(lambda: memo.replica and len(memo.operator.store.sessions) == 3)
        await until(lambda: len(memo.operator.store.pools) == 1)
        assert api.pages == ["250"]

        unreadable, gone = numbered(101), numbered(103)
        del unreadable["spec"]
        gone["metadata"] |= {"name": "trade-2", "uid": "uid-2"}
        api.events.put_nowait({"type": "ADDED", "object": unreadable})
        api.events.put_nowait({"type": "ADDED", "object": numbered(102)})
        api.events.put_nowait({"type": "DELETED", "object": gone})
        await until(lambda: {key.name for key in memo.operator.store.sessions} == {"trade-1", "trade-3", "trade-102"})

        lists.clear()
        api.sessions = [numbered(3)]
        api.events.put_nowait(GONE)
        await until(lambda: len(api.pages) == 2 and lists)
        assert len(memo.operator.store.sessions) == 3, "kopf tells nothing of what its second list lacks"
        assert not task.done()

    assert api.writes == [], "neither finalizers nor annotations of kopf's"


async def test_another_error_in_a_watch_ends_the_process(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As handlers/lifecycle.py says: kubelet starts it again, and all state is in the cluster."""
    api.sessions = [numbered(1)]
    async with running(monkeypatch) as (memo, task):
        await until(lambda: memo.replica and memo.operator.store.sessions)
        api.events.put_nowait(BROKEN)
        await asyncio.wait([task], timeout=10)
        with pytest.raises(Exception, match="Error in the watch-stream"):
            await task
