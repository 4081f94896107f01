"""The server around the application: TLS that follows its certificate, probes, and requests that no schema foresees."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
import schemathesis
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from escrow_gateway.openapi import document
from escrow_gateway.server import Probes, Server, listen, make_server
from escrow_gateway.settings import Settings
from escrow_operator.adapters.kube_errors import UnavailableError
from unit.adapters.conftest import serving
from unit.gateway.bench import BUYERS, Bench


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A gateway on a thread of its own, as blocking clients need it."""
    started, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    ports: list[int] = []

    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            bench = Bench(patch)
            async with serving() as serve:
                await bench.start(serve)
                running = await serving_app(bench.app)
                ports.append(running.port)
                started.set()
                await ended.wait()
                await running.stop()
                await bench.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert started.wait(20)
    yield f"http://127.0.0.1:{ports[0]}"
    loop.call_soon_threadsafe(ended.set)
    thread.join(20)


class Running:
    """A server on a free port of loopback."""

    def __init__(self, running: Server, task: asyncio.Task[None], port: int) -> None:
        self.server, self.task = running, task
        self.port = port

    async def stop(self) -> None:
        """As at SIGTERM."""
        self.server.should_exit = True
        await self.task


async def serving_app(app: Any, given_settings: Settings | None = None) -> Running:
    """Serve an application."""
    found = make_server(app, given_settings or Settings(logins_secret="x", own_namespace="y"))
    listening = listen(0)
    task = asyncio.create_task(found.serve(sockets=[listening]))
    async with asyncio.timeout(10):
        while not found.started:  # noqa: ASYNC110 - uvicorn tells nobody else
            await asyncio.sleep(0.01)
    return Running(found, task, listening.getsockname()[1])


def test_the_document_says_what_is_answered(url: str) -> None:
    """Requests made from the document, right and wrong ones, get answers that it foresees, and no error of ours."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    assert {operation.method for operation in operations} == {"get", "put", "post"}
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
        def answers(case: Any) -> None:
            response = case.call(headers={"Authorization": f"Bearer {BUYERS}"})
            assert response.status_code not in (500, 501, 505)
            case.validate_response(
                response, checks=[content_type_conformance, response_schema_conformance, status_code_conformance]
            )

        answers()


def test_every_operation_refers_to_what_there_is() -> None:
    told = document()
    assert set(told["paths"]) == {
        "/v1/namespaces/{namespace}/escrowsessions/{name}",
        "/v1/namespaces/{namespace}/escrowsessions/{name}/wallets/{role}/json_rpc",
    }


async def test_callers_come_by_both_families() -> None:
    listening = listen(0)
    port = listening.getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    if listening.family.name == "AF_INET6":
        _, writer = await asyncio.open_connection("::1", port)
        writer.close()
    listening.close()


async def test_probes_say_whether_calls_can_be_served(gateway: Bench) -> None:
    probes = Probes(gateway.logins)
    async with TestClient(TestServer(probes.app())) as client:
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/readyz")).status == 200
        assert "process_cpu_seconds_total" in await (await client.get("/metrics")).text()
        probes.draining = True
        assert (await client.get("/readyz")).status == 503
        probes.draining = False
        gateway.logins._keys._values.clear()
        gateway.kube.refuses[None] = UnavailableError(0, "Unavailable", "away")
        assert (await client.get("/readyz")).status == 200, "callers are told, by a 503 that says when to come again"
        assert (await client.get("/healthz")).status == 200


async def test_a_gateway_that_never_saw_the_api_server_is_not_ready(gateway: Bench) -> None:
    probes = Probes(gateway.logins)
    gateway.kube.refuses[None] = UnavailableError(0, "Unavailable", "away")
    async with TestClient(TestServer(probes.app())) as client:
        assert (await client.get("/readyz")).status == 503
        assert (await client.get("/healthz")).status == 200
        gateway.kube.refuses.clear()
        assert (await client.get("/readyz")).status == 200


async def test_settings_name_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMR_ESCROW_GATEWAY_CERTIFICATE", "/tls.crt")
    with pytest.raises(ValueError, match="certificate and key belong together"):
        Settings(logins_secret="x", own_namespace="y")


async def test_a_call_under_way_is_finished_at_the_end(gateway: Bench) -> None:
    running = await serving_app(gateway.app)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as http:
        call = asyncio.create_task(http.get("/openapi.json"))
        assert (await call).status_code == 200
        await running.stop()
