"""Servers on loopback that end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.monero import Login
from unit.adapters.fake_server import FakeServer, Handler, MakeWallet, Serve


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that answers everything with a handler."""
    async with serving() as start:
        yield start


@asynccontextmanager
async def serving() -> AsyncIterator[Serve]:
    """The same, for a block."""
    servers: list[TestServer] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        server = TestServer(app, host="127.0.0.1")
        servers.append(server)
        await server.start_server()
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def wallet(serve: Serve) -> AsyncIterator[MakeWallet]:
    """Makes a client of a fake server, or of any handler."""
    clients: list[WalletRpc] = []

    async def make(server: FakeServer | Handler, login: Login | None = None) -> WalletRpc:
        url = await serve(server.handle if isinstance(server, FakeServer) else server)
        clients.append(WalletRpc(url, login))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()
