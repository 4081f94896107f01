"""Which pod of an open session is replaced after a change of its pool's spec.daemon."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.slot import Slot


def slot_to_renew(held: Mapping[Role, Slot], daemon: str, *, offered: Collection[Role]) -> Slot | None:
    """The slot to replace now, or None. All three wallets are open, so two stay open meanwhile.

    ``daemon`` is the digest of the pool's present spec.daemon. ``offered`` are the roles that have a free slot started
    with it: no wallet is closed before the pod that replaces its own is ready.
    """
    outdated = (held[role] for role in ROLES if role in held and not held[role].has_daemon(daemon))
    return next((slot for slot in outdated if slot.role in offered), None)


def is_outdated(held: Mapping[Role, Slot], daemon: str) -> bool:
    """Whether any slot of a session was started with another spec.daemon than the present one."""
    return any(not slot.has_daemon(daemon) for slot in held.values())
