"""Answers were recorded from monerod v0.18.5.3 on regtest, from its full and its restricted RPC port."""

import asyncio
import json
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


TXID = "a" * 64
IMAGE = "5e5929629b4b24aa5b918fe6b29ea8cb08c4e337243dfc9c78aebc9cd9878eb8"
SPENDS = {
    "version": 2,
    "unlock_time": 0,
    "vin": [{"key": {"amount": 0, "key_offsets": [152, 82], "k_image": IMAGE}}],
    "vout": [{"amount": 0, "target": {"tagged_key": {"key": "2e" * 32, "view_tag": "ab"}}}],
    "extra": [1, 233],
    "rct_signatures": {"type": 6, "txnFee": 1809600000},
}
COINBASE = {"version": 2, "unlock_time": 439, "vin": [{"gen": {"height": 379}}], "vout": [], "rct_signatures": {}}
MINED = {"tx_hash": TXID, "in_pool": False, "block_height": 379, "confirmations": 11, "double_spend_seen": False}
IN_POOL = {"tx_hash": TXID, "in_pool": True, "double_spend_seen": False, "relayed": True}


def answering(*answers: dict[str, object], asked: list[object] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        if asked is not None:
            asked.append((request.path, await request.json()))
        return web.json_response({"status": "OK", "txs": list(answers), "missed_tx": []})

    return answer


async def test_transactions_by_txid_those_unknown_left_out(daemon: MakeDaemon) -> None:
    asked: list[object] = []
    handler = answering(MINED | {"as_json": json.dumps(SPENDS)}, asked=asked)
    found = await (await daemon(handler)).transactions([TXID, "b" * 64])
    assert found == {TXID: ChainTransaction(379, False, 0, 1809600000, frozenset({IMAGE}))}
    body = {"txs_hashes": [TXID, "b" * 64], "prune": True, "decode_as_json": True}
    assert asked == [("/get_transactions", body)]


async def test_transactions_of_the_pool_and_of_miners(daemon: MakeDaemon) -> None:
    for pool in (IN_POOL, IN_POOL | {"block_height": 2**64 - 1, "confirmations": 0}):
        found = await (await daemon(answering(pool | {"as_json": json.dumps(SPENDS)}))).transactions([TXID])
        assert found[TXID].block_height is None
    found = await (await daemon(answering(MINED | {"as_json": json.dumps(COINBASE)}))).transactions([TXID])
    assert found == {TXID: ChainTransaction(379, False, 439, 0, frozenset())}


@pytest.mark.parametrize(
    "wrong",
    [
        {"in_pool": True},
        {"in_pool": True, "block_height": 0},
        {"block_height": 2**64 - 1},
        {"block_height": None},
        {"tx_hash": "b" * 64},
        {"as_json": "[" * 100_000},
        {"as_json": "7"},
        {"as_json": ""},
        {"as_json": json.dumps(SPENDS | {"unlock_time": -1})},
        {"as_json": json.dumps(SPENDS | {"vin": [{"key": {"k_image": 7}}]})},
    ],
)
async def test_what_cannot_be_is_refused(wrong: dict[str, object], daemon: MakeDaemon) -> None:
    handler = answering(MINED | {"as_json": json.dumps(SPENDS)} | wrong)
    with pytest.raises(errors.DaemonProtocolError):
        await (await daemon(handler)).transactions([TXID])


async def test_spent_key_images(daemon: MakeDaemon) -> None:
    async def answer(request: web.Request) -> web.Response:
        images = (await request.json())["key_images"]
        return web.json_response({"status": "OK", "spent_status": [0, 1, 2][: len(images)]})

    client = await daemon(answer)
    assert await client.spent(["0" * 64, "1" * 64, "2" * 64]) == {"1" * 64: True, "2" * 64: False}
    with pytest.raises(errors.DaemonProtocolError):
        await client.spent([str(n) * 64 for n in range(4)])
