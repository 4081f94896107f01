"""Checks that the wallet files that a session names exist, before another session is evicted for it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from escrow_operator.errors import (
    InvalidPassword,
    InvalidWalletFileName,
    WalletError,
    WalletFileLocked,
    WalletFileNotFound,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.gather import gather_all
from escrow_operator.services.runtime.outcomes import RETRY_SECONDS, Blocked, Failed, SlotBroken
from escrow_operator.services.wallets.clients import WalletClients


@dataclass(frozen=True, slots=True)
class _Proven:
    """The files of a session that were found to exist."""

    files: tuple[str, ...]


class WalletFileProber:
    """Lets free slots try to open the files with a random password.

    wallet-rpc looks for the file first: it answers "file not found" or "invalid password", and has no wallet open in
    either case (measured with 0.18.5.3). So the slots stay free, and no place under the cap is needed.
    """

    def __init__(self, ctx: Context, wallets: WalletClients) -> None:
        self._store, self._memory = ctx.store, ctx.memory
        self._wallets = wallets

    async def must_exist(self, session: Session, pool: Pool, files: Mapping[Role, str]) -> None:
        """Check the files, once per session. Raises Failed (WalletFileNotFound), or Blocked if the check fails."""
        named = tuple(files.get(role, "") for role in ROLES)
        if "" in named or self._memory.find(session.uid, _Proven) == _Proven(named):
            # The wallets of a session without deeds are yet to be made.
            return
        slots = {slot.role: slot for slot in self._store.free_slots(pool.key)}
        if set(slots) != set(ROLES):
            # Without free slots no session is evicted either.
            return
        self._store.reserve(slots.values())
        try:
            await gather_all(self._must_exist(slots[role], files[role]) for role in ROLES)
        finally:
            self._store.unreserve(slots.values())
        self._memory.put(session.uid, _Proven(named))

    async def _must_exist(self, slot: Slot, file: str) -> None:
        wallet = await self._wallets.client(slot)
        try:
            await wallet.open_wallet(file, secrets.token_urlsafe(32))
        except (InvalidPassword, WalletFileLocked):
            return
        except (WalletFileNotFound, InvalidWalletFileName):
            raise Failed(
                "WalletFileNotFound",
                f"The {slot.role} wallet {file} is not in the storage of pool {slot.pool.name} for {slot.role} wallets."
                " Correct the file name in a new session, or restore the file.",
                again=True,
            ) from None
        except WalletError as error:
            raise Blocked(
                "WalletError",
                f"Whether the {slot.role} wallet {file} exists could not be found out: {error}. It is tried again.",
                retry_after=RETRY_SECONDS,
            ) from None
        # The pod, whose image the pool names, does not run monero-wallet-rpc and must not get a wallet.
        raise SlotBroken(
            slot,
            f"Pod {slot.name} opened the {slot.role} wallet {file} with a password that nobody has: it is no"
            " monero-wallet-rpc. See spec.image of the WalletPool.",
            reason="WalletError",
        )
