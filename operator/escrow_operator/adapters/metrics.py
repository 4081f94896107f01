"""Serves Prometheus metrics over HTTP.

In the event loop and not on a thread of its own: the numbers are read from what the loop changes.
"""

from __future__ import annotations

from typing import Self

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


class MetricsServer:
    """``GET /metrics`` on all addresses."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    @classmethod
    async def start(cls, registry: CollectorRegistry, port: int) -> Self:
        """Raises OSError when the port is taken."""

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=port).start()
        return cls(runner)

    async def close(self) -> None:
        """Stop serving and free the port."""
        await self._runner.cleanup()
