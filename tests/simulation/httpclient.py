"""A process's way to wallets and monerods: the network's sessions, with the process's steps counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
        step = None
        if url.endswith(f":18083{COUNTED}"):
            host = url.partition("//")[2].partition(":")[0]
            await self._process.before(f"{json.loads(data)['method']} at {host}")
            step = len(self._process.steps) - 1
        self._process.reads()
        async with self._session.post(url, data=data, **options) as response:
            if step is not None:
                await self._process.after(step)
            self._process.reads()
            yield response

    async def close(self) -> None:
        """End the connections."""
        await self._session.close()
