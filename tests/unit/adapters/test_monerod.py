"""Answers were recorded from monerod v0.18.5.3 on regtest, from its full and its restricted RPC port."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from escrow_operator import errors
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.models.monero import ChainTransaction, DaemonInfo, Login, NetType
from unit.adapters.fake_server import FakeServer, Handler, Serve

TOP = "418015bb9ae982a1975da7d79277c2705727a56894ba0fb246adaabb1f4632e3"
RESTRICTED: dict[str, object] = {
    "adjusted_time": 1795354598,
    "busy_syncing": False,
    "database_size": 5368709120,
    "free_space": 18446744073709551615,
    "height": 212,
    "height_without_bootstrap": 0,
    "mainnet": False,
    "nettype": "fakechain",
    "offline": True,
    "restricted": True,
    "status": "OK",
    "synchronized": True,
    "target": 120,
    "target_height": 0,
    "top_block_hash": TOP,
    "tx_pool_size": 1,
    "untrusted": False,
    "version": "",
}


MakeDaemon = Callable[..., Awaitable[Daemon]]


@pytest.fixture
async def daemon(serve: Serve) -> AsyncIterator[MakeDaemon]:
    """Makes a client of a fake server, or of any handler."""
    clients: list[Daemon] = []

    async def make(server: FakeServer | Handler, login: Login | None = None) -> Daemon:
        url = await serve(server.handle if isinstance(server, FakeServer) else server)
        clients.append(Daemon(url, login=login))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


async def test_a_restricted_port_says_enough(daemon: MakeDaemon) -> None:
    assert await (await daemon(FakeServer(results={"get_info": RESTRICTED}))).info() == DaemonInfo(
        height=212,
        target_height=0,
        nettype=NetType.FAKECHAIN,
        synchronized=True,
        offline=True,
        busy_syncing=False,
        top_block_hash=TOP,
        tx_pool_size=1,
        version="",
        status="OK",
    )


async def test_login(daemon: MakeDaemon) -> None:
    login = Login("op", "secret")
    server = FakeServer(results={"get_info": RESTRICTED | {"version": "0.18.5.3-unknown"}}, login=login)
    assert (await (await daemon(server, login)).info()).version == "0.18.5.3-unknown"
    with pytest.raises(errors.DaemonUnauthorized):
        await (await daemon(server)).info()


@pytest.mark.parametrize("wrong", [{"nettype": "moon"}, {"synchronized": "yes"}, {"height": None}])
async def test_an_answer_of_another_shape(wrong: dict[str, object], daemon: MakeDaemon) -> None:
    with pytest.raises(errors.DaemonProtocolError):
        await (await daemon(FakeServer(results={"get_info": RESTRICTED | wrong}))).info()


async def test_an_error_answer(daemon: MakeDaemon) -> None:
    with pytest.raises(errors.DaemonRpcError) as caught:
        await (await daemon(FakeServer(errors={"get_info": (-9, "Core is busy")}))).info()
    assert caught.value.code == -9


async def test_a_daemon_that_is_down_or_hangs(daemon: MakeDaemon) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def drop(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    with pytest.raises(errors.DaemonUnreachable):
        await (await daemon(drop)).info()
    with pytest.raises(errors.DaemonTimeout):
        await (await daemon(hang)).info(deadline=0.1)


async def test_transactions_by_txid_those_unknown_left_out(daemon: MakeDaemon) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, await request.json()))
        found = {"tx_hash": "a" * 64, "in_pool": False, "confirmations": 3, "double_spend_seen": False}
        return web.json_response({"status": "OK", "txs": [found], "missed_tx": ["b" * 64]})

    found = await (await daemon(answer)).transactions(["a" * 64, "b" * 64])
    assert found == {"a" * 64: ChainTransaction(in_pool=False, confirmations=3, double_spend_seen=False)}
    assert asked == [("/get_transactions", {"txs_hashes": ["a" * 64, "b" * 64], "prune": True})]
