"""Runs the gateway: an HTTPS server for callers, and a plain one for probes and metrics."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from aiohttp import web
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp

from escrow_gateway.logins import Logins
from escrow_gateway.problems import Problem
from escrow_gateway.protocol import BoundedProtocol
from escrow_gateway.settings import Settings

DRAIN_SECONDS = 5.0
"""After SIGTERM calls still come for so long: until then not every node knows that this pod is about to go."""

KEEPALIVE_SECONDS = 75
"""An idle connection is kept; longer than the 60 s of usual load balancers, which may reuse one until then."""

CONNECTIONS = 4_096
BACKLOG = 1_024


class Server(uvicorn.Server):
    """uvicorn, without signal handlers of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller."""
        yield


def make_server(app: ASGIApp, settings: Settings) -> Server:
    """The server for callers. Raises OSError or ssl.SSLError for a certificate that cannot be used."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEPALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.call_deadline.total_seconds()),
        limit_concurrency=CONNECTIONS,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
    )
    config.load()
    return Server(config)


def listen(port: int) -> socket.socket:
    """A socket for callers, of both families where the machine has them. Raises OSError when the port is taken."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104 - a pod's port


class Probes:
    """/healthz, /readyz and /metrics."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._started = False
        self.draining = False

    def app(self) -> web.Application:
        """The application."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.draining:
            return web.Response(status=503, text="it is about to end\n")
        if not self._started:
            try:
                await self._logins.check()
            except Problem as problem:
                return web.Response(status=503, text=f"{problem.detail}\n")
            # From then on an API server that is away is told to callers, who learn when to come again. Without
            # endpoints they would learn nothing, and all replicas would lose theirs at once.
            self._started = True
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
