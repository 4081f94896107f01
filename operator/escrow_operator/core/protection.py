"""How money restricts closing a session: when it must stay open, and when its object must not be deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from escrow_operator.core.funding import FUNDED
from escrow_operator.core.settlement import is_followed
from escrow_operator.models.session import FundingState, Session

KEY_IMAGES_NEEDED = "KeyImagesNeeded"
"""The reason of Funded while the wallets exchange key images, for which all three must be open."""

_UNDER_WAY = frozenset({FundingState.MEMPOOL, FundingState.CONFIRMING})


def is_protected(session: Session) -> bool:
    """Whether a session neither expires nor is evicted, because money is on its way in or out.

    That is a payment in the mempool or short of its confirmations, an exchange of key images, or a payout that is
    followed. Judged by the status, which is at most one reconciliation old.
    """
    return is_followed(session) or has_payment_under_way(session)


def has_payment_under_way(session: Session) -> bool:
    """Whether a payment into the escrow awaits its confirmations or an exchange of key images."""
    funding = session.status.get("funding") or {}
    if funding.get("state") in _UNDER_WAY or funding.get("pending", "0") != "0":
        return True
    funded = session.condition(FUNDED)
    return funded is not None and funded["reason"] == KEY_IMAGES_NEEDED


def may_hold_money(session: Session) -> bool:
    """Whether the escrow holds or awaits money, lost some, or was never read: such a session is never deleted.

    At the cap, sessions without money are evicted first.
    """
    funding, balance = session.status.get("funding"), session.status.get("balance")
    if funding is None or has_payment_under_way(session):
        return True
    if session.status.get("moneyMovedAt"):
        # It holds none any more, and is what somebody has to look into.
        return True
    if balance is None:
        return bool(funding.get("received", "0") != "0")
    return bool(balance.get("total", "0") != "0")


def has_new_payment(session: Session, seen: Mapping[str, Any]) -> bool:
    """Whether the funding now ``seen`` has a new payment, or one that reached its confirmations: use of the session."""
    noted = session.status.get("funding")
    if noted is None:
        return False
    return bool((noted.get("received"), noted.get("state")) != (seen.get("received"), seen.get("state")))
