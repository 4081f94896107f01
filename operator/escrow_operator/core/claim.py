"""Which slots a session claims: all that it lacks, or none (invariant I2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.slot import Slot


@dataclass(frozen=True)
class ClaimPlan:
    """The slots to ``take``, one per wanted role in claim order; or none, and the ``lacking`` roles."""

    take: tuple[Slot, ...]
    lacking: tuple[Role, ...]


def plan_claim(
    free: Iterable[Slot],
    wanted: Collection[Role],
    *,
    daemon: str,
    ahead: int = 0,
    used_nodes: Collection[str] = (),
) -> ClaimPlan:
    """Choose one claimable slot per wanted role.

    ``daemon`` is the digest of the pool's spec.daemon: slots that were started with another one are being replaced.
    ``ahead`` sessions have waited for longer: as many slots of each role are left to them. Slots on nodes that the
    session does not use yet are preferred, so that the loss of a node costs one wallet; among equals the oldest, which
    has run longest and is the same on every call.
    """
    by_role: dict[Role, list[Slot]] = {role: [] for role in wanted}
    for slot in free:
        if slot.role in by_role and slot.claimable and slot.has_daemon(daemon):
            by_role[slot.role].append(slot)
    lacking = tuple(role for role in ROLES if role in by_role and len(by_role[role]) <= ahead)
    if lacking:
        return ClaimPlan((), lacking)
    nodes = set(used_nodes)
    take = []
    for role in (role for role in ROLES if role in by_role):
        slot = min(by_role[role], key=lambda s: (s.node in nodes, s.created_at, s.name))
        nodes.add(slot.node or "")
        take.append(slot)
    return ClaimPlan(tuple(take), ())


def wallet_holders(slots: Iterable[Slot], wanted: Mapping[Role, str], session_uid: str) -> dict[Role, Slot]:
    """The slots that may still have a wallet file open that the session is about to open, by role (invariant I1).

    ``slots`` are all pods of the pool, terminating ones included: a pod stops being a holder only when it is gone, or
    when its containers have ended. Slots of other sessions count, and terminating ones of this session.
    """
    holders = {}
    for slot in slots:
        file = wanted.get(slot.role)
        if file is None or slot.wallet_file != file or slot.finished:
            continue
        if slot.session_uid == session_uid and not slot.terminating:
            continue
        holders[slot.role] = slot
    return holders
