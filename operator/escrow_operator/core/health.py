"""The conditions that describe a session as a whole, for people and for machines.

- ``WalletsOpen`` is what clients wait for: whether the three wallets can be used now.
- ``Ready``: whether the session is as its spec, ttl and maxAge want it. A session that is over, or closed until it is
  used again, is Ready with its wallets closed, as a service that was scaled to zero is.
- ``Reconciling`` and ``Stalled`` are present only while they are True: the operator works on the session; it can do
  nothing more before a user mends something.

kstatus (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus), and with it Flux and others, read any
object by these rules.
"""

from __future__ import annotations

from escrow_operator.core.conditions import RECONCILING, STALLED, Condition
from escrow_operator.core.daemon import DAEMON_SYNCED
from escrow_operator.core.funding import FUNDED
from escrow_operator.core.report import READY, WALLETS_OPEN
from escrow_operator.core.settlement import SETTLED
from escrow_operator.models.session import CLOSED_PHASES, OPEN_PHASES, Phase, Session

NOT_WATCHED = "NotWatched"
"""The reason of conditions that are not watched while the wallets are closed."""

CLOSING = "Closing"
"""The reason of a session that waits for its pods to end."""
CLOSING_TEXT = "Waiting for a pod to store its wallet and end."

SUSPENDED_BY_SPEC = "SuspendedBySpec"
"""The reason of a session that is closed because spec.suspend is true: only a change of the spec opens it again."""
SUSPENDED_BY_SPEC_TEXT = (
    "spec.suspend is true. The wallets were closed; their files and Secrets are kept. Set it to false to open them"
    " again: a touch does not."
)
SUSPENDING_TEXT = f"spec.suspend is true. {CLOSING_TEXT}"

AT_REST = CLOSED_PHASES - {Phase.EVICTED}
"""Phases of a session that is to stay closed until it is used again. An evicted session is about to be deleted."""


def health(phase: Phase, reason: str, message: str, *, wallets_open: bool | None = False) -> tuple[Condition, ...]:
    """The conditions of a session that is in ``phase`` for ``reason``.

    ``wallets_open`` None: open, but their balance is not known at the moment (monerod is away, or ahead of them).
    """
    ready = phase in AT_REST or wallets_open is True
    conditions = [Condition(READY, ready, reason, message)]
    if wallets_open is False:
        conditions.append(Condition(WALLETS_OPEN, False, reason, message))
    else:
        conditions.append(Condition(WALLETS_OPEN, True, "Open", "All three wallets are open and have the address."))
    if phase is Phase.FAILED:
        conditions.append(Condition(STALLED, True, reason, message))
    elif not ready:
        conditions.append(Condition(RECONCILING, True, reason, message))
    return tuple(conditions)


def suspended_by_spec(*, is_closed: bool) -> tuple[Condition, ...]:
    """The conditions of a session whose spec.suspend is true: its pods have ended, or not yet."""
    if is_closed:
        return health(Phase.SUSPENDED, SUSPENDED_BY_SPEC, SUSPENDED_BY_SPEC_TEXT)
    # WalletsOpen says why from the beginning: by that this is told from other ends.
    why = Condition(WALLETS_OPEN, False, SUSPENDED_BY_SPEC, SUSPENDING_TEXT)
    return tuple(why if one.type == WALLETS_OPEN else one for one in health(Phase.PENDING, CLOSING, SUSPENDING_TEXT))


def is_suspended_by_spec(session: Session) -> bool:
    """Whether the status says that the session is closed, or being closed, because of spec.suspend."""
    opened = session.condition(WALLETS_OPEN) or {}
    return session.phase is Phase.SUSPENDED and opened.get("reason") == SUSPENDED_BY_SPEC


def is_kept_from_ready(session: Session) -> bool:
    """Whether the operator works on a session that is not Ready, as its status has it. Not one that has Failed."""
    if session.phase is Phase.FAILED:
        return False
    return (session.condition(READY) or {}).get("status") != "True"


def unwatched(session: Session, *, paid_out: bool = False) -> tuple[Condition, ...]:
    """The conditions about money and monerod as Unknown, for a session whose wallets are closed.

    A final payout stays final without being watched; so Funded stays as it is if the escrow was ``paid_out``.
    """
    fresh = []
    if session.condition(DAEMON_SYNCED):
        fresh.append(Condition(DAEMON_SYNCED, None, NOT_WATCHED, "monerod is not asked while the wallets are closed."))
    funded = session.condition(FUNDED)
    if funded and not paid_out:
        fresh.append(unknown_funding(funded, NOT_WATCHED, "Not known while the wallets are closed."))
    settled = session.condition(SETTLED)
    if settled and settled["status"] == "False":
        fresh.append(Condition(SETTLED, None, NOT_WATCHED, "Not followed while the wallets are closed."))
    return tuple(fresh)


def unknown_funding(last: dict[str, str], reason: str, message: str) -> Condition:
    """Funded as Unknown, with its last known status and message in the message."""
    if last["status"] != "Unknown":
        message = f"{message} Last seen: {last['status']}, {last['message']}"
    elif "Last seen: " in last["message"]:
        message = f"{message} Last seen: {last['message'].split('Last seen: ', 1)[1]}"
    return Condition(FUNDED, None, reason, message)


def is_open(session: Session) -> bool:
    """Whether the status reports that clients can use the wallets."""
    condition = session.condition(WALLETS_OPEN)
    return session.phase in OPEN_PHASES and condition is not None and condition["status"] == "True"
