"""Why a session cannot go on, in words for its user."""

from __future__ import annotations

from escrow_operator.core.poolstatus import Problem
from escrow_operator.errors import EscrowError
from escrow_operator.models.slot import Slot


class Blocked(EscrowError):
    """Ends a reconciliation with Ready=False.

    ``reason`` is the condition's CamelCase reason, ``message`` says what the user can do, ``retry_after`` is in
    seconds; events that change the matter (a free slot, a changed spec) come sooner.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Failed(Blocked):
    """What trying again cannot mend: the session gives its slots back until its spec or a Secret changes."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message, retry_after=RECHECK_SECONDS)


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
