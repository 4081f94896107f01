"""Answers were recorded from monerod v0.18.5.3 on regtest, from its full and its restricted RPC port."""

import httpx
import pytest

from escrow_operator import errors
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.models.monero import DaemonInfo, Login, NetType
from unit.adapters.fake_server import FakeServer

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


def daemon(server: FakeServer, login: Login | None = None) -> Daemon:
    return Daemon("http://monerod:18081", login=login, transport=server.transport)


async def test_a_restricted_port_says_enough() -> None:
    assert await daemon(FakeServer(results={"get_info": RESTRICTED})).info() == DaemonInfo(
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


async def test_login() -> None:
    login = Login("op", "secret")
    server = FakeServer(results={"get_info": RESTRICTED | {"version": "0.18.5.3-unknown"}}, login=login)
    assert (await daemon(server, login).info()).version == "0.18.5.3-unknown"
    with pytest.raises(errors.DaemonUnauthorized):
        await daemon(server).info()


@pytest.mark.parametrize("wrong", [{"nettype": "moon"}, {"synchronized": "yes"}, {"height": None}])
async def test_an_answer_of_another_shape(wrong: dict[str, object]) -> None:
    with pytest.raises(errors.DaemonProtocolError):
        await daemon(FakeServer(results={"get_info": RESTRICTED | wrong})).info()


async def test_an_error_answer() -> None:
    with pytest.raises(errors.DaemonRpcError) as caught:
        await daemon(FakeServer(errors={"get_info": (-9, "Core is busy")})).info()
    assert caught.value.code == -9


async def test_a_daemon_that_is_down_or_hangs() -> None:
    def down(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed")

    with pytest.raises(errors.DaemonUnreachable):
        await Daemon("http://monerod", transport=httpx.MockTransport(down)).info()

    def hang(_: httpx.Request) -> httpx.Response:
        raise TimeoutError

    with pytest.raises(errors.DaemonTimeout):
        await Daemon("http://monerod", transport=httpx.MockTransport(hang)).info(deadline=0.1)
