"""Spaces the attempts of a session whose wallets do not open, and has its pod replaced past a deadline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from escrow_operator.core.backoff import LONGEST_TRY_SECONDS, OPENING_DEADLINE, OPENING_TIMED_OUT, Opening
from escrow_operator.models.session import Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import Blocked, NotOpened, SlotBroken


@dataclass(frozen=True, slots=True)
class _Tried:
    """The last attempt of a session: what it depended on, when the next one is due (monotonic), and its outcome."""

    mark: object
    due: float
    blocked: Blocked


class Backoff:
    """The number of attempts is in the status; when the next one is due is not, so that a new operator tries once."""

    def __init__(self, ctx: Context) -> None:
        self._clock, self._memory = ctx.clock, ctx.memory

    def must_be_due(self, session: Session, slots: Iterable[Slot]) -> None:
        """Raises the last attempt's Blocked until the next is due: at once after a touch, a new spec or a new pod."""
        tried = self._memory.find(session.uid, _Tried)
        if tried is None or tried.mark != _mark(session, slots):
            return
        left = tried.due - self._clock.monotonic()
        if left > 0:
            again = Blocked(tried.blocked.reason, tried.blocked.message, retry_after=left)
            again.fields = tried.blocked.fields
            raise again

    def failed(self, session: Session, slots: Iterable[Slot], error: NotOpened) -> Blocked:
        """The Blocked to raise after a failure to open, with its requeue delay.

        ``session`` is as it was before the attempt, ``slots`` are those it has now. Past the deadline it is SlotBroken,
        once, for the pod that did not open its wallet.
        """
        now = self._clock.now()
        opening = Opening.failed(session, now)
        blocked: Blocked
        if not opening.is_overdue(now):
            blocked = Blocked(error.reason, error.message, retry_after=opening.delay)
        elif error.slot is not None and not opening.replaced:
            opening = dataclasses.replace(opening, replaced=True)
            blocked = SlotBroken(
                error.slot, f"{error.message} It was tried for {_MINUTES} min.", reason=OPENING_TIMED_OUT
            )
        else:
            blocked = Blocked(
                OPENING_TIMED_OUT,
                f"{error.message} The wallets have not opened for {_MINUTES} min"
                + (", in another pod neither" if opening.replaced else "")
                + ". See the log of the pod and the events of its node and volume; it is tried again every"
                f" {LONGEST_TRY_SECONDS / 60:.0f} min, and at once after a touch.",
                retry_after=LONGEST_TRY_SECONDS,
            )
        blocked.fields = {"opening": opening.to_status()}
        due = self._clock.monotonic() + blocked.retry_after
        self._memory.put(session.uid, _Tried(_mark(session, slots), due, blocked))
        return blocked

    def forget(self, session: Session) -> None:
        """Forget the attempts of a session whose wallets are open."""
        self._memory.drop(session.uid, _Tried)


_MINUTES = f"{OPENING_DEADLINE.total_seconds() / 60:.0f}"


def _mark(session: Session, slots: Iterable[Slot]) -> object:
    """What an attempt depends on and an event may change."""
    wallets = frozenset((slot.incarnation, slot.usable) for slot in slots)
    return session.uid, session.generation, session.touch, wallets
