"""Wallet processes in memory: files on a volume of each role, one open wallet to a slot, rounds of a key exchange."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from escrow_operator.errors import (
    InvalidPassword,
    NotMultisig,
    NoWalletOpen,
    WalletFileExists,
    WalletFileLocked,
    WalletFileNotFound,
)
from escrow_operator.models.common import Role
from escrow_operator.models.monero import (
    ChainTransaction,
    KeyExchange,
    Login,
    MultisigInfo,
    Output,
    Transfer,
    TransferType,
)
from escrow_operator.models.slot import Slot
from escrow_operator.services.wallets.clients import Access

_MESSAGES = itertools.count(1)


@dataclass
class File:
    """A wallet file: ``rounds`` of its key exchange are done."""

    password: str
    rounds: int = 0
    message: int = 0
    address: str = ""
    open_in: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)


@dataclass
class Chain:
    """What wallets and monerod see: height, transactions, and by address what was paid and spent."""

    height: int = 100
    transactions: dict[str, ChainTransaction] = field(default_factory=dict)
    outputs: dict[str, list[Output]] = field(default_factory=dict)
    announced: dict[str, list[Transfer]] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)

    def pay(self, address: str, piconero: int, txid: str, confirmations: int) -> None:
        """A payment in the pool (0), or so deep; one of before with this txid is now this deep."""
        height = self.height - confirmations if confirmations else None
        self.transactions[txid] = ChainTransaction(height, False, 0, 0, frozenset())
        waiting = [paid for paid in self.announced.get(address, []) if paid.txid != txid]
        if confirmations:
            self.outputs.setdefault(address, []).append(Output(txid, f"key-{txid}", piconero, f"image-{txid}"))
        else:
            waiting.append(Transfer(txid, TransferType.POOL, piconero, 0, 0, 0, False, False, 0, 0))
        self.announced[address] = waiting

    def pay_out(self, address: str, txid: str, confirmations: int) -> None:
        """All that is in the escrow goes out."""
        images = frozenset(output.key_image for output in self.outputs.get(address, []))
        height = self.height - confirmations if confirmations else None
        self.transactions[txid] = ChainTransaction(height, False, 0, 1, images)
        self.spent |= images


class FakeWallet:
    """One wallet-rpc process."""

    def __init__(self, disk: dict[tuple[Role, str], File], chain: Chain, slot: Slot) -> None:
        self._disk = disk
        self._chain = chain
        self._slot = slot
        self.role = slot.role
        self.calls: list[str] = []

    @property
    def _file(self) -> File:
        for file in self._disk.values():
            if file.open_in == self._slot.uid:
                return file
        raise NoWalletOpen("no wallet is open")

    async def address(self, **_: Any) -> str:
        self.calls.append("address")
        file = self._file
        return file.address or f"single-{id(file)}"

    async def create_wallet(self, file: str, password: str, **_: Any) -> None:
        self.calls.append("create_wallet")
        if (self._slot.role, file) in self._disk:
            raise WalletFileExists("it exists")
        self._disk[self._slot.role, file] = File(password, open_in=self._slot.uid)

    async def open_wallet(self, file: str, password: str, **_: Any) -> None:
        self.calls.append("open_wallet")
        found = self._disk.get((self._slot.role, file))
        if found is None:
            raise WalletFileNotFound("no such file")
        if found.password != password:
            raise InvalidPassword("wrong")
        if found.open_in not in (None, self._slot.uid):
            raise WalletFileLocked("open elsewhere")
        found.open_in = self._slot.uid

    async def close_wallet(self, **_: Any) -> None:
        self.calls.append("close_wallet")
        self._file.open_in = None

    async def store(self, **_: Any) -> None:
        self._file.stored = dict(self._file.attributes)

    async def attribute(self, name: str, **_: Any) -> str | None:
        return self._file.attributes.get(name)

    async def set_attribute(self, name: str, value: str, **_: Any) -> None:
        self._file.attributes[name] = value

    async def is_multisig(self, **_: Any) -> MultisigInfo:
        rounds = self._file.rounds
        return MultisigInfo(rounds > 1, rounds > 3, 2 if rounds > 1 else 0, 3 if rounds > 1 else 0)

    async def prepare_multisig(self, **_: Any) -> str:
        self._file.rounds = 1
        return "prepared"

    async def make_multisig(self, infos: list[str], threshold: int, password: str, **_: Any) -> KeyExchange:
        assert len(infos) == threshold == 2
        assert password == self._file.password
        file = self._file
        file.rounds, file.message = 2, next(_MESSAGES)
        return KeyExchange("", f"round-{file.message}")

    async def exchange_multisig_keys(self, infos: list[str], password: str, **_: Any) -> KeyExchange:
        file = self._file
        if file.rounds < 2:
            raise NotMultisig("not yet")
        assert password == file.password
        file.rounds += 1
        # After the first round all three have the same three messages, and come to the same address.
        file.message = max(file.message, *(int(info.split("-")[1]) for info in infos))
        file.address = f"4escrow{file.message}" if file.rounds > 3 else ""
        return KeyExchange(file.address, f"round-{file.message}")

    async def refresh(self, **_: Any) -> int:
        assert self._file
        return 0

    async def height(self, **_: Any) -> int:
        assert self._file
        return self._chain.height

    async def transfers(self, *, pool: bool, incoming: bool = False, outgoing: bool = False) -> list[Transfer]:
        assert pool
        assert incoming == outgoing
        if incoming and self._chain.outputs.get(self._file.address):
            return [Transfer("mined", TransferType.IN, 1, 0, 0, 0, False, False, 0, 0)]
        return list(self._chain.announced.get(self._file.address, []))

    async def outputs(self, **_: Any) -> list[Output]:
        return list(self._chain.outputs.get(self._file.address, []))


class FakeWallets:
    """Connections to the slots, instead of the service of that name."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.disk: dict[tuple[Role, str], File] = {}
        self._clients: dict[str, FakeWallet] = {}

    def file(self, role: Role, name: str, password: str, address: str) -> None:
        """A complete wallet of an escrow, made elsewhere."""
        self.disk[role, name] = File(password, rounds=4, address=address)

    def pod_gone(self, uid: str) -> None:
        """Its process ends, and lets go of its file."""
        for file in self.disk.values():
            if file.open_in == uid:
                file.open_in = None
        self._clients.pop(uid, None)

    def open_files(self) -> dict[str, str]:
        """Which pod has which file open."""
        return {f"{role}/{name}": file.open_in for (role, name), file in self.disk.items() if file.open_in}

    async def client(self, slot: Slot) -> FakeWallet:
        return self._clients.setdefault(slot.uid, FakeWallet(self.disk, self.chain, slot))

    async def access(self, slot: Slot) -> Access:
        return Access(Login(f"slot-{slot.uid}", "password"), None)

    async def close(self) -> None:
        """Nothing is open."""
