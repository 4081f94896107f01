"""The calls of monero-wallet-rpc that read: what a wallet holds, as of what it has seen of the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from escrow_operator.models.monero import Login
from simulation.chain import SPENDABLE_AGE, Block, Transaction, is_locked
from simulation.monerod import DaemonAway, Monerod
from simulation.wallet_cache import Cache
from simulation.wallet_keys import Keys

ASKS_DAEMON = frozenset({"refresh", "get_transfers", "get_transfer_by_txid", "import_multisig_info"})

Params = Mapping[str, Any]
Result = dict[str, Any]
Handler = Callable[[Params], Result]


class Fault(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"error {code}: {message}")
        self.code = code
        self.message = message


@dataclass
class Open:
    """The wallet in memory."""

    name: str
    password: str
    keys: Keys
    cache: Cache


class Reads:
    """The wallet that is open in a process, if one is, and the daemon that it asks, None one that is not there.

    ``login`` is what it knows of that daemon's.
    """

    def __init__(self, daemon: Monerod | None, login: Login | None) -> None:
        self.open: Open | None = None
        self._daemon = daemon
        self._login = login

    def find(self, method: str) -> Handler | None:
        """A call by name."""
        return getattr(self, f"_on_{method}", None)

    def daemon_answers(self) -> bool:
        """Whether it reaches its daemon."""
        try:
            self._reached()
        except DaemonAway:
            return False
        return True

    def away_seconds(self) -> float:
        """How long it takes to notice that it does not."""
        return self._daemon.away_seconds if self._daemon else 0.0

    def refresh_if_possible(self) -> None:
        """Scan what is new, unless no daemon is there."""
        if self.open is not None and self.daemon_answers():
            self.open.cache.refresh(self._reached(), self.open.keys)

    def _on_get_address(self, _: Params) -> Result:
        address = self._wallet().keys.address
        first = {"address": address, "address_index": 0, "label": "Primary account", "used": False}
        return {"address": address, "addresses": [first]}

    def _on_get_attribute(self, params: Params) -> Result:
        value = self._wallet().cache.attributes.get(params["key"])
        if value is None:
            raise Fault(-45, "Attribute not found.")
        return {"value": value}

    def _on_get_height(self, _: Params) -> Result:
        return {"height": self._wallet().cache.height}

    def _on_refresh(self, _: Params) -> Result:
        wallet = self._wallet()
        before = len(wallet.cache.received)
        try:
            fetched = wallet.cache.refresh(self._reached(), wallet.keys)
        except DaemonAway:
            raise Fault(-38, "no connection to daemon") from None
        return {"blocks_fetched": fetched, "received_money": len(wallet.cache.received) > before}

    def _on_get_balance(self, _: Params) -> Result:
        cache = self._wallet().cache
        unspent = [one for one in cache.received if one.key_image not in cache.spent]
        locks = [self._locked_for(one.transaction, one.block, cache.height) for one in unspent]
        waiting = sum(amount for t, _, kind, amount in self._transfers() if kind == "pool" and not t.double_spend_seen)
        return {
            "balance": sum(one.output.amount for one in unspent) + waiting,
            "unlocked_balance": sum(one.output.amount for one, lock in zip(unspent, locks, strict=True) if not lock),
            "blocks_to_unlock": max(locks, default=0),
            "time_to_unlock": 0,
            "multisig_import_needed": cache.import_needed,
        }

    def _on_incoming_transfers(self, params: Params) -> Result:
        cache = self._wallet().cache
        wanted = {"all": (True, False), "available": (False,), "unavailable": (True,)}[params["transfer_type"]]
        found = [
            {
                "amount": one.output.amount,
                "block_height": one.block.index,
                "frozen": False,
                "global_index": number,
                "key_image": one.key_image,
                "pubkey": one.output.public_key,
                "spent": one.key_image in cache.spent,
                "subaddr_index": {"major": 0, "minor": 0},
                "tx_hash": one.transaction.txid,
                "unlocked": not self._locked_for(one.transaction, one.block, cache.height),
            }
            for number, one in enumerate(cache.received)
            if (one.key_image in cache.spent) in wanted
        ]
        return {"transfers": found} if found else {}

    def _on_get_transfers(self, params: Params) -> Result:
        wallet = self._wallet()
        if params.get("pool"):
            wallet.cache.look_into_pool(self._reached())
        above = params.get("min_height", 0) if params.get("filter_by_height") else -1
        found: dict[str, list[Result]] = {}
        for transaction, block, kind, amount in reversed(list(self._transfers())):
            if params.get(kind) and (block is None or block.index > above):
                found.setdefault(kind, []).append(self._transfer(transaction, block, kind, amount))
        return found

    def _on_get_transfer_by_txid(self, params: Params) -> Result:
        self._wallet().cache.look_into_pool(self._reached())
        found = [self._transfer(*one) for one in self._transfers() if one[0].txid == params["txid"]]
        if not found:
            raise Fault(-8, "Transaction not found.")
        return {"transfer": found[0], "transfers": found}

    def _transfers(self) -> list[tuple[Transaction, Block | None, str, int]]:
        """Transactions that are the wallet's as far as it can tell, the newest first, with kind and amount."""
        wallet = self._wallet()
        images, address, found = wallet.cache.images, wallet.keys.address, []
        amounts = {one.key_image: one.output.amount for one in wallet.cache.received}
        for transaction, block in wallet.cache.transactions():
            into = sum(output.amount for output in transaction.outputs if output.address == address)
            spent = transaction.spends & images
            if spent:
                out = sum(amounts[image] for image in spent) - into - transaction.fee
                found.append((transaction, block, "out" if block else "pending", out))
            elif into:
                found.append((transaction, block, "in" if block else "pool", into))
        return found

    def _transfer(self, transaction: Transaction, block: Block | None, kind: str, amount: int) -> Result:
        wallet = self._wallet()
        body: Result = {
            "address": wallet.keys.address,
            "amount": amount,
            "amounts": [amount],
            "double_spend_seen": transaction.double_spend_seen,
            "fee": transaction.fee,
            "height": block.index if block else 0,
            "locked": block is None or bool(self._locked_for(transaction, block, wallet.cache.height)),
            "note": "",
            "payment_id": "0" * 16,
            "subaddr_index": {"major": 0, "minor": 0},
            "suggested_confirmations_threshold": 1,
            "timestamp": transaction.timestamp,
            "txid": transaction.txid,
            "type": kind,
            "unlock_time": transaction.unlock_time,
        }
        return body | {"confirmations": wallet.cache.height - block.index} if block else body

    def _locked_for(self, transaction: Transaction, block: Block, height: int) -> int:
        """Blocks until its outputs can be spent."""
        depth = height - block.index
        if not is_locked(transaction.unlock_time, height, depth):
            return 0
        return max(1, SPENDABLE_AGE - depth)

    def _wallet(self) -> Open:
        if self.open is None:
            raise Fault(-13, "No wallet file")
        return self.open

    def _reached(self) -> Monerod:
        if self._daemon is None:
            raise DaemonAway
        return self._daemon.for_wallets(self._login)
