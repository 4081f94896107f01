"""The people of the story: the customer who pays, the platform that pays out, and the vendor who is paid."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

from demo.names import CUSTOMER, MANIFESTS, NAMESPACE, POD_SECONDS, PURSE, VENDOR
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import NoWalletOpen
from regtest.calls import sent
from regtest.customer import FIRST_BLOCKS, Customer
from regtest.daemon import RegtestDaemon
from regtest.payout import Platform
from testbed import progress
from testbed import regtest as monerod
from testbed.cluster import Cluster
from testbed.portforward import PortForward
from testbed.wallets import by_connection

RPC_PORT = 18083
"""Of every wallet-rpc here, of those of the pool too."""

UNLOCK_BLOCKS = 60
"""Blocks until newly mined coins can be spent."""

_T = TypeVar("_T")


class People:
    """Everybody's wallets and the miner, reached through ``kubectl port-forward`` for as long as ``with`` lasts."""

    def __init__(self, cluster: Cluster, wallet_image: str) -> None:
        self._cluster = cluster
        self._image = wallet_image
        self._stack = ExitStack()
        self._runner = asyncio.Runner()
        self._background = ThreadPoolExecutor(1)
        self._clients: tuple[RegtestDaemon | WalletRpc, ...] = ()

    def __enter__(self) -> People:
        with ExitStack() as stack:
            stack.enter_context(self._runner)
            with progress.step("starting the wallets of customer and vendor"):
                self._deploy()
            # Ended in the opposite order: without the forwarded ports what runs in the background ends at once.
            stack.callback(self._hang_up)
            stack.callback(self._background.shutdown)
            self._daemon = RegtestDaemon(self._forward(stack, monerod.NAMESPACE, "service/monerod", monerod.RPC_PORT))
            self._customer_wallet = WalletRpc(self._outside(stack, CUSTOMER), None)
            self._vendor_wallet = WalletRpc(self._outside(stack, VENDOR), None)
            self._clients = (self._daemon, self._customer_wallet, self._vendor_wallet)
            self._customer = Customer(self._customer_wallet, self._daemon)
            self._vendor = Customer(self._vendor_wallet, self._daemon)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(coroutine)

    def _hang_up(self) -> None:
        for client in self._clients:
            self._run(client.aclose())

    def in_background(self, work: Callable[[], None]) -> Future[None]:
        """Let something run meanwhile; nothing else may be asked of anybody here before it is done."""
        return self._background.submit(work)

    def _deploy(self) -> None:
        text = (MANIFESTS / "wallet.yaml").read_text().replace("WALLET_IMAGE", self._image)
        for owner in (CUSTOMER, VENDOR):
            self._cluster.apply(text.replace("OWNER", owner))
        for owner in (CUSTOMER, VENDOR):
            argv = ("rollout", "status", f"deployment/{owner}", "-n", monerod.NAMESPACE)
            self._cluster.kubectl(*argv, f"--timeout={POD_SECONDS:.0f}s", timeout=POD_SECONDS + 20)

    def _outside(self, stack: ExitStack, owner: str) -> str:
        return self._forward(stack, monerod.NAMESPACE, f"deployment/{owner}", RPC_PORT)

    def _forward(self, stack: ExitStack, namespace: str, target: str, port: int) -> str:
        return stack.enter_context(PortForward(self._cluster, namespace, target, port)).url

    def open_wallets(self) -> tuple[str, str]:
        """Create or open the wallets of customer and vendor; return their addresses."""

        async def both() -> Sequence[str]:
            return await asyncio.gather(
                _open(self._customer_wallet, self._customer), _open(self._vendor_wallet, self._vendor)
            )

        customer, vendor = self._run(both())
        return customer, vendor

    def height(self) -> int:
        """Return the number of blocks of the chain."""
        return self._run(self._daemon.height())

    def blocks_to_earn(self) -> int:
        """Return how many blocks the customer has to mine before paying (about, when some were mined)."""

        async def count() -> int:
            await self._customer_wallet.refresh()
            if (await self._customer_wallet.balance()).unlocked >= PURSE:
                return 0
            return max(FIRST_BLOCKS - await self._daemon.height(), UNLOCK_BLOCKS)

        return self._run(count())

    def earn(self) -> int:
        """Let the customer mine until there is enough to pay with; return what can be spent."""
        return self._run(self._customer.earn(PURSE))

    def mine(self, blocks: int = 1) -> int:
        """Mine blocks to the customer; return the height."""
        return self._run(self._customer.mine(blocks))

    def pay(self, address: str, amount: int) -> str:
        """Let the customer pay an address; return the transaction id."""
        return self._run(self._customer.pay(address, amount)).txid

    def vendor_balance(self) -> int:
        """Return what the vendor's own wallet holds."""

        async def ask() -> int:
            await self._vendor_wallet.refresh()
            return (await self._vendor_wallet.balance()).total

        return self._run(ask())

    def release(self, session: Mapping[str, Any], roles: tuple[str, str]) -> str:
        """Pay the vendor all that a session's escrow holds, signed by two of its wallets; the transaction id.

        A payout that an interrupted run has sent already is found and not sent again.
        """
        with ExitStack() as stack:
            wallets = [self._escrow_wallet(stack, session, role) for role in roles]
            try:
                return self._run(_release(wallets, self._vendor.address))
            finally:
                for wallet in wallets:
                    self._run(wallet.aclose())

    def _escrow_wallet(self, stack: ExitStack, session: Mapping[str, Any], role: str) -> WalletRpc:
        """Connect with the connection Secret, as a party's backend does, but from outside the cluster."""
        wallet = session["status"]["wallets"][role]
        secret = json.loads(self._cluster.kubectl("get", "secret", wallet["secret"], "-n", NAMESPACE, "-o", "json"))
        data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        url = self._forward(stack, NAMESPACE, f"pod/{wallet['pod']}", int(data["port"]))
        return by_connection(url, data)


async def _open(wallet: WalletRpc, person: Customer) -> str:
    try:
        person.address = await wallet.address()
    except NoWalletOpen:
        await person.start()
    return person.address


async def _release(wallets: Sequence[WalletRpc], address: str) -> str:
    for wallet in wallets:
        await wallet.refresh()
        if txids := await sent(wallet):
            return txids[-1]
    return (await Platform(*wallets).sweep(address))[0]
