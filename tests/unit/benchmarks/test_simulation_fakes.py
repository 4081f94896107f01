"""The fake wallets answer the operator's own clients, as the real ones do where it matters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from benchmarks.fleet.fakes import HEIGHT, SLOW, Wallets, serve
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import DaemonUnreachable, NoWalletOpen, WalletTimeout
from escrow_operator.models.monero import Login, NetType
from regtest.calls import version

ADDRESS = "4" + "B" * 94


@dataclass
class Running:
    wallets: Wallets
    wallet_url: str
    daemon_url: str
    flapping_url: str

    def slot(self, user: str) -> WalletRpc:
        return WalletRpc(self.wallet_url, Login(user, "any"))


@pytest.fixture
async def fakes() -> AsyncIterator[Running]:
    wallets = Wallets(ADDRESS)
    servers = await serve(wallets, "127.0.0.1", 0, 0, 0)
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    yield Running(wallets, *(f"http://127.0.0.1:{port}" for port in ports))
    for server in servers:
        server.close()


async def test_a_slot_opens_reads_and_closes(fakes: Running) -> None:
    slot = fakes.slot("slot-1")
    with pytest.raises(NoWalletOpen):
        await slot.address()
    await slot.open_wallet("wallet", "password")
    assert await slot.address() == ADDRESS
    state = await slot.is_multisig()
    assert (state.multisig, state.ready, state.threshold, state.total) == (True, True, 2, 3)
    await slot.refresh()
    balance = await slot.balance()
    assert (balance.total, balance.multisig_import_needed) == (0, False)
    assert await slot.transfers(incoming=True, outgoing=True, pool=True) == []
    assert await slot.height() == HEIGHT
    await slot.close_wallet()
    with pytest.raises(NoWalletOpen):
        await slot.address()
    await slot.aclose()


async def test_slots_are_told_apart_by_their_login_and_challenged_once_per_connection(fakes: Running) -> None:
    first, second = fakes.slot("slot-1"), fakes.slot("slot-2")
    await first.open_wallet("wallet", "password")
    with pytest.raises(NoWalletOpen):
        await second.address()
    await first.address()
    assert fakes.wallets.calls["challenge"] == 2
    await first.aclose()
    await second.aclose()


async def test_a_slow_slot_answers_a_byte_each_second_and_others_at_once(fakes: Running) -> None:
    slow, other = fakes.slot("slot-1"), fakes.slot("slot-2")
    with pytest.raises(WalletTimeout):
        await slow.call("open_wallet", {"filename": "/wallets/slow-1-buyer", "password": "any"}, 0.3)
    await other.open_wallet("wallet", "password")
    assert await other.address() == ADDRESS
    with pytest.raises(WalletTimeout):
        await slow.call("get_address", {"account_index": 0}, 0.3)
    assert fakes.wallets.calls[SLOW] == 2
    await slow.aclose()
    await other.aclose()


async def test_a_flapping_monerod_is_there_every_other_second(fakes: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon(fakes.flapping_url)
    monkeypatch.setattr("benchmarks.fleet.fakes.monotonic", lambda: 3.5)
    with pytest.raises(DaemonUnreachable):
        await daemon.info()
    monkeypatch.setattr("benchmarks.fleet.fakes.monotonic", lambda: 4.5)
    assert (await daemon.info()).height == HEIGHT
    await daemon.aclose()


async def test_slots_may_have_their_wallets_open_from_the_start() -> None:
    wallets = Wallets(ADDRESS, begin_open=True)
    assert wallets.answer(b"slot-1", "get_address") == {"result": {"address": ADDRESS, "addresses": []}}
    wallets.answer(b"slot-1", "close_wallet")
    assert "error" in wallets.answer(b"slot-1", "get_address")


async def test_a_block_is_one_of_monerod_and_of_all_wallets(fakes: Running) -> None:
    daemon, slot = Daemon(fakes.daemon_url), fakes.slot("slot-1")
    await slot.open_wallet("wallet", "password")
    before = await daemon.info()
    async with httpx.AsyncClient() as client:
        await client.get(f"{fakes.daemon_url}/block")
    after = await daemon.info()
    assert after.height == before.height + 1 == await slot.height()
    assert after.top_block_hash != before.top_block_hash
    await daemon.aclose()
    await slot.aclose()


async def test_monerod_is_at_the_height_of_the_wallets_and_counts_are_read_and_reset(fakes: Running) -> None:
    daemon = Daemon(fakes.daemon_url)
    info = await daemon.info()
    assert (info.height, info.nettype, info.synchronized) == (HEIGHT, NetType.FAKECHAIN, True)
    await daemon.aclose()
    slot = fakes.slot("slot-1")
    await version(slot)
    async with httpx.AsyncClient(base_url=fakes.daemon_url, trust_env=False) as client:
        report = (await client.get("/stats/reset")).json()
        assert report == {"calls": {"challenge": 1, "get_version": 1}, "tellers": 0, "connections": 1}
        await slot.open_wallet("wallet", "password")
        await slot.height()
        assert (await client.get("/stats/reset")).json()["tellers"] == 1
        assert (await client.get("/stats")).json() == {"calls": {}, "tellers": 0, "connections": 1}
    await slot.aclose()
