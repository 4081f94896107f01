from __future__ import annotations

import asyncio

import pytest

from escrow_operator import errors
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.monero import Login
from regtest.calls import version
from simulation.chain import Chain
from simulation.monerod import Monerod
from simulation.network import Network, Trouble
from simulation.wallet_files import Volume
from simulation.wallet_rpc import WalletProcess

ADDRESS = "10.0.0.1:18083"


class Crash(BaseException):
    """The operator ends."""


class Bench:
    def __init__(self, login: Login | None = None, *, knows: Login | None = None) -> None:
        self.network = Network(latency=0)
        self.volume = Volume()
        self.process = WalletProcess(self.volume, Monerod(Chain(3)), factor=0)
        self.network.listen(ADDRESS, self.process, login=login)
        self.requests = 0
        self.wallet = WalletRpc(
            f"http://{ADDRESS}", knows or login, session=self.network.session(), on_request=self._count
        )

    def _count(self) -> None:
        self.requests += 1


async def test_a_login_opens_what_another_does_not() -> None:
    login = Login("slot", "secret")
    bench = Bench(login)
    assert await version(bench.wallet)
    assert bench.requests == 1
    with pytest.raises(errors.WalletUnauthorized):
        await version(Bench(login, knows=Login("slot", "other")).wallet)


async def test_nobody_listens() -> None:
    bench = Bench()
    bench.network.close(ADDRESS)
    with pytest.raises(errors.WalletUnreachable, match="Connection refused"):
        await version(bench.wallet)


async def test_a_partition_takes_the_time_of_a_connection_and_can_be_healed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.network.CONNECT_SECONDS", 0)
    bench = Bench()
    bench.network.disturb(ADDRESS, Trouble.SILENT)
    with pytest.raises(errors.WalletUnreachable):
        await version(bench.wallet)
    bench.network.heal(ADDRESS)
    assert await version(bench.wallet)


async def test_a_call_that_hangs_ends_at_its_deadline_and_goes_on_when_healed() -> None:
    bench = Bench()
    bench.network.disturb(ADDRESS, Trouble.HANG, methods=["get_version"], times=2)
    with pytest.raises(errors.WalletTimeout):
        await version(bench.wallet, deadline=0.01)
    waiting = asyncio.create_task(version(bench.wallet))
    await asyncio.sleep(0)
    bench.network.heal(ADDRESS)
    assert await waiting


async def test_garbage_is_no_answer() -> None:
    bench = Bench()
    bench.network.disturb(ADDRESS, Trouble.GARBAGE, times=1)
    with pytest.raises(errors.WalletProtocolError):
        await version(bench.wallet)
    assert await version(bench.wallet)


async def test_a_dropped_answer_is_of_a_call_that_was_done() -> None:
    bench = Bench()
    bench.network.disturb(ADDRESS, Trouble.DROP_ANSWER, methods=["create_wallet"])
    with pytest.raises(errors.WalletUnreachable):
        await bench.wallet.create_wallet("a", "password")
    assert list(bench.volume.files) == ["a"]


async def test_a_call_goes_on_when_its_client_has_gone() -> None:
    bench = Bench()
    bench.process.hang()
    with pytest.raises(errors.WalletTimeout):
        await bench.wallet.create_wallet("a", "password", deadline=0.01)
    assert not bench.volume.files
    bench.process.resume()
    assert await version(bench.wallet), "it waits for the one thread"
    assert list(bench.volume.files) == ["a"]


async def test_a_process_that_is_killed_breaks_the_connection() -> None:
    bench = Bench()
    bench.process.hang()
    waiting = asyncio.create_task(bench.wallet.create_wallet("a", "password"))
    await asyncio.sleep(0.01)
    bench.process.kill()
    with pytest.raises(errors.WalletUnreachable):
        await waiting
    with pytest.raises(errors.WalletUnreachable):
        await version(bench.wallet)
    assert not bench.volume.files
