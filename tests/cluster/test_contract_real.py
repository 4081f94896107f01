"""Real processes keep the contract that simulations of the operator rest on (tests/unit/simulation)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest_asyncio

from contract.bench import Bench
from contract.exchange import ExchangeContract
from contract.files import FilesContract
from contract.money import MoneyContract
from escrow_operator.adapters.kube import PODS
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.manifests.common import login_key_name
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import PoolKey
from harness.chain import Chain, forwarded
from harness.place import Place
from regtest.payout import Platform
from testbed import regtest
from testbed.wallets import by_key


class _Miner:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def mine(self, blocks: int = 1) -> int:
        return await self._chain.mine(blocks)

    async def pay(self, address: str, piconero: int) -> str:
        return (await self._chain.customer.pay(address, piconero)).txid

    async def pop(self, blocks: int) -> None:
        await self._chain.daemon.pop_blocks(blocks)

    async def pay_out(self, wallets: Mapping[Role, WalletRpc]) -> str:
        (txid,) = await Platform(wallets[Role.BUYER], wallets[Role.VENDOR]).sweep(self._chain.customer.address)
        return txid


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(place: Place, chain: Chain) -> AsyncIterator[Bench]:
    """A free slot of each role, which no session has adopted: nobody else opens wallets in it."""
    key = (await place.read_secret(login_key_name(PoolKey(place.namespace, place.pool_name))))["key"]
    async with AsyncExitStack() as stack:
        wallets = {}
        for role in ROLES:
            name = await place.free_slot(role)
            pod = await place.api.get(PODS, place.namespace, name)
            wallets[role] = by_key(await place.forward(stack, name), pod, key)
            stack.push_async_callback(wallets[role].aclose)
        url = await forwarded(stack, place.world.cluster, regtest.NAMESPACE, "deployment/monerod", regtest.RPC_PORT)
        daemon = Daemon(url)
        stack.push_async_callback(daemon.aclose)
        yield Bench(wallets, daemon, _Miner(chain))


@pytest_asyncio.fixture(loop_scope="session")
async def bench(servers: Bench) -> AsyncIterator[Bench]:
    """No wallet is open, and nothing waits in the pool."""
    await servers.miner.mine()
    await servers.close()
    yield servers
    await servers.close()


class TestFiles(FilesContract):
    pass


class TestExchange(ExchangeContract):
    pass


class TestMoney(MoneyContract):
    pass
