"""A web server in the operator's event loop."""

from __future__ import annotations

from typing import Self

from aiohttp import web


class WebServer:
    """Serves an application on all addresses of the pod."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    @classmethod
    async def serve(cls, app: web.Application, port: int) -> Self:
        """Start to serve ``app``. Raises OSError when the port is taken."""
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=port).start()
        return cls(runner)

    async def close(self) -> None:
        """Stop serving and free the port."""
        await self._runner.cleanup()
