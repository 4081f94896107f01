"""The mark that the wallets of a prepared escrow carry in their own files once a session has them.

The API server's word for who has an escrow is lost when it is restored from a backup; the wallets' volumes are not
restored with it. A wallet that carries a mark, or that the chain knows, is never given to another session.
"""

from __future__ import annotations

from collections.abc import Mapping

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.common import Label, Role, printable
from escrow_operator.models.session import Session
from escrow_operator.services.runtime.gather import gather_all

LONGEST_MARK = 300
"""Characters of a mark that are reported; a client of the wallet may have written another."""

PAID = "there are payments to them"

Wallets = Mapping[Role, WalletRpc]


def mark_of(session: Session) -> str:
    """What the wallets of a session are marked with."""
    return f"{session.key.namespace}/{session.key.name}/{session.uid}"


async def former_use(wallets: Wallets, *, allowed: str | None = None) -> str | None:
    """What the wallets were used for before, as a text for people; None if nothing tells of a use.

    ``allowed`` is a mark that does not count. Raises WalletError.
    """
    mark = await foreign_mark(wallets, allowed=allowed)
    return mark or (PAID if await has_payments(wallets) else None)


async def foreign_mark(wallets: Wallets, *, allowed: str | None = None) -> str | None:
    """What a mark in one of the wallets says, as a text for people; None without any but ``allowed``."""
    marks = await gather_all(wallet.attribute(Label.CLAIMED_BY) for wallet in wallets.values())
    found = next((mark for mark in marks if mark is not None and mark != allowed), None)
    return None if found is None else f"session {printable(found, LONGEST_MARK)} has them"


async def has_payments(wallets: Wallets) -> bool:
    """Whether any of the wallets knows of a transaction, as of monerod's present block.

    Raises WalletError, WalletDaemonUnavailable if that block is not known.
    """
    return any(await gather_all(_has_payments(wallet) for wallet in wallets.values()))


async def _has_payments(wallet: WalletRpc) -> bool:
    await wallet.refresh()
    return bool(await wallet.transfers(incoming=True, outgoing=True, pool=True))


async def put_marks(wallets: Wallets, session: Session) -> None:
    """Mark the wallets as the session's, in their files. Raises WalletError."""
    await gather_all(_put_mark(wallet, mark_of(session)) for wallet in wallets.values())


async def _put_mark(wallet: WalletRpc, mark: str) -> None:
    await wallet.set_attribute(Label.CLAIMED_BY, mark)
    await wallet.store()
