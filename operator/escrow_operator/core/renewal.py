"""Which pod of an open session is replaced after its pool was pointed at another monerod."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.slot import Slot


def slot_to_renew(held: Mapping[Role, Slot], daemon: str, *, offered: Collection[Role]) -> Slot | None:
    """The slot to replace now; the three wallets are open, so that two stay open meanwhile.

    ``daemon`` is the digest of the pool's present spec.daemon. ``offered`` are the roles for which a free slot that
    was started with it is there: nobody's wallet is closed to wait for a pod.
    """
    outdated = (held[role] for role in ROLES if role in held and not held[role].has_daemon(daemon))
    return next((slot for slot in outdated if slot.role in offered), None)


def is_outdated(held: Mapping[Role, Slot], daemon: str) -> bool:
    """Whether any slot of a session was started with another spec.daemon than the present one."""
    return any(not slot.has_daemon(daemon) for slot in held.values())
