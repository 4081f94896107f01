"""The rounds of a 2-of-3: each wallet hears of the two others, and nothing counts before all three agree."""

from __future__ import annotations

from typing import Any, cast

import pytest

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import (
    InvalidPassword,
    WalletFileDamaged,
    WalletFileNotFound,
    WalletStorageError,
    WalletTimeout,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.monero import KeyExchange, MultisigInfo
from escrow_operator.services.wallets.key_exchange import (
    ESCROW,
    THRESHOLD,
    Begun,
    ExchangeIncomplete,
    RoleError,
    begin,
    common_address,
    exchange_keys,
)
from unit.services.wallets.exchange_rpc import FakeRpc, File

FILE = "shop.demo.00000000"
DEEDS = {role: Deed(role, FILE, f"{role}-password") for role in ROLES}


class Named(FakeRpc):
    """A process that says whose it is in each message, and notes which it was told."""

    def __init__(self, role: Role) -> None:
        super().__init__()
        self.role = role
        self.told: list[tuple[str, tuple[str, ...]]] = []

    async def prepare_multisig(self) -> str:
        await super().prepare_multisig()
        return f"{self.role} prepared"

    async def make_multisig(self, infos: Any, threshold: int, password: str) -> KeyExchange:
        assert (threshold, password) == (THRESHOLD, f"{self.role}-password")
        self.told.append(("make", tuple(infos)))
        await super().make_multisig(infos, threshold, password)
        return KeyExchange("placeholder", f"{self.role} made")

    async def exchange_multisig_keys(self, infos: Any, password: str) -> KeyExchange:
        self.told.append(("exchange", tuple(infos)))
        await super().exchange_multisig_keys(infos, password)
        return KeyExchange("", f"{self.role} exchanged {len(self.told)}")


def three() -> dict[Role, Named]:
    return {role: Named(role) for role in ROLES}


def as_wallets(processes: dict[Role, Named]) -> dict[Role, WalletRpc]:
    return cast("dict[Role, WalletRpc]", processes)


async def begun(processes: dict[Role, Named]) -> dict[Role, Begun]:
    return await begin(as_wallets(processes), DEEDS)


async def run(processes: dict[Role, Named]) -> str:
    assert set((await begun(processes)).values()) == {Begun.BLANK}
    return await exchange_keys(as_wallets(processes), DEEDS)


async def test_in_each_round_a_wallet_is_told_what_the_two_others_said_in_the_last() -> None:
    processes = three()
    assert await run(processes) == "4escrow"
    for role, process in processes.items():
        peers = [peer for peer in ROLES if peer is not role]
        assert process.told == [
            ("make", tuple(f"{peer} prepared" for peer in peers)),
            ("exchange", tuple(f"{peer} made" for peer in peers)),
            ("exchange", tuple(f"{peer} exchanged 2" for peer in peers)),
        ]
        assert process.open is None, "it is opened again, to prove it"


@pytest.mark.parametrize(
    "said", [MultisigInfo(True, False, 2, 3), MultisigInfo(True, True, 1, 3), MultisigInfo(True, True, 2, 2)]
)
async def test_one_wallet_that_is_no_2_of_3_is_enough_for_none(
    monkeypatch: pytest.MonkeyPatch, said: MultisigInfo
) -> None:
    """A 1-of-3 would let each of them take the money."""
    processes = three()

    async def is_multisig() -> MultisigInfo:
        return said

    monkeypatch.setattr(processes[Role.ARBITER], "is_multisig", is_multisig)
    with pytest.raises(ExchangeIncomplete):
        await run(processes)


async def test_three_wallets_of_different_addresses_are_no_escrow_and_stay_open() -> None:
    processes = three()
    assert await run(processes)
    for role, process in processes.items():
        process.open = process.disk[FILE]
        process.open.address = f"4{role}"
    assert await common_address(as_wallets(processes)) is None
    assert all(process.open for process in processes.values())


@pytest.mark.parametrize("role", ROLES)
async def test_an_error_says_whose_wallet_it_is(role: Role) -> None:
    processes = three()
    processes[role].faults["prepare_multisig"] = WalletTimeout("deadline")
    with pytest.raises(RoleError, match=f"{role} wallet: deadline") as caught:
        await run(processes)
    assert caught.value.role is role
    assert isinstance(caught.value.error, WalletTimeout)


async def test_a_file_that_is_there_is_what_is_in_it() -> None:
    processes = three()
    processes[Role.BUYER].disk[FILE] = File("buyer-password")
    processes[Role.VENDOR].disk[FILE] = File("vendor-password", state=ESCROW)
    processes[Role.ARBITER].disk[FILE] = File("arbiter-password", state=MultisigInfo(True, False, 2, 3))
    assert await begun(processes) == {
        Role.BUYER: Begun.BLANK,
        Role.VENDOR: Begun.COMPLETE,
        Role.ARBITER: Begun.USELESS,
    }


@pytest.mark.parametrize("error", [InvalidPassword("w"), WalletFileDamaged("d"), WalletFileNotFound("n")])
async def test_one_that_does_not_open_is_of_no_use(error: Any) -> None:
    processes = three()
    processes[Role.BUYER].disk[FILE] = File("buyer-password")
    processes[Role.BUYER].faults["open_wallet"] = error
    assert (await begun(processes))[Role.BUYER] is Begun.USELESS


async def test_one_that_cannot_be_told_is_an_error_and_not_of_no_use() -> None:
    """Another file would be made at each try."""
    processes = three()
    processes[Role.BUYER].disk[FILE] = File("buyer-password")
    processes[Role.BUYER].faults["open_wallet"] = WalletStorageError("full")
    with pytest.raises(RoleError):
        await begun(processes)


@pytest.mark.parametrize("used", ["money", "spent"])
async def test_a_wallet_that_anybody_ever_used_is_not_converted(monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    processes = three()
    processes[Role.BUYER].disk[FILE] = File("buyer-password", money=1 if used == "money" else 0)

    async def transfers(**which: bool) -> list[str]:
        assert which == {"incoming": True, "outgoing": True}
        return ["one"] if used == "spent" else []

    monkeypatch.setattr(processes[Role.BUYER], "transfers", transfers)
    assert (await begun(processes))[Role.BUYER] is Begun.USELESS


async def test_what_was_open_before_is_closed_first_or_nothing_is_begun() -> None:
    """To create a wallet replaces the open one, without a word and without storing it."""
    processes = three()
    processes[Role.VENDOR].open = File("of somebody")
    processes[Role.VENDOR].faults["close_wallet"] = WalletTimeout("hangs")
    with pytest.raises(RoleError, match="vendor wallet: hangs"):
        await begun(processes)
    assert processes[Role.VENDOR].disk == {}
    left = processes[Role.BUYER].open = File("of somebody")
    await begun(processes)
    assert processes[Role.BUYER].open is not left
    assert left == File("of somebody")
