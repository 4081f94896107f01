"""Opens a session's wallets and verifies that they are the right ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import (
    InvalidPassword,
    InvalidWalletFileName,
    NoWalletOpen,
    WalletError,
    WalletFileDamaged,
    WalletFileLocked,
    WalletFileNotFound,
    WalletStorageError,
    WalletTimeout,
    WalletUnauthorized,
    WalletUnreachable,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.deed import Deed, versions_of
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import Failed, NotOpened, SlotBroken
from escrow_operator.services.wallets.clients import WalletClients
from escrow_operator.services.wallets.key_exchange import ESCROW


@dataclass(frozen=True, slots=True)
class _Opened:
    """Which file was opened in which process, and the address of the wallet."""

    incarnation: str
    file: str
    address: str


class WalletOpener:
    """Opens wallets. It remembers which wallet it opened in which process, so that confirming one needs no request."""

    def __init__(self, ctx: Context, wallets: WalletClients) -> None:
        self._wallets = wallets
        self._memory = ctx.memory

    def is_open(self, slot: Slot, file: str) -> bool:
        """Whether this operator opened the file in the slot's present process (a restarted container is another)."""
        return self._known(slot, file) is not None

    def forget(self, slot: Slot) -> None:
        """Drop what is remembered of a slot, since its wallet was closed or may be another."""
        self._memory.drop(slot.uid, _Opened)

    def _known(self, slot: Slot, file: str) -> _Opened | None:
        opened = self._memory.find(slot.uid, _Opened)
        return opened if opened and (opened.incarnation, opened.file) == (slot.incarnation, file) else None

    async def confirm(self, slots: Mapping[Role, Slot], address: str) -> bool:
        """Whether wallets with ``address`` are open in all slots, as a previous operator process may have left them."""
        return all(await gather_all(self._confirm(slot, address) for slot in slots.values()))

    async def _confirm(self, slot: Slot, address: str) -> bool:
        if slot.wallet_file is None or not slot.usable:
            return False
        try:
            current = await (await self._wallets.client(slot)).address()
        except WalletError:
            return False
        if current == address:
            self._memory.put(slot.uid, _Opened(slot.incarnation, slot.wallet_file, address))
        return current == address

    async def open_all(self, slots: Mapping[Role, Slot], deeds: Mapping[Role, Deed], expected: str | None) -> str:
        """Open the three wallets in parallel; returns the address that all three have.

        ``expected`` is the address that they must have, None if only their agreement can be checked. Raises Failed for
        errors that only a user can mend (wrong password, file, address), SlotBroken, and NotOpened for temporary ones.
        """
        try:
            addresses = await gather_all(self._open(slots[role], deeds[role], expected) for role in ROLES)
            if len(set(addresses)) != 1:
                _mismatch(
                    "The three wallets belong to different addresses: "
                    + ", ".join(f"{role} {address[:12]}…" for role, address in zip(ROLES, addresses, strict=True)),
                )
        except Failed as failure:
            failure.secrets = versions_of(deeds)
            raise
        return addresses[0]

    async def _open(self, slot: Slot, deed: Deed, expected: str | None) -> str:
        known = self._known(slot, deed.file)
        if known is not None:
            return known.address
        if not slot.usable:
            raise not_ready(slot)
        try:
            wallet = await self._wallets.client(slot)
            address = await self._open_file(wallet, deed, expected)
            state = await wallet.is_multisig()
        except WalletError as error:
            _explain(slot, deed, error)
        if state != ESCROW:
            raise Failed(
                "NotMultisig",
                f"The {slot.role} wallet {deed.file} is not one of a complete 2-of-3 multisig"
                f" ({state.threshold} of {state.total}, ready: {state.ready}). Name the right file in spec.wallets.",
                again=True,
            )
        if expected is not None and address != expected:
            _mismatch(
                f"The {slot.role} wallet {deed.file} has the address {address[:12]}…, expected {expected[:12]}….",
            )
        self._memory.put(slot.uid, _Opened(slot.incarnation, deed.file, address))
        return address

    async def _open_file(self, wallet: WalletRpc, deed: Deed, expected: str | None) -> str:
        """Open the deed's file unless the wallet that is open already has the expected address."""
        try:
            current = await wallet.address()
            if expected is not None and current == expected:
                return current
            # Another wallet is open, or one of unknown origin (an operator died in between). It is closed first, since
            # opening a file twice in one process would drop its lock.
            await wallet.close_wallet()
        except NoWalletOpen:
            pass
        await wallet.open_wallet(deed.file, deed.password)
        return await wallet.address()


def not_ready(slot: Slot) -> NotOpened:
    """The error for a session one of whose pods cannot be called."""
    where = f" (node {slot.node})" if slot.node else ""
    return NotOpened(
        "SlotNotReady",
        f"Pod {slot.name} of the {slot.role} wallet is not ready{where}. The session goes on when it is; a pod whose"
        " node is gone for good can be force-deleted.",
        slot=slot,
    )


def _mismatch(message: str) -> NoReturn:
    raise Failed(
        "AddressMismatch", f"{message} Name the wallets that belong together; nothing was changed in them.", again=True
    )


def _explain(slot: Slot, deed: Deed, error: WalletError) -> NoReturn:
    """Raise Failed, NotOpened or SlotBroken for an error of opening a wallet, with what the user should do."""
    wallet = f"The {slot.role} wallet {deed.file}"
    match error:
        case InvalidPassword():
            raise Failed(
                "WrongPassword",
                f"{wallet} does not open with the password in its Secret. Correct the Secret; it is not tried again"
                " before that changes.",
                again=False,
            )
        case WalletFileNotFound() | InvalidWalletFileName():
            raise Failed(
                "WalletFileNotFound",
                f"{wallet} is not in the storage of pool {slot.pool.name} for {slot.role} wallets. Correct the file"
                " name in a new session, or restore the file.",
                again=isinstance(error, WalletFileNotFound),
            )
        case WalletFileDamaged():
            raise Failed(
                "WalletFileDamaged",
                f"{wallet} cannot be read. Restore it from a backup; a damaged cache alone (the file without .keys)"
                " can be moved away, the wallet rebuilds it.",
                again=True,
            )
        case WalletStorageError():
            raise storage_error(slot, wallet)
        case WalletFileLocked():
            raise NotOpened(
                "WalletInUse",
                f"{wallet} is open in another program, or its file or volume may not be written. It is tried again.",
            )
        case WalletTimeout():
            raise NotOpened("WalletBusy", f"{wallet} is still being opened in pod {slot.name}.", slot=slot)
        case WalletUnreachable():
            raise NotOpened(
                "WalletUnreachable", f"Pod {slot.name} of the {slot.role} wallet does not answer.", slot=slot
            )
        case WalletUnauthorized():
            raise SlotBroken(slot, f"Pod {slot.name} of the {slot.role} wallet refuses its login.")
        case _:
            raise NotOpened("WalletError", f"{wallet}: {error}. It is tried again.", slot=slot)


def storage_error(slot: Slot, wallet: str) -> NotOpened:
    """The error for a volume that fails, which does not mean that the wallet is lost."""
    return NotOpened(
        "StorageError",
        f"{wallet}: its volume cannot be read or written in pod {slot.name} (full, read-only, or failing). See the"
        f" volume claim of pool {slot.pool.name} for {slot.role} wallets; nothing is lost by trying again.",
        slot=slot,
    )
