"""What a wallet that does not open means for its session."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from escrow_operator.errors import (
    InvalidPassword,
    InvalidWalletFileName,
    NoWalletOpen,
    WalletError,
    WalletFileDamaged,
    WalletFileLocked,
    WalletFileNotFound,
    WalletRpcError,
    WalletStorageError,
    WalletTimeout,
    WalletUnauthorized,
    WalletUnreachable,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.monero import MultisigInfo
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Blocked, Failed, NotOpened, SlotBroken
from escrow_operator.services.wallets.key_exchange import ESCROW
from escrow_operator.services.wallets.opener import WalletOpener
from unit.factories import slot
from unit.world.context import make_context

ADDRESS = "4escrow"


class FakeRpc:
    """A process that fails to open as a test says, and counts what it opened."""

    def __init__(self) -> None:
        self.error: WalletError | None = None
        self.opened = 0

    async def address(self) -> str:
        if not self.opened:
            raise NoWalletOpen("none")
        return ADDRESS

    async def open_wallet(self, *_: str) -> None:
        if self.error:
            raise self.error
        self.opened += 1

    async def close_wallet(self) -> None:
        self.opened = 0

    async def is_multisig(self) -> MultisigInfo:
        return ESCROW


class Bench:
    def __init__(self) -> None:
        self.rpc = {role: FakeRpc() for role in ROLES}
        self.deeds = {role: Deed(role, "file", "secret-password", version=f"{role}-1") for role in ROLES}
        self.slots = {role: slot(role.value, role, wallet_file="file") for role in ROLES}
        self.opener = WalletOpener(make_context(), cast("Any", self))

    async def client(self, slot: Slot) -> FakeRpc:
        return self.rpc[slot.role]

    async def open(self) -> str:
        return await self.opener.open_all(self.slots, self.deeds, ADDRESS)


async def said(error: WalletError) -> Blocked:
    bench = Bench()
    bench.rpc[Role.VENDOR].error = error
    with pytest.raises(Blocked) as caught:
        await bench.open()
    assert "secret-password" not in caught.value.message
    assert "vendor" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason", "again"),
    [
        (InvalidPassword("no"), "WrongPassword", False),
        (InvalidWalletFileName("no"), "WalletFileNotFound", False),
        (WalletFileNotFound("no"), "WalletFileNotFound", True),
        (WalletFileDamaged("no"), "WalletFileDamaged", True),
    ],
)
async def test_what_a_person_has_to_mend_gives_the_slots_back(error: WalletError, reason: str, again: bool) -> None:
    found = await said(error)
    assert isinstance(found, Failed)
    assert (found.reason, found.again) == (reason, again)
    # As they were read: a Secret that is mended while wallets are being opened is noticed.
    assert found.secrets == "buyer-1/vendor-1/arbiter-1"


@pytest.mark.parametrize(
    ("error", "reason", "blamed"),
    [
        (WalletStorageError("full"), "StorageError", True),
        (WalletTimeout("late"), "WalletBusy", True),
        (WalletUnreachable("refused"), "WalletUnreachable", True),
        (WalletRpcError("strange"), "WalletError", True),
        (WalletFileLocked("locked"), "WalletInUse", False),
    ],
)
async def test_what_passes_is_tried_again_and_says_which_pod_it_was(
    error: WalletError, reason: str, blamed: bool
) -> None:
    found = await said(error)
    assert isinstance(found, NotOpened)
    assert found.reason == reason
    assert (found.slot is not None and found.slot.role is Role.VENDOR) is blamed


async def test_a_lock_that_is_none_is_told_as_well() -> None:
    """Of a wallet that it may not write wallet-rpc says that another program has it open: on a read-only volume."""
    assert "may not be written" in (await said(WalletFileLocked("locked"))).message


async def test_a_pod_that_refuses_its_login_is_replaced() -> None:
    assert isinstance(await said(WalletUnauthorized("401")), SlotBroken)


async def test_a_pod_that_came_back_elsewhere_has_no_wallet_open_until_it_was_opened_there() -> None:
    bench = Bench()
    await bench.open()
    before = bench.slots[Role.BUYER]
    moved = dataclasses.replace(before, ip="10.0.0.9", process="another")
    assert bench.opener.is_open(before, "file")
    assert not bench.opener.is_open(moved, "file")
    bench.slots[Role.BUYER], bench.rpc[Role.BUYER].opened = moved, 0
    await bench.open()
    assert [rpc.opened for rpc in bench.rpc.values()] == [1, 1, 1]
    assert bench.opener.is_open(moved, "file")


@pytest.mark.parametrize("change", [{"ready": False}, {"ip": None}, {"terminating": True}])
async def test_a_pod_that_cannot_be_called_is_not_called(change: dict[str, Any]) -> None:
    bench = Bench()
    bench.slots[Role.VENDOR] = dataclasses.replace(bench.slots[Role.VENDOR], **change)
    with pytest.raises(NotOpened, match="SlotNotReady"):
        await bench.open()
    assert bench.rpc[Role.VENDOR].opened == 0
