"""Exceptions that end a reconciliation, with a reason and a message for the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from escrow_operator.core.poolstatus import Problem
from escrow_operator.errors import EscrowError
from escrow_operator.models.slot import Slot


class Blocked(EscrowError):
    """Ends a reconciliation with Ready=False.

    ``reason`` is the condition's CamelCase reason, ``message`` says what the user can do, ``retry_after`` is the
    requeue delay in seconds; events that may help (a free slot, a changed spec) requeue the session sooner.
    ``keeps_place`` is True for a session that waits for a place under the cap, or has one and waits for slots: all
    others leave the waiting list, since no session is to be evicted for one that could not use the place. ``fields``
    are status fields to write with the condition.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float, keeps_place: bool = False) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.keeps_place = keeps_place
        self.fields: Mapping[str, Any] = {}


class Failed(Blocked):
    """An error that an immediate retry cannot fix: the session gives its slots back until its spec or a Secret changes.

    With ``again`` it is still retried slowly, as a file may be restored; never after a wrong password. ``secrets`` are
    the versions of the Secrets that were tried, where they are known: a Secret corrected meanwhile has another version.
    """

    def __init__(self, reason: str, message: str, *, again: bool) -> None:
        super().__init__(reason, message, retry_after=RECHECK_SECONDS)
        self.again = again
        self.secrets: str | None = None


class NotOpened(Blocked):
    """A wallet could not be opened or created now. ``slot`` is the pod it was tried in, if another pod may succeed."""

    def __init__(self, reason: str, message: str, *, slot: Slot | None = None) -> None:
        super().__init__(reason, message, retry_after=RETRY_SECONDS)
        self.slot = slot


class CutOff(Blocked):
    """A wallet cannot reach a monerod that answers the operator."""

    def __init__(self, message: str) -> None:
        super().__init__("DaemonUnreachable", message, retry_after=RETRY_SECONDS)


class SlotBroken(Blocked):
    """A pod that cannot be used: it is deleted (SIGTERM stores its wallet) and replaced by another slot."""

    def __init__(self, slot: Slot, message: str, *, reason: str = "SlotUnauthorized") -> None:
        super().__init__(reason, f"{message} It is replaced.", retry_after=RETRY_SECONDS)
        self.slot = slot


class NotOurs(EscrowError):
    """An object that a pool needs exists and is not the pool's own. ``problem`` says which, and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def no_pool(name: str, namespace: str, *, deleting: bool) -> Blocked:
    """The error of a session whose pool does not exist, or is being deleted and takes no more sessions."""
    if deleting:
        return Blocked(
            "PoolNotFound",
            f"WalletPool {name} in namespace {namespace} is being deleted and takes no more sessions. Create it again"
            " when it is gone, or delete this session and name another pool.",
            retry_after=RECHECK_SECONDS,
        )
    return Blocked(
        "PoolNotFound",
        f"There is no WalletPool {name} in namespace {namespace}. Create it, or delete this session and name another"
        " pool.",
        retry_after=RECHECK_SECONDS,
    )


RETRY_SECONDS = 5.0
"""Requeue delay in seconds for what usually passes by itself: a busy wallet, a pod that starts."""

RECHECK_SECONDS = 30.0
"""Requeue delay in seconds for what a person has to correct."""

STILL_OPEN = frozenset({"DaemonUnreachable", "DaemonSyncing", "WalletSyncing", "WrongNetwork", "PoolNotFound"})
"""Reasons for not being Ready with which the wallets may still be open."""

WAITING = STILL_OPEN | {"AtCapacity", "Contention", "PoolEmpty"}
"""Reasons with which a session stays on the waiting lists. With any other it could not use slots: none are kept or
started for it, and no session waits behind it."""
