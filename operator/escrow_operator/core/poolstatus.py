"""The status of a WalletPool, counted from its pods (invariant I3: every pod is in exactly one count)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from escrow_operator.core.conditions import RECONCILING, STALLED, Condition
from escrow_operator.core.daemon import DAEMON_SYNCED, NOT_CHECKED, WRONG_NETWORK
from escrow_operator.core.manifests.common import SLOT_LABELS
from escrow_operator.core.report import READY
from escrow_operator.models.common import ROLES, Label, SlotState, format_time, parse_time
from escrow_operator.models.monero import DaemonInfo
from escrow_operator.models.pool import Pool
from escrow_operator.models.slot import Slot

MEBIBYTE = 2**20

COUNTS = ("free", "prepared", "adopted", "starting", "terminating")


def count_slots(slots: Iterable[Slot]) -> dict[str, dict[str, int]]:
    """How many slots are free, prepared, adopted, starting and terminating: by count, then by role."""
    counts = {count: {role.value: 0 for role in ROLES} for count in COUNTS}
    for slot in slots:
        counts[count_of(slot)][slot.role.value] += 1
    return counts


def count_of(slot: Slot) -> str:
    """The one of ``COUNTS`` that a slot is in."""
    if slot.terminating or slot.finished:
        return "terminating"
    if slot.state is SlotState.ADOPTED:
        return "adopted"
    if slot.state is SlotState.PREPARED:
        return "prepared"
    return "free" if slot.claimable else "starting"


def mean_time(moments: Sequence[datetime]) -> datetime | None:
    """The mean of some times, None without any: a stand-in for the average age that does not change with time."""
    if not moments:
        return None
    return datetime.fromtimestamp(sum(moment.timestamp() for moment in moments) / len(moments), UTC)


def pool_status(
    pool: Pool,
    slots: Sequence[Slot],
    *,
    opened: Sequence[datetime],
    active: int,
    waiting: int,
    prepared: int,
    memory: int,
    max_active: int,
    daemon: DaemonInfo | None,
) -> dict[str, Any]:
    """The status without its conditions.

    ``opened`` are the times at which the active sessions were opened; ``prepared`` is how many prepared escrows a
    session could get now; ``memory`` is what one wallet requests, in bytes.
    """
    counts = count_slots(slots)
    status: dict[str, Any] = {
        "observedGeneration": pool.generation,
        "warmSlots": min(counts["free"].values()),
        "selector": ",".join(
            f"{key}={value}"
            for key, value in {
                **SLOT_LABELS,
                Label.POOL: pool.key.name,
                Label.SLOT: SlotState.FREE.value,
            }.items()
        ),
        "preparedEscrows": prepared,
        "preparedMemory": f"{-(-sum(counts['prepared'].values()) * memory // MEBIBYTE)}Mi",
        **counts,
        "summary": {
            count: "/".join(str(number) for number in counts[count].values())
            for count in ("free", "adopted", "starting")
        },
        "activeSessions": active,
        "waitingSessions": waiting,
        "utilisation": f"{100 * active // max_active}%",
        "maxSessions": max_active,
    }
    mean = mean_time(opened)
    if mean is not None:
        status["meanOpenedAt"] = format_time(mean)
    if daemon is not None:
        status["daemon"] = {
            "height": daemon.height,
            "targetHeight": max(daemon.target_height, daemon.height),
            "network": "regtest" if daemon.nettype == "fakechain" else daemon.nettype.value,
        }
    elif "daemon" in pool.status:
        status["daemon"] = pool.status["daemon"]
    return status


SESSIONS_NAMED = 5
"""Maximum number of sessions that a message names."""

REPLACEMENT_GRACE = timedelta(seconds=60)
"""Time for which a Ready pool may have no free slot of a role: after a claim, the replacement has to start."""

SCHEDULING_GRACE = timedelta(seconds=15)
"""Time for which a pod may be unscheduled before it is reported: its volume or a node may be being created."""


@dataclass(frozen=True)
class Problem:
    """Why a pool starts no slots; ``passes`` if that resolves itself."""

    reason: str
    message: str
    passes: bool = False


def slot_trouble(slot: Slot, *, now: datetime) -> Problem | None:
    """Why a free slot does not start, or None. A node may yet be added; trouble that kubelet reports does not pass."""
    if slot.state is not SlotState.FREE or slot.terminating:
        return None
    if slot.unschedulable and now - parse_time(slot.unschedulable[0]) > SCHEDULING_GRACE:
        return _not_starting(slot, "Unschedulable", slot.unschedulable[1], passes=True)
    return _not_starting(slot, *slot.trouble, passes=False) if slot.trouble else None


def _not_starting(slot: Slot, reason: str, message: str, *, passes: bool) -> Problem:
    return Problem(
        "SlotsNotStarting",
        f"Pod {slot.name} does not start: {reason}. {message} Check spec.image, spec.storage and the pod"
        f" (kubectl describe pod {slot.name}).",
        passes,
    )


def lacking_roles(pool: Pool, slots: Iterable[Slot]) -> set[str]:
    """Roles without a free slot, in a pool whose spec wants any."""
    return {role for role, number in count_slots(slots)["free"].items() if number < min(1, pool.spec.warm_slots)}


def pool_conditions(
    pool: Pool,
    slots: Sequence[Slot],
    *,
    daemon: Condition,
    problem: Problem | None,
    lacking_for: timedelta,
    now: datetime,
) -> tuple[Condition, ...]:
    """Ready (whether sessions can be served), DaemonSynced, and Reconciling or Stalled while they are true.

    ``daemon`` is DaemonSynced; ``problem`` is what keeps the pool from matching its spec; ``lacking_for`` is how long
    any role has been without a free slot.
    """
    if daemon.reason == NOT_CHECKED:
        # A restarted operator has not queried monerod yet: until then the condition of its predecessor stays.
        daemon = _as_written(pool, DAEMON_SYNCED) or daemon
    lacking = lacking_roles(pool, slots)
    troubles = [(slot.role.value, trouble) for slot in slots if (trouble := slot_trouble(slot, now=now))]
    blocking = next((trouble for role, trouble in troubles if role in lacking or not pool.spec.warm_slots), None)
    # A problem that resolves itself is reported only if there is no other.
    cause = problem or min((trouble for _, trouble in troubles), key=lambda trouble: trouble.passes, default=None)
    if problem or blocking:
        found = problem or blocking
        assert found is not None  # noqa: S101 - for the type checker
        ready = Condition(READY, False, found.reason, found.message)
    elif daemon.status is not True:
        ready = Condition(READY, daemon.status, daemon.reason, daemon.message)
    else:
        ready = _slots_condition(pool, slots, lacking, lacking_for)
    return ready, daemon, *_abnormal(ready, cause)


def _slots_condition(pool: Pool, slots: Sequence[Slot], lacking: set[str], lacking_for: timedelta) -> Condition:
    was_ready = (pool.condition(READY) or {}).get("status") == "True"
    if not lacking or (was_ready and lacking_for < REPLACEMENT_GRACE):
        return Condition(READY, True, "Serving", "Sessions get slots; those that are taken are replaced.")
    counts = count_slots(slots)
    summary = ", ".join(
        f"{role} {number} (starting {counts['starting'][role]})" for role, number in counts["free"].items()
    )
    return Condition(
        READY,
        False,
        "SlotsStarting",
        f"Free slots: {summary}; {pool.spec.warm_slots} are wanted of each role. If none start, see the ReplicaSets"
        f" (kubectl describe rs -l {Label.POOL}={pool.key.name}) for quotas and admission policies.",
    )


def _abnormal(ready: Condition, cause: Problem | None) -> tuple[Condition, ...]:
    """Stalled if a user has to mend something, Reconciling if the pool recovers by itself, none if all is well."""
    if cause is not None:
        kind = RECONCILING if cause.passes else STALLED
        return (Condition(kind, True, cause.reason, cause.message),)
    if ready.status is True:
        return ()
    kind = STALLED if ready.reason == WRONG_NETWORK else RECONCILING
    return (Condition(kind, True, ready.reason, ready.message),)


def _as_written(pool: Pool, kind: str) -> Condition | None:
    """The condition of this type in the pool's status, or None."""
    old = pool.condition(kind)
    if old is None:
        return None
    status = {"True": True, "False": False}.get(old["status"])
    return Condition(kind, status, old["reason"], old.get("message", ""))


def deleting_conditions(sessions: Iterable[str], daemon: Condition) -> tuple[Condition, ...]:
    """The conditions of a deleted pool that waits for the sessions which hold its slots.

    kstatus needs no others to report the pool as terminating.
    """
    names = sorted(sessions)
    if not names:
        return Condition(READY, False, "Closing", "The pool is deleted; its prepared escrows are being ended."), daemon
    some = ", ".join(names[:SESSIONS_NAMED])
    more = f" and {len(names) - SESSIONS_NAMED} more" if len(names) > SESSIONS_NAMED else ""
    message = (
        f"The pool is deleted and goes when its slots are free. They are held by {some}{more}: delete them, or"
        " let them end. Their wallets stay usable until then; no slots are started any more."
    )
    return Condition(READY, False, "SessionsOpen", message), daemon
