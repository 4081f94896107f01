"""Answers kubelet's probes over HTTP, from before the operator has seen the API server until it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from escrow_operator.adapters.web import WebServer

ALIVE_PATH = "/healthz"
READY_PATH = "/readyz"


async def serve_probes(port: int, *, alive: Callable[[], str | None], ready: Callable[[], str | None]) -> WebServer:
    """``GET /healthz`` and ``GET /readyz``: 200, or 503 with what is wrong.

    Both functions return what is wrong, or None. That it answers at all shows that the event loop turns.
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
