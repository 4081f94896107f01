"""Servers on loopback that end with their test."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.wallet_tls import WalletCertificate
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


@asynccontextmanager
async def serving_tls(handler: Handler, certificate: WalletCertificate, folder: Path) -> AsyncIterator[str]:
    """The URL of a server that shows a wallet's certificate; its files are written into the folder."""
    (folder / "tls.crt").write_text(certificate.pem)
    (folder / "tls.key").write_text(certificate.private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app, scheme="https", host="127.0.0.1")
    await server.start_server(ssl=context)
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
