"""Why a session cannot go on, in words for its user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from escrow_operator.core.poolstatus import Problem
from escrow_operator.errors import EscrowError
from escrow_operator.models.slot import Slot


class Blocked(EscrowError):
    """Ends a reconciliation with Ready=False.

    ``reason`` is the condition's CamelCase reason, ``message`` says what the user can do, ``retry_after`` is in
    seconds; events that change the matter (a free slot, a changed spec) come sooner. ``keeps_place`` of a session that
    waits for its place at the cap, or for the slots it has a place for: all others leave the line, since nobody is to
    give way to a session that could not use the place. ``fields`` are fields of the status to write with it.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float, keeps_place: bool = False) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.keeps_place = keeps_place
        self.fields: Mapping[str, Any] = {}


class Failed(Blocked):
    """What trying again at once cannot mend: the session gives its slots back until its spec or a Secret changes.

    With ``again`` it is tried slowly all the same: somebody may restore a file. Never so after a wrong password.
    ``secrets`` are the versions of the Secrets that were tried, where they are known: one that was mended meanwhile is
    another.
    """

    def __init__(self, reason: str, message: str, *, again: bool) -> None:
        super().__init__(reason, message, retry_after=RECHECK_SECONDS)
        self.again = again
        self.secrets: str | None = None


class NotOpened(Blocked):
    """A wallet could not be opened or made now. ``slot`` is the pod it was tried in, where another may do better."""

    def __init__(self, reason: str, message: str, *, slot: Slot | None = None) -> None:
        super().__init__(reason, message, retry_after=RETRY_SECONDS)
        self.slot = slot


class CutOff(Blocked):
    """A wallet cannot reach a monerod that answers the operator."""

    def __init__(self, message: str) -> None:
        super().__init__("DaemonUnreachable", message, retry_after=RETRY_SECONDS)


class SlotBroken(Blocked):
    """A pod that nobody can use: it is deleted (SIGTERM stores its wallet) and another one takes its place."""

    def __init__(self, slot: Slot, message: str, *, reason: str = "SlotUnauthorized") -> None:
        super().__init__(reason, f"{message} It is replaced.", retry_after=RETRY_SECONDS)
        self.slot = slot


class NotOurs(EscrowError):
    """An object that a pool needs is not its own. ``problem`` says which, and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def no_pool(name: str, namespace: str, *, deleting: bool) -> Blocked:
    """A session's pool is not there, or takes no more sessions."""
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
"""Until the next look at something that usually mends itself: a busy wallet, a pod that starts."""

RECHECK_SECONDS = 30.0
"""Until the next look at something a person has to mend."""

STILL_OPEN = frozenset({"DaemonUnreachable", "DaemonSyncing", "WalletSyncing", "WrongNetwork", "PoolNotFound"})
"""Reasons for not being Ready that say nothing against the wallets being open."""

WAITING = STILL_OPEN | {"AtCapacity", "Contention", "PoolEmpty"}
"""Reasons for which a session stays in the line for slots. With any other it could not use them: none are kept or
started for it, and nobody waits behind it."""
