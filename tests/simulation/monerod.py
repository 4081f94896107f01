"""monerod: what it says of a chain over RPC, and what wallets get from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from escrow_operator.models.monero import Login
from simulation.chain import Block, Chain, Transaction
from simulation.http_session import Reply
from simulation.network import Ended, json_reply, pause

MOST_TRANSACTIONS = 100
"""That a restricted RPC port tells of at once."""

MOST_KEY_IMAGES = 5_000

_IN_BLOCK, _IN_POOL, _UNSPENT = 1, 2, 0


class DaemonAway(Exception):
    """A wallet does not reach its daemon."""


class Monerod:
    """One of a chain. Its attributes are its troubles, and may be changed at any time.

    ``down``: neither operator nor wallets reach it; ``cut_off``: wallets do not, and notice after ``away_seconds``.
    ``behind``: blocks that it has not got yet, though it knows of them. ``busy``: it says so instead of answering.
    ``nettype`` may be another network's. ``lies`` replaces fields of get_info, of which wallets see nothing; ``hides``
    are transactions that it denies to the operator; ``seconds`` is how long a call takes. ``login`` is what wallets
    must know; what the operator must know is the network's to ask.
    """

    def __init__(self, chain: Chain, *, nettype: str = "fakechain", restricted: bool = True) -> None:
        self.chain = chain
        self.nettype = nettype
        self.restricted = restricted
        self.down = False
        self.cut_off = False
        self.away_seconds = 0.0
        self.behind = 0
        self.busy = False
        self.lies: dict[str, Any] = {}
        self.hides: set[str] = set()
        self.seconds = 0.001
        self.login: Login | None = None

    # What wallets get

    @property
    def height(self) -> int:
        """Blocks it has."""
        return max(1, self.chain.height - self.behind)

    def for_wallets(self, login: Login | None = None) -> Monerod:
        """Itself. Raises DaemonAway when wallets do not reach it, or do not know its login."""
        if self.down or self.cut_off or self.login not in (None, login):
            raise DaemonAway
        return self

    def block(self, index: int) -> Block:
        """The block of a height below ``height``."""
        return self.chain.blocks[index]

    @property
    def pool(self) -> Sequence[Transaction]:
        """Transactions that wait."""
        return tuple(self.chain.pool.values())

    # What the operator gets

    async def answer(self, path: str, request: dict[str, Any]) -> Reply:
        """See simulation.network.Server."""
        if self.down:
            raise Ended
        await pause(self.seconds)
        match path:
            case "/json_rpc" if request.get("method") == "get_info":
                return json_reply({"jsonrpc": "2.0", "id": "0", "result": self._info()})
            case "/json_rpc":
                error = {"code": -32601, "message": "Method not found"}
                return json_reply({"jsonrpc": "2.0", "id": "0", "error": error})
            case "/get_transactions":
                return json_reply(self._transactions(request["txs_hashes"]))
            case "/is_key_image_spent":
                return json_reply(self._spent(request["key_images"]))
        return Reply(404, b"")

    def _info(self) -> dict[str, Any]:
        return {
            "adjusted_time": self.block(self.height - 1).timestamp,
            "busy_syncing": bool(self.behind),
            "database_size": 5368709120,
            "free_space": 18446744073709551615,
            "height": self.height,
            "height_without_bootstrap": 0,
            "mainnet": self.nettype == "mainnet",
            "nettype": self.nettype,
            "offline": self.nettype == "fakechain",
            "restricted": self.restricted,
            "status": "BUSY" if self.busy else "OK",
            "synchronized": not self.behind,
            "target": 120,
            "target_height": self.chain.height if self.behind else 0,
            "top_block_hash": self.block(self.height - 1).hash,
            "tx_pool_size": len(self.chain.pool),
            "untrusted": False,
            "version": "" if self.restricted else "0.18.5.3-simulated",
        } | self.lies

    def _transactions(self, txids: list[str]) -> dict[str, Any]:
        if self.busy:
            return {"status": "BUSY"}
        if self.restricted and len(txids) > MOST_TRANSACTIONS:
            return {"status": "Too many transactions requested in restricted mode"}
        found = {txid: self.chain.find(txid, self.height) for txid in txids if txid not in self.hides}
        txs = [self._transaction(*one) for one in found.values() if one is not None]
        return {"status": "OK", "txs": txs, "missed_tx": [t for t in txids if found.get(t) is None], "untrusted": False}

    def _transaction(self, transaction: Transaction, block: Block | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "tx_hash": transaction.txid,
            "as_hex": "",
            "double_spend_seen": transaction.double_spend_seen,
            "in_pool": block is None,
            "as_json": json.dumps(
                {
                    "version": 2,
                    "unlock_time": transaction.unlock_time,
                    "vin": [
                        {"key": {"amount": 0, "key_offsets": [1], "k_image": image}}
                        for image in sorted(transaction.spends)
                    ],
                    "vout": [
                        {"amount": 0, "target": {"tagged_key": {"key": output.public_key, "view_tag": "00"}}}
                        for output in transaction.outputs
                    ],
                    "extra": [],
                    "rct_signatures": {"type": 6, "txnFee": transaction.fee},
                }
            ),
        }
        if block is None:
            return body | {"relayed": True, "received_timestamp": transaction.timestamp}
        depth = self.height - block.index
        return body | {"block_height": block.index, "block_timestamp": block.timestamp, "confirmations": depth}

    def _spent(self, images: list[str]) -> dict[str, Any]:
        if self.busy:
            return {"status": "BUSY"}
        if self.restricted and len(images) > MOST_KEY_IMAGES:
            return {"status": "Too many key images queried in restricted mode"}
        spent = self.chain.spent(self.height)
        states = [(_IN_BLOCK if spent[image] else _IN_POOL) if image in spent else _UNSPENT for image in images]
        return {"status": "OK", "spent_status": states, "untrusted": False}
