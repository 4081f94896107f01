"""The simulated servers keep the contract that the real ones keep (tests/cluster/test_contract_real.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from contract.bench import Bench
from contract.exchange import ExchangeContract
from contract.files import FilesContract
from contract.money import MoneyContract
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.common import ROLES, Role
from simulation.chain import Chain
from simulation.monerod import Monerod
from simulation.network import Network
from simulation.wallet_files import Volume
from simulation.wallet_rpc import WalletProcess


class _Miner:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def mine(self, blocks: int = 1) -> int:
        return self._chain.mine(blocks)

    async def pay(self, address: str, piconero: int) -> str:
        return self._chain.pay(address, piconero)

    async def pop(self, blocks: int) -> None:
        self._chain.reorganise(blocks)

    async def pay_out(self, wallets: Mapping[Role, WalletRpc]) -> str:
        return self._chain.pay_out(await wallets[Role.BUYER].address())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    network, chain = Network(latency=0), Chain()
    daemon = Monerod(chain)
    network.listen("monerod:18081", daemon)
    session = network.session()
    wallets = {}
    for role in ROLES:
        network.listen(f"{role}:18083", WalletProcess(Volume(), daemon, name=role, factor=0))
        wallets[role] = WalletRpc(f"http://{role}:18083", None, session=session)
    yield Bench(wallets, Daemon("http://monerod:18081", connect=network.session), _Miner(chain))
    await session.close()
    assert not network.failures


class TestFiles(FilesContract):
    pass


class TestExchange(ExchangeContract):
    pass


class TestMoney(MoneyContract):
    pass
