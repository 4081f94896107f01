"""A gateway as a process of its own, and a collector: what is sent over the wire."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from escrow_gateway.app import WALLET_PATH
from escrow_gateway.lifecycle import wallet_path
from escrow_operator.core.login import derive_login
from escrow_operator.core.manifests.common import RPC_PORT
from escrow_operator.models.common import Role
from escrow_operator.models.session import Phase
from testbed.settings import REPO_ROOT
from unit.adapters.fake_server import FakeServer, Serve
from unit.gateway.bench import HOME, KEY, LOGIN_KEY, LOGINS, Bench
from unit.gateway.http_api import HttpApi

CANARY = "c4n4ry"
SERVER = f"POST {WALLET_PATH}"


class Collector:
    """Takes spans by OTLP; ``sent`` are the requests' bytes."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        """One export."""
        assert request.path == "/v1/traces"
        self.sent.append(await request.read())
        self.headers.append(request.headers)
        return web.Response(content_type="application/x-protobuf")

    @property
    def resources(self) -> list[dict[str, str]]:
        """Who sent them."""
        return [
            {pair.key: pair.value.string_value for pair in found.resource.attributes}
            for data in self.sent
            for found in ExportTraceServiceRequest.FromString(data).resource_spans
        ]

    @property
    def spans(self) -> list[Span]:
        """All spans."""
        return [
            span
            for data in self.sent
            for found in ExportTraceServiceRequest.FromString(data).resource_spans
            for scope in found.scope_spans
            for span in scope.spans
        ]


@asynccontextmanager
async def gateway_process(kubeconfig: Path, **variables: str) -> AsyncIterator[str]:
    """The base URL of a running gateway; at the end it gets SIGTERM."""
    port, probe_port = unused_port(), unused_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPO_ROOT / "operator"),
        "KUBECONFIG": str(kubeconfig),
        "XMR_ESCROW_GATEWAY_OWN_NAMESPACE": HOME,
        "XMR_ESCROW_GATEWAY_LOGINS_SECRET": LOGINS,
        "XMR_ESCROW_GATEWAY_PORT": str(port),
        "XMR_ESCROW_GATEWAY_PROBE_PORT": str(probe_port),
        **variables,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "escrow_gateway", env=environment)
    try:
        async with asyncio.timeout(120), httpx.AsyncClient() as http:
            while not await _is_ready(http, f"http://127.0.0.1:{probe_port}/readyz"):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(120):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
async def wallet() -> AsyncIterator[str]:
    """The address of a wallet pod: one of the loopback network that nobody else has, as the port is always the same."""
    ip = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
    fake = FakeServer(login=derive_login(LOGIN_KEY, "pod-buyer"), results={"get_transfers": {"in": CANARY}})
    app = web.Application()
    app.router.add_post("/json_rpc", fake.handle)
    server = TestServer(app, host=ip, port=RPC_PORT)
    await server.start_server()
    yield ip
    await server.close()


@pytest.fixture
async def kubeconfig(gateway: Bench, wallet: str, serve: Serve, tmp_path: Path) -> Path:
    """Of an API server with an open session, whose buyer has a token."""
    pod = {"pod": "pod-buyer", "podUID": "pod-buyer", "podIP": wallet, "opened": True}
    gateway.put_session(Phase.ACTIVE, wallets={"buyer": pod})
    gateway.kube.tokens[CANARY] = f"{CANARY}-user"
    gateway.allow(f"{CANARY}-user", "buyer", "read")
    config: Any = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": await serve(HttpApi(gateway.kube).handle)}}],
        "users": [{"name": "u", "user": {"token": f"{CANARY}-of-the-gateway"}}],
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    return path


async def call(url: str) -> int:
    """One call, by a caller who has everything traced."""
    body = {"method": "get_transfers", "params": {"account_index": 0, CANARY: CANARY}}
    headers = {
        "Authorization": f"Bearer {CANARY}",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "baggage": CANARY,
    }
    async with httpx.AsyncClient(base_url=url) as http:
        return (await http.post(wallet_path(KEY, Role.BUYER), json=body, headers=headers)).status_code


async def test_a_collector_gets_the_spans_of_a_call_at_the_gateways_end_at_the_latest(
    kubeconfig: Path, serve: Serve
) -> None:
    collector = Collector()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": await serve(collector.handle),
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20its-own",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1",
        # None is sent before the end.
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    async with gateway_process(kubeconfig, **variables) as url:
        assert await call(url) == 200
    # The first spans of a process are those of its first call: all that it reads is asked for.
    spans = {span.name: span for span in collector.spans}
    server = spans[SERVER]
    assert spans.keys() == {
        SERVER,
        "post tokenreviews",
        "post subjectaccessreviews",
        "get escrowsessions",
        "get_transfers",
    }
    assert all(span.parent_span_id == server.span_id for span in spans.values() if span is not server)
    assert all(span.trace_id == server.trace_id for span in spans.values())
    assert [link.trace_id.hex() for link in server.links] == ["4bf92f3577b34da6a3ce929d0e0e4736"]
    assert not any(CANARY.encode() in data for data in collector.sent)
    for resource in collector.resources:
        assert (resource["service.name"], resource["service.version"]) == ("xmr-escrow-gateway", "1")
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer its-own"}


async def test_a_gateway_whose_collector_hangs_serves_and_ends_all_the_same(kubeconfig: Path, serve: Serve) -> None:
    hung = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        hung.set()
        await asyncio.sleep(60)
        raise AssertionError

    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": await serve(hang), "OTEL_BSP_SCHEDULE_DELAY": "10"}
    async with gateway_process(kubeconfig, **variables) as url:
        assert await call(url) == 200
        await asyncio.wait_for(hung.wait(), 120)
        assert await call(url) == 200
        begun = asyncio.get_running_loop().time()
    # Five seconds in which calls still come, two for the last spans, and some on a busy machine; the SDK would take 30.
    assert asyncio.get_running_loop().time() - begun < 25
