"""A process's way to wallets and monerods: the network's sessions, with the process's steps counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import Any

from .network import Network
from .process import Process

COUNTED = "/json_rpc"


class ProcessSession:
    """Stands in for aiohttp.ClientSession where escrow_operator.adapters.json_rpc uses one.

    Calls to wallets are steps of the process; monerod is only asked.
    """

    def __init__(self, network: Network, process: Process) -> None:
        self._session = network.session()
        self._process = process

    @asynccontextmanager
    async def post(self, url: str, *, data: bytes, **options: Any) -> AsyncIterator[Any]:
        """One request."""
        self._process.reads()
        async with AsyncExitStack() as stack:
            async with self._as_step(url, data):
                response = await stack.enter_async_context(self._session.post(url, data=data, **options))
            self._process.reads()
            yield response

    def _as_step(self, url: str, data: bytes) -> AbstractAsyncContextManager[None]:
        if not url.endswith(f":18083{COUNTED}"):
            return nullcontext()
        host = url.partition("//")[2].partition(":")[0]
        return self._process.step(f"{json.loads(data)['method']} at {host}")

    async def close(self) -> None:
        """End the connections."""
        await self._session.close()
