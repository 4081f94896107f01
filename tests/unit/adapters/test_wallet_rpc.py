"""Answers and error texts were recorded from monero-wallet-rpc v0.18.5.3 on regtest."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey

from escrow_operator import errors
from escrow_operator.adapters import json_rpc
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.wallet_tls import derive_certificate
from escrow_operator.models.monero import (
    KeyExchange,
    Login,
    MultisigInfo,
    Output,
    Transfer,
    TransferType,
    WalletBalance,
)
from unit.adapters.conftest import serving_tls
from unit.adapters.fake_server import FakeServer, MakeWallet

ADDRESS = "443p3maVA9ReW8o7MLED9kSbLUrS61W7RYgU9dAQKsFGE4vUr6TmnN6cv7vqHkyFM7MqA9D6gv5U8gQVx2eDrUXy5cHTZpt"
TXID = "c0d31c45bf1e7bf0ccd7088635bcca2b8b33cb7e308c44384b3ce607988cd383"
INFO = "MultisigxV2R1EsbGLBESXKN3sG6mnVbFJocNxWSyx7hfhJ237Q2R34e91TbQcngWMVhLUomDBUQgrd42d1nxLBEJwTWCcbJE3Yvh"
PASSWORD = "correct horse"
LOGIN = Login("op", "secret-of-the-pod")

IN_POOL: dict[str, object] = {
    "address": ADDRESS,
    "amount": 350000000000,
    "amounts": [350000000000],
    "double_spend_seen": False,
    "fee": 2599200000,
    "height": 0,
    "locked": True,
    "note": "",
    "payment_id": "0000000000000000",
    "subaddr_index": {"major": 0, "minor": 0},
    "suggested_confirmations_threshold": 1,
    "timestamp": 1795354800,
    "txid": TXID,
    "type": "pool",
    "unlock_time": 0,
}
MINED = IN_POOL | {"confirmations": 10, "height": 191, "locked": False, "type": "in"}


async def test_reads_of_an_open_wallet(wallet: MakeWallet) -> None:
    server = FakeServer(
        results={
            "get_address": {"address": ADDRESS, "addresses": []},
            "get_height": {"height": 212},
            "refresh": {"blocks_fetched": 9, "received_money": False},
            "is_multisig": {"multisig": True, "ready": True, "threshold": 2, "total": 3},
            "get_balance": {
                "balance": 350000000000,
                "blocks_to_unlock": 9,
                "multisig_import_needed": True,
                "time_to_unlock": 0,
                "unlocked_balance": 0,
            },
        }
    )
    rpc = await wallet(server)
    assert await rpc.address() == ADDRESS
    assert await rpc.height() == 212
    assert await rpc.refresh() == 9
    assert await rpc.is_multisig() == MultisigInfo(multisig=True, ready=True, threshold=2, total=3)
    assert await rpc.balance() == WalletBalance(
        total=350000000000, unlocked=0, blocks_to_unlock=9, time_to_unlock=0, multisig_import_needed=True
    )


async def test_files_and_key_exchange(wallet: MakeWallet) -> None:
    exchanged = {"address": ADDRESS, "multisig_info": INFO}
    server = FakeServer(
        results={
            "create_wallet": {},
            "open_wallet": {},
            "close_wallet": {},
            "prepare_multisig": {"multisig_info": INFO},
            "make_multisig": exchanged,
            "exchange_multisig_keys": exchanged,
            "export_multisig_info": {"info": "4d6f6e65726f"},
            "import_multisig_info": {"n_outputs": 2},
        }
    )
    rpc = await wallet(server)
    await rpc.create_wallet("trade-1.buyer", PASSWORD)
    await rpc.open_wallet("trade-1.buyer", PASSWORD)
    assert await rpc.prepare_multisig() == INFO
    assert await rpc.make_multisig([INFO, INFO], 2, PASSWORD) == KeyExchange(ADDRESS, INFO)
    assert await rpc.exchange_multisig_keys([INFO, INFO], PASSWORD) == KeyExchange(ADDRESS, INFO)
    assert await rpc.export_multisig_info() == "4d6f6e65726f"
    assert await rpc.import_multisig_info(["4d6f"]) == 2
    await rpc.close_wallet()
    assert dict(server.calls) == {
        "create_wallet": {"filename": "trade-1.buyer", "password": PASSWORD, "language": "English"},
        "open_wallet": {"filename": "trade-1.buyer", "password": PASSWORD},
        "prepare_multisig": {"enable_multisig_experimental": True},
        "make_multisig": {"multisig_info": [INFO, INFO], "threshold": 2, "password": PASSWORD},
        "exchange_multisig_keys": {"multisig_info": [INFO, INFO], "password": PASSWORD},
        "export_multisig_info": {},
        "import_multisig_info": {"info": ["4d6f"]},
        "close_wallet": {"autosave_current": True},
    }


OUTPUT: dict[str, object] = {
    "amount": 350000000000,
    "block_height": 379,
    "frozen": False,
    "global_index": 771,
    "key_image": "",
    "pubkey": "a820d7a8423eca2e10aeabc560651757ff77c7215354286f478379382e7121a4",
    "spent": False,
    "subaddr_index": {"major": 0, "minor": 0},
    "tx_hash": TXID,
    "unlocked": False,
}


async def test_outputs_with_their_key_images_once_those_are_known(wallet: MakeWallet) -> None:
    known = OUTPUT | {"key_image": "5e" * 32, "spent": True}
    server = FakeServer(results={"incoming_transfers": {"transfers": [OUTPUT, known]}})
    public_key = str(OUTPUT["pubkey"])
    assert await (await wallet(server)).outputs() == [
        Output(TXID, public_key, 350000000000, ""),
        Output(TXID, public_key, 350000000000, "5e" * 32),
    ]
    assert server.calls == [("incoming_transfers", {"transfer_type": "all", "account_index": 0})]
    assert await (await wallet(FakeServer(results={"incoming_transfers": {}}))).outputs() == []


@pytest.mark.parametrize("wrong", [{"tx_hash": "zz"}, {"pubkey": ""}, {"key_image": "5E" * 32}, {"amount": -1}])
async def test_what_no_output_says_is_refused(wallet: MakeWallet, wrong: dict[str, object]) -> None:
    server = FakeServer(results={"incoming_transfers": {"transfers": [OUTPUT | wrong]}})
    with pytest.raises(errors.WalletProtocolError):
        await (await wallet(server)).outputs()


async def test_a_transfer_in_the_pool_has_no_confirmations(wallet: MakeWallet) -> None:
    server = FakeServer(results={"get_transfers": {"pool": [IN_POOL]}})
    assert await (await wallet(server)).transfers(pool=True) == [
        Transfer(
            txid=TXID,
            type=TransferType.POOL,
            amount=350000000000,
            fee=2599200000,
            confirmations=0,
            height=0,
            double_spend_seen=False,
            locked=True,
            timestamp=1795354800,
            unlock_time=0,
        )
    ]


async def test_transfers_are_those_asked_for(wallet: MakeWallet) -> None:
    server = FakeServer(results={"get_transfers": {"in": [MINED], "pool": [IN_POOL]}})
    found = await (await wallet(server)).transfers(incoming=True, pool=True)
    assert [t.type for t in found] == [TransferType.IN, TransferType.POOL]
    assert server.calls[0][1] == {"account_index": 0, "in": True, "pool": True, "out": False}


async def test_a_wallet_without_transfers_answers_an_empty_object(wallet: MakeWallet) -> None:
    assert await (await wallet(FakeServer(results={"get_transfers": {}}))).transfers(incoming=True) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "/a", "-a", "a\0", "a.keys", "a\n", "ä", "a" * 129])
async def test_a_file_name_stays_in_the_wallet_directory(name: str, wallet: MakeWallet) -> None:
    server = FakeServer(results={"open_wallet": {}, "create_wallet": {}})
    with pytest.raises(errors.InvalidWalletFileName):
        await (await wallet(server)).open_wallet(name, PASSWORD)
    with pytest.raises(errors.InvalidWalletFileName):
        await (await wallet(server)).create_wallet(name, PASSWORD)
    assert server.calls == []


async def test_digest_login_keeps_its_nonce_and_takes_a_new_one_on_a_new_connection(wallet: MakeWallet) -> None:
    server = FakeServer(results={"get_height": {"height": 7}}, login=LOGIN)
    rpc = await wallet(server, LOGIN)
    for _ in range(3):
        await rpc.height()
    assert server.challenges == 1
    server.nonce = "SeNsCNxpuRxGI8EUGAX9dg=="
    await rpc.height()
    assert server.challenges == 2


@pytest.mark.parametrize("login", [None, Login("op", "wrong")])
async def test_a_refused_login(login: Login | None, wallet: MakeWallet) -> None:
    with pytest.raises(errors.WalletUnauthorized):
        await (await wallet(FakeServer(login=LOGIN), login)).height()


@pytest.mark.parametrize(
    "answer",
    [
        (404, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, '{"jsonrpc": "2.0"}'),
        (200, '{"error": {"message": "no code"}}'),
        (200, '{"result": {"balance": "350000000000"}}'),
        (200, '{"result": {"balance": -1}}'),
        (200, '{"result": {"balance": true}}'),
        (200, '{"result": {"balance": 18446744073709551616}}'),
    ],
)
async def test_an_answer_of_another_shape(answer: tuple[int, str], wallet: MakeWallet) -> None:
    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=answer[0], text=answer[1])

    rpc = await wallet(respond)
    with pytest.raises(errors.WalletProtocolError):
        await rpc.balance()


async def test_a_process_that_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    rpc = WalletRpc(f"http://127.0.0.1:{port}", None)
    with pytest.raises(errors.WalletUnreachable):
        await rpc.height()
    await rpc.aclose()


async def test_a_process_that_goes_in_the_middle_of_an_answer(wallet: MakeWallet) -> None:
    async def go(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport
        request.transport.abort()
        return response

    with pytest.raises(errors.WalletUnreachable):
        await (await wallet(go)).height()


async def test_a_process_that_cannot_be_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rpc, "_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_connect=0.01))
    rpc = WalletRpc("http://192.0.2.1", None)  # for documentation: nobody answers there
    with pytest.raises(errors.WalletUnreachable):
        await rpc.height(deadline=5)
    await rpc.aclose()


async def test_calls_run_one_by_one_and_a_deadline_counts_the_wait(wallet: MakeWallet) -> None:
    """The process is single-threaded: a second request would only wait there, out of the deadline's reach."""
    running = 0
    started, released = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        nonlocal running
        running += 1
        started.set()
        await released.wait()
        return web.json_response({"result": {"height": 1}})

    rpc = await wallet(slow)
    first = asyncio.create_task(rpc.height(deadline=5))
    await started.wait()
    with pytest.raises(errors.WalletTimeout, match="still waiting for an earlier call"):
        await rpc.height(deadline=0.05)
    assert running == 1
    released.set()
    assert await first == 1


async def test_a_deadline_passes_while_the_process_works(wallet: MakeWallet) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    rpc = await wallet(hang)
    with pytest.raises(errors.WalletTimeout, match="no answer after"):
        await rpc.open_wallet("a", PASSWORD, deadline=0.05)


def test_a_login_does_not_go_into_the_url() -> None:
    with pytest.raises(ValueError, match="login"):
        WalletRpc("http://op:secret@wallet:18083", None)


CERTIFICATE = derive_certificate("key", "uid", ("*.wallets.invalid",))


@asynccontextmanager
async def wallet_with_tls(folder: Path, **options: Any) -> AsyncIterator[WalletRpc]:
    """A wallet that shows ``CERTIFICATE``."""
    fake = FakeServer(login=LOGIN, results={"get_address": {"address": ADDRESS, "addresses": []}})
    async with serving_tls(fake.handle, CERTIFICATE, folder) as url:
        wallet = WalletRpc(url, LOGIN, **options)
        try:
            yield wallet
        finally:
            await wallet.aclose()
    assert not fake.calls or options["certificate"] == CERTIFICATE.digest


async def test_the_pods_own_certificate_is_accepted(tmp_path: Path) -> None:
    async with wallet_with_tls(tmp_path, certificate=CERTIFICATE.digest) as wallet:
        assert await wallet.address() == ADDRESS


async def test_nothing_is_sent_to_whoever_shows_another_one(tmp_path: Path) -> None:
    """Its address may be somebody else's by now; the call may carry a wallet's password."""
    for certificate in (b"x" * 32, None):
        async with wallet_with_tls(tmp_path, certificate=certificate) as wallet:
            with pytest.raises(errors.WalletUnreachable, match="certificate"):
                await wallet.address()


async def test_a_busy_wallet_that_shakes_no_hands_is_not_taken_for_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its one thread is at work: the kernel takes connections, and nobody does the handshake."""
    monkeypatch.setattr(json_rpc, "_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_connect=0.01))
    with socket.create_server(("127.0.0.1", 0)) as busy:
        wallet = WalletRpc(f"https://127.0.0.1:{busy.getsockname()[1]}", LOGIN, certificate=CERTIFICATE.digest)
        with pytest.raises(errors.WalletTimeout, match="no answer"):
            await wallet.call("get_address", {}, 0.5)
        await wallet.aclose()


async def test_of_one_that_is_cut_off_the_kernel_gives_up_soon() -> None:
    session = json_rpc.rpc_session()
    address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 1))
    assert isinstance(session.connector, aiohttp.TCPConnector)
    with json_rpc._socket(address) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT) == json_rpc.SYN_RETRIES
    assert session.connector._socket_factory is json_rpc._socket
    await session.close()


async def test_a_handshake_that_takes_too_long_is_no_sign_that_the_pod_is_gone() -> None:
    """The event loop ends it after a minute."""
    key = ConnectionKey("wallet", 1, True, True, None, None, None)
    for error, busy in ((ConnectionAbortedError("SSL handshake is taking longer"), True), (OSError(), False)):
        assert json_rpc.is_busy(aiohttp.ClientConnectorError(key, error)) is busy
    assert not json_rpc.is_busy(aiohttp.ServerDisconnectedError())
