"""The status of a WalletPool, counted from its pods (invariant I3: every pod is in exactly one count)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from escrow_operator.core.conditions import Condition
from escrow_operator.core.manifests.common import SLOT_LABELS
from escrow_operator.core.report import READY
from escrow_operator.models.common import ROLES, Label, SlotState, format_time, parse_time
from escrow_operator.models.monero import DaemonInfo
from escrow_operator.models.pool import Pool
from escrow_operator.models.slot import Slot

COUNTS = ("free", "adopted", "starting", "terminating")


def count_slots(slots: Iterable[Slot]) -> dict[str, dict[str, int]]:
    """How many slots of each role are free, adopted, starting and terminating."""
    counts = {count: {role.value: 0 for role in ROLES} for count in COUNTS}
    for slot in slots:
        counts[_count_of(slot)][slot.role.value] += 1
    return counts


def _count_of(slot: Slot) -> str:
    if slot.terminating or slot.finished:
        return "terminating"
    if slot.state is SlotState.ADOPTED:
        return "adopted"
    return "free" if slot.claimable else "starting"


def mean_time(moments: Sequence[datetime]) -> datetime | None:
    """The mean of some times: "average age" as a value that stands still while nothing changes."""
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
    max_active: int,
    daemon: DaemonInfo | None,
) -> dict[str, Any]:
    """The status without its conditions. ``opened`` are the times at which the active sessions were opened."""
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


SCHEDULING_GRACE = timedelta(seconds=15)
"""For which a pod may be without a node before that is trouble: its volume is being made, or a node is being added."""


def slot_trouble(slot: Slot, *, now: datetime) -> tuple[str, str] | None:
    """Why a free slot does not start, as (reason, message), when it will not mend itself."""
    if slot.state is not SlotState.FREE or slot.terminating:
        return None
    if slot.unschedulable and now - parse_time(slot.unschedulable[0]) > SCHEDULING_GRACE:
        return "Unschedulable", slot.unschedulable[1]
    return slot.trouble


def ready_condition(pool: Pool, slots: Sequence[Slot], *, now: datetime) -> Condition:
    """Ready when every role has as many free slots as the spec wants warm."""
    for slot in slots:
        trouble = slot_trouble(slot, now=now)
        if trouble:
            reason, message = trouble
            return Condition(
                READY,
                False,
                "SlotsNotStarting",
                f"Pod {slot.name} does not start: {reason}. {message} Check spec.image, spec.storage and the pod"
                f" (kubectl describe pod {slot.name}).",
            )
    free = count_slots(slots)["free"]
    if all(number >= pool.spec.warm_slots for number in free.values()):
        return Condition(READY, True, "SlotsWarm", f"Each role has {pool.spec.warm_slots} free slots or more.")
    summary = ", ".join(f"{role} {number}" for role, number in free.items())
    return Condition(
        READY,
        False,
        "SlotsStarting",
        f"Free slots: {summary}; {pool.spec.warm_slots} are wanted of each role.",
    )
