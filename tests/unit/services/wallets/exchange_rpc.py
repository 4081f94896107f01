"""Wallet processes for tries at the key exchange: each on a volume of its own, with faults where a test wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from escrow_operator.errors import InvalidPassword, NoWalletOpen, WalletError, WalletFileExists
from escrow_operator.models.monero import KeyExchange, MultisigInfo, WalletBalance
from escrow_operator.services.wallets.key_exchange import ESCROW

PLAIN = MultisigInfo(multisig=False, ready=False, threshold=0, total=0)


@dataclass
class File:
    """A wallet on a volume."""

    password: str
    state: MultisigInfo = PLAIN
    rounds: int = 0
    address: str = ""
    money: int = 0


@dataclass
class FakeRpc:
    """A wallet-rpc process on a volume of its own; ``faults`` are raised by the next call of a method, once."""

    disk: dict[str, File] = field(default_factory=dict)
    open: File | None = None
    faults: dict[str, WalletError] = field(default_factory=dict)
    late: bool = False
    """Whether a call that fails has been carried out all the same."""

    def _fault(self, method: str) -> WalletError | None:
        return self.faults.pop(method, None)

    def _done(self, fault: WalletError | None) -> None:
        if fault:
            raise fault

    def _begin(self, method: str) -> WalletError | None:
        fault = self._fault(method)
        if fault and not self.late:
            raise fault
        return fault

    def _wallet(self) -> File:
        if self.open is None:
            raise NoWalletOpen("none")
        return self.open

    async def close_wallet(self) -> None:
        fault = self._begin("close_wallet")
        self._wallet()
        self.open = None
        self._done(fault)

    async def create_wallet(self, file: str, password: str) -> None:
        fault = self._begin("create_wallet")
        if file in self.disk:
            raise WalletFileExists("exists")
        self.open = self.disk[file] = File(password)
        self._done(fault)

    async def open_wallet(self, file: str, password: str) -> None:
        fault = self._begin("open_wallet")
        if self.disk[file].password != password:
            raise InvalidPassword("wrong")
        self.open = self.disk[file]
        self._done(fault)

    async def is_multisig(self) -> MultisigInfo:
        self._done(self._fault("is_multisig"))
        return self._wallet().state

    async def balance(self) -> WalletBalance:
        return WalletBalance(self._wallet().money, 0, 0, 0, False)

    async def transfers(self, **_: bool) -> list[Any]:
        return []

    async def address(self) -> str:
        self._done(self._fault("address"))
        return self._wallet().address

    async def prepare_multisig(self) -> str:
        self._done(self._fault("prepare_multisig"))
        assert not self._wallet().state.multisig
        return "info"

    async def make_multisig(self, infos: Sequence[str], threshold: int, _: str) -> KeyExchange:
        fault = self._begin("make_multisig")
        assert not self._wallet().state.multisig, "make_multisig works once"
        self._wallet().state = MultisigInfo(True, False, threshold, len(infos) + 1)
        self._done(fault)
        return KeyExchange("", "info")

    async def exchange_multisig_keys(self, infos: Sequence[str], _: str) -> KeyExchange:
        fault = self._begin("exchange_multisig_keys")
        wallet = self._wallet()
        assert infos
        assert not wallet.state.ready, "kex is already complete"
        wallet.rounds += 1
        if wallet.rounds == 2:
            wallet.state, wallet.address = ESCROW, "4escrow"
        self._done(fault)
        return KeyExchange("", "info")
