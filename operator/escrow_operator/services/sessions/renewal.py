"""Applies a changed spec.daemon to open sessions, by replacing their pods one after the other.

wallet-rpc's own ``set_daemon`` is not used: after a start without a daemon it breaks multisig (monero#10246).
"""

from __future__ import annotations

from dataclasses import dataclass

from escrow_operator.core.renewal import is_outdated, slot_to_renew
from escrow_operator.core.report import READY, are_told_open
from escrow_operator.core.settlement import is_followed
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import OPEN_PHASES, Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import SlotBroken
from escrow_operator.services.slots.claims import SlotClaims, Slots


@dataclass(frozen=True)
class _Renewed:
    """A slot that was given up for a free one which its session has not claimed yet."""

    slot: Slot
    session: SessionKey
    session_uid: str


class Renewal:
    """Remembers only which free slots are promised to sessions: else many sessions would count on the same slot."""

    def __init__(self, ctx: Context, claims: SlotClaims) -> None:
        self._store = ctx.store
        self._claims = claims
        self._renewed: dict[str, _Renewed] = {}

    def is_due(self, slots: Slots, pool: Pool) -> bool:
        """Whether one of a session's slots has an outdated spec.daemon."""
        return is_outdated(slots, pool.spec.daemon.digest)

    def must_be_current(self, session: Session, slots: Slots, pool: Pool) -> None:
        """Raises SlotBroken for the next slot to be replaced of a session whose three wallets are open.

        Not before the status reports the wallets as open in exactly these pods: between two replacements clients have
        all three, and a reconciliation has read them. While a payout is followed and the session is Ready no slot is
        replaced: a session that ends soon needs no new pods.
        """
        self._renewed.pop(session.uid, None)
        if not self.is_due(slots, pool):
            self._claims.stop_waiting(session.key, pool.key)
            return
        if not are_told_open(session, slots):
            return
        if is_followed(session) and _is_ready(session):
            return
        slot = slot_to_renew(slots, pool.spec.daemon.digest, offered=self._offered(pool))
        if slot is not None:
            self._give_up(session, slot)
        if pool.spec.warm_slots == 0 and not self._claims.waiting(pool.key):
            # A pool without warm slots starts slots for waiting sessions, and one waiting session is enough.
            self._claims.wait(session, pool)

    def must_not_be_hopeless(self, session: Session, slot: Slot | None, pool: Pool) -> None:
        """Raises SlotBroken for a replaceable slot of an outdated spec.daemon that did not open its wallet."""
        outdated = slot is not None and not slot.has_daemon(pool.spec.daemon.digest)
        if slot is not None and outdated and slot.role in self._offered(pool):
            self._give_up(session, slot)

    def _give_up(self, session: Session, slot: Slot) -> None:
        self._renewed[session.uid] = _Renewed(slot, session.key, session.uid)
        raise SlotBroken(
            slot,
            f"The WalletPool's spec.daemon was changed after pod {slot.name} of the {slot.role} wallet was started."
            " A signing round that is under way in it has to be started again.",
            reason="DaemonChanged",
        )

    def _offered(self, pool: Pool) -> set[Role]:
        """The roles with more free slots of the present spec.daemon than are promised to sessions."""
        digest = pool.spec.daemon.digest
        left = dict.fromkeys(ROLES, 0)
        for slot in self._store.free_slots(pool.key):
            left[slot.role] += slot.has_daemon(digest)
        for uid, renewed in list(self._renewed.items()):
            if self._is_over(renewed):
                del self._renewed[uid]
            elif renewed.slot.pool == pool.key:
                left[renewed.slot.role] -= 1
        return {role for role, number in left.items() if number > 0}

    def _is_over(self, renewed: _Renewed) -> bool:
        """Whether the session has its new slot, or no longer wants one."""
        session = self._store.session_by_uid(renewed.session.namespace, renewed.session.name, renewed.session_uid)
        if session is None or session.deleting or session.phase not in OPEN_PHASES:
            return True
        return any(
            slot.role is renewed.slot.role and slot.uid != renewed.slot.uid and not slot.terminating
            for slot in self._store.slots_of_session(session.key.namespace, renewed.session_uid)
        )


def _is_ready(session: Session) -> bool:
    return (session.condition(READY) or {}).get("status") == "True"
