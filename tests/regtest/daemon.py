"""A monerod started with --regtest --offline: mining at a call, and reorganisations."""

import asyncio
import ssl

from escrow_operator.adapters.answer import Answer
from escrow_operator.adapters.json_rpc import ErrorTypes, Fault, JsonRpcClient
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.errors import (
    DaemonAnswerTooLong,
    DaemonProtocolError,
    DaemonRpcError,
    DaemonTimeout,
    DaemonUnauthorized,
    DaemonUnreachable,
)
from escrow_operator.models.monero import DaemonInfo, Login
from regtest.calls import texts

MINING_DEADLINE = 180.0
"""Seconds: 100 blocks take 6 to 10 s on two idle cores, several times that on busy ones."""

READ_DEADLINE = 30.0

RELAY_SECONDS = 30.0
"""Until monerod has handed a transaction to its network code: milliseconds, seconds on a busy machine."""

RELAY_LOOK_SECONDS = 0.02

_ERRORS = ErrorTypes(
    unreachable=DaemonUnreachable,
    timeout=DaemonTimeout,
    unauthorized=DaemonUnauthorized,
    protocol=DaemonProtocolError,
    too_long=DaemonAnswerTooLong,
)


class RegtestDaemon:
    """Needs the unrestricted RPC port. Raises the DaemonErrors of escrow_operator.errors."""

    def __init__(self, base_url: str, *, login: Login | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._daemon = Daemon(base_url, login=login, tls=tls)
        self._rpc = JsonRpcClient(base_url, _ERRORS, login=login, tls=tls)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._daemon.aclose()
        await self._rpc.aclose()

    async def info(self) -> DaemonInfo:
        """State of the daemon and its chain."""
        return await self._daemon.info()

    async def height(self) -> int:
        """Number of blocks in the chain."""
        return (await self.info()).height

    async def generate_blocks(self, address: str, count: int) -> int:
        """Mine `count` blocks, and what waits in the pool with them, to an address; the new height."""
        await self._until_relayed()
        params = {"wallet_address": address, "amount_of_blocks": count}
        try:
            answer = await self._rpc.call("generateblocks", params, MINING_DEADLINE)
        except Fault as fault:
            raise DaemonRpcError(f"generateblocks: {fault.message}", code=fault.code) from None
        # The answer's height is the top block's index.
        return answer.integer("height") + 1

    async def pop_blocks(self, count: int) -> int:
        """Take the newest blocks away, their payments going back to the pool; the new height.

        To wallets this is a reorganisation once the chain has grown again.
        """
        return (await self._post("/pop_blocks", {"nblocks": count})).integer("height")

    async def mempool(self) -> list[str]:
        """Ids of the transactions in the pool."""
        return texts(await self._post("/get_transaction_pool_hashes", {}), "tx_hashes")

    async def flush_mempool(self) -> None:
        """Drop every transaction from the pool, as if they had expired or lost a double spend."""
        try:
            await self._rpc.call("flush_txpool", {}, READ_DEADLINE)
        except Fault as fault:
            raise DaemonRpcError(f"flush_txpool: {fault.message}", code=fault.code) from None

    async def _until_relayed(self) -> None:
        """Wait until the next block takes all that is in the pool.

        monerod answers a wallet that sends a transaction before its network code has taken it up (and, offline, has
        logged that it has nobody to send it to). Until then the transaction is in the pool but in no block template: a
        block made in that moment leaves it out.
        """
        waiting: list[str] = []
        try:
            async with asyncio.timeout(RELAY_SECONDS):
                while True:
                    waiting = await self._not_relayed()
                    if not waiting:
                        return
                    await asyncio.sleep(RELAY_LOOK_SECONDS)
        except TimeoutError:
            raise DaemonTimeout(f"monerod has not relayed {', '.join(waiting)} in {RELAY_SECONDS:.0f} s") from None

    async def _not_relayed(self) -> list[str]:
        pool = await self._post("/get_transaction_pool", {})
        return [
            tx.text("id_hash")
            for tx in pool.items("transactions")
            if not tx.flag("relayed") and not tx.flag("do_not_relay")
        ]

    async def _post(self, path: str, params: dict[str, object]) -> Answer:
        """These calls of monerod are plain JSON over HTTP, not JSON-RPC."""
        answer = await self._rpc.post(path, params, READ_DEADLINE)
        if answer.text("status") != "OK":
            raise DaemonProtocolError(f"{path}: no status OK")
        return answer
