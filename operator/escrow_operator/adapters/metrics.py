"""Serves Prometheus metrics over HTTP.

In the event loop and not on a thread of its own, since the metrics are read from state that the loop changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from escrow_operator.adapters.web import WebServer


async def serve_metrics(registries: Callable[[], Iterable[CollectorRegistry]], port: int) -> WebServer:
    """Serve ``GET /metrics`` of what is registered where at the moment. Raises OSError when the port is taken."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=b"".join(map(generate_latest, registries())), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return await WebServer.serve(app, port)
