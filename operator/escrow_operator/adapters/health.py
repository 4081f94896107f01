"""Answers kubelet's probes over HTTP, from before the operator has seen the API server until it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

ALIVE_PATH = "/healthz"
READY_PATH = "/readyz"


class HealthServer:
    """``GET /healthz`` and ``GET /readyz`` on all addresses: 200, or 503 with what is wrong.

    That it answers at all shows that the event loop turns.
    """

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    @classmethod
    async def start(cls, port: int, *, alive: Callable[[], str | None], ready: Callable[[], str | None]) -> Self:
        """Both functions return what is wrong, or None. Raises OSError when the port is taken."""

        def answer(problem: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
            async def respond(_: web.Request) -> web.Response:
                wrong = problem()
                return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

            return respond

        app = web.Application()
        app.router.add_get(ALIVE_PATH, answer(alive))
        app.router.add_get(READY_PATH, answer(ready))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=port).start()
        return cls(runner)

    async def close(self) -> None:
        """Stop answering and free the port."""
        await self._runner.cleanup()
