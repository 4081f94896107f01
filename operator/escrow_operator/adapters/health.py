"""Answers kubelet's probes over HTTP, from before the first contact with the API server until the process ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from escrow_operator.adapters.web import WebServer

ALIVE_PATH = "/healthz"
READY_PATH = "/readyz"


async def serve_probes(port: int, *, alive: Callable[[], str | None], ready: Callable[[], str | None]) -> WebServer:
    """Serve ``GET /healthz`` and ``GET /readyz``: 200, or 503 with the problem as text.

    Both functions return the problem, or None. An answer of any kind shows that the event loop is running.
    Raises OSError when the port is taken.
    """

    def answer(problem: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def respond(_: web.Request) -> web.Response:
            wrong = problem()
            return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

        return respond

    app = web.Application()
    app.router.add_get(ALIVE_PATH, answer(alive))
    app.router.add_get(READY_PATH, answer(ready))
    return await WebServer.serve(app, port)
