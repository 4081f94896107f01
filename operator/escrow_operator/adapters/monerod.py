"""Client of monerod's RPC; all calls that it makes are allowed on a restricted RPC port.

Source of names and fields: https://docs.getmonero.org/rpc-library/monerod-rpc/
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence

import aiohttp

from escrow_operator.adapters.answer import Answer
from escrow_operator.adapters.json_rpc import ErrorTypes, Fault, JsonRpcClient, rpc_session
from escrow_operator.errors import (
    DaemonAnswerTooLong,
    DaemonProtocolError,
    DaemonRpcError,
    DaemonTimeout,
    DaemonUnauthorized,
    DaemonUnreachable,
)
from escrow_operator.models.monero import MAX_PICONERO, ChainTransaction, DaemonInfo, Login, NetType

INFO_DEADLINE = 10.0
"""Seconds for a call that takes milliseconds on an idle daemon, but waits while it verifies a batch of blocks."""

LONGEST_INFO = 64 * 2**10
"""Most bytes read of a get_info answer, which has 1,500."""

LONGEST_TRANSACTIONS = 4 * 2**20
"""Most bytes read of an answer about transactions. A pruned payment takes 10,000, since it is there twice and in
hexadecimal; the longest transactions, coinbases of mining pools that pay thousands, less than a million."""
IN_NO_BLOCK = MAX_PICONERO
"""The block height that monerod gives for a transaction in the pool, if any: the highest 64-bit number."""

SPENT_IN_BLOCK = 1
"""State of a key image that is spent in a block; 0 is unspent, 2 spent in the pool."""

_ERRORS = ErrorTypes(
    unreachable=DaemonUnreachable,
    timeout=DaemonTimeout,
    unauthorized=DaemonUnauthorized,
    protocol=DaemonProtocolError,
    too_long=DaemonAnswerTooLong,
)


class Daemon:
    """Client of one monerod. For `tls`, `connect` and `on_request` see JsonRpcClient."""

    def __init__(
        self,
        base_url: str,
        *,
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        connect: Callable[[], aiohttp.ClientSession] = rpc_session,
        on_request: Callable[[], None] | None = None,
    ) -> None:
        self._rpc = JsonRpcClient(
            base_url, _ERRORS, login=login, tls=tls, connect=connect, on_request=on_request, longest=LONGEST_INFO
        )

    async def aclose(self) -> None:
        """Close the connection."""
        await self._rpc.aclose()

    async def transactions(
        self, txids: Sequence[str], *, deadline: float = INFO_DEADLINE
    ) -> dict[str, ChainTransaction]:
        """Transactions in a block or in the pool, by txid; those that the daemon knows in neither are left out.

        If the answer would be too long, the query is split, within the same deadline: a session that names a long
        transaction must not keep others from learning about theirs. Raises DaemonUnreachable, DaemonTimeout,
        DaemonUnauthorized, DaemonProtocolError.
        """
        ends = asyncio.get_running_loop().time() + deadline
        found: dict[str, ChainTransaction] = {}
        parts = [list(txids)]
        while parts:
            part = parts.pop()
            try:
                found |= await self._transactions(part, ends - asyncio.get_running_loop().time())
            except DaemonAnswerTooLong:
                if len(part) == 1:
                    raise
                half = len(part) // 2
                parts += [part[:half], part[half:]]
        return found

    async def _transactions(self, txids: Sequence[str], deadline: float) -> dict[str, ChainTransaction]:
        question = {"txs_hashes": list(txids), "prune": True, "decode_as_json": True}
        answer = _ok(
            await self._rpc.post("/get_transactions", question, deadline, longest=LONGEST_TRANSACTIONS),
            "/get_transactions",
        )
        found = {tx.text("tx_hash"): _transaction(tx) for tx in answer.items("txs")}
        if not found.keys() <= set(txids):
            raise DaemonProtocolError("/get_transactions: an answer to another question")
        return found

    async def spent(self, key_images: Sequence[str], *, deadline: float = INFO_DEADLINE) -> dict[str, bool]:
        """Those of the key images that are spent: True in a block, False in the pool.

        Raises DaemonUnreachable, DaemonTimeout, DaemonUnauthorized, DaemonProtocolError.
        """
        path = "/is_key_image_spent"
        answer = _ok(await self._rpc.post(path, {"key_images": list(key_images)}, deadline), path)
        states = answer.integers("spent_status")
        if len(states) != len(key_images):
            raise DaemonProtocolError(f"{path}: an answer to another question")
        return {image: state == SPENT_IN_BLOCK for image, state in zip(key_images, states, strict=True) if state}

    async def info(self, *, deadline: float = INFO_DEADLINE) -> DaemonInfo:
        """State of the daemon and its chain.

        Raises DaemonUnreachable, DaemonTimeout, DaemonUnauthorized, DaemonProtocolError, DaemonRpcError.
        """
        try:
            answer = await self._rpc.call("get_info", {}, deadline)
        except Fault as fault:
            raise DaemonRpcError(f"get_info: error {fault.code}", code=fault.code) from None
        return DaemonInfo(
            height=answer.integer("height"),
            target_height=answer.integer("target_height"),
            nettype=answer.choice("nettype", NetType),
            synchronized=answer.flag("synchronized"),
            offline=answer.flag("offline"),
            busy_syncing=answer.flag("busy_syncing"),
            top_block_hash=answer.text("top_block_hash"),
            tx_pool_size=answer.integer("tx_pool_size"),
            version=answer.text("version"),
            status=answer.text("status"),
        )


def _ok(answer: Answer, path: str) -> Answer:
    if answer.text("status") != "OK":
        raise DaemonProtocolError(f"{path}: the daemon is busy or refused")
    return answer


def _transaction(answer: Answer) -> ChainTransaction:
    """A transaction of an answer; without ``block_height``, or with ``IN_NO_BLOCK``, it is in the pool."""
    in_pool = answer.flag("in_pool")
    height = answer.integer("block_height", IN_NO_BLOCK if in_pool else None)
    if in_pool != (height == IN_NO_BLOCK):
        raise DaemonProtocolError("/get_transactions: a transaction both in the pool and in a block, or in neither")
    transaction = answer.document("as_json")
    spends = [source.item("key").text("k_image") for source in transaction.items("vin") if source.has("key")]
    signatures = transaction.item("rct_signatures") if transaction.has("rct_signatures") else None
    return ChainTransaction(
        block_height=None if in_pool else height,
        double_spend_seen=answer.flag("double_spend_seen"),
        unlock_time=transaction.integer("unlock_time"),
        fee=signatures.integer("txnFee", 0) if signatures else 0,
        key_images=frozenset(spends),
    )
