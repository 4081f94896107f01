"""What a pool says of itself: whether it can serve, and whether somebody has to do something."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from escrow_operator.core.conditions import Condition, merge_conditions
from escrow_operator.core.daemon import DaemonView, daemon_condition
from escrow_operator.core.poolstatus import (
    REPLACEMENT_GRACE,
    SCHEDULING_GRACE,
    Problem,
    deleting_conditions,
    mean_time,
    pool_conditions,
    pool_status,
)
from escrow_operator.models.common import ROLES, Label, Role, SlotState, format_time
from escrow_operator.models.monero import NetType
from escrow_operator.models.pool import Pool
from escrow_operator.models.slot import Slot
from unit.factories import at, daemon_info, pool, pool_body, slot, slot_body

Summary = tuple[str, str, str]
"""Ready's status and reason, and the abnormal condition with its reason (empty when there is none)."""

UP = DaemonView(daemon_info())
DOWN = DaemonView(None, "connection refused")
ELSEWHERE = DaemonView(dataclasses.replace(daemon_info(), nettype=NetType.MAINNET))
CATCHING_UP = DaemonView(dataclasses.replace(daemon_info(), target_height=99))

FREE = [slot(f"free-{role}", role) for role in ROLES]
STARTING = [slot(f"starting-{role}", role, ready=False) for role in ROLES]
FOREIGN = Problem("ObjectNotOurs", "Service x is somebody else's.")
LEAVING = Problem("FormerPool", "Service x is about to go.", passes=True)


def with_status(role: Role = Role.BUYER, **status: Any) -> Slot:
    body = slot_body(f"p-{role}", role, ready=False)
    body["status"] |= status
    return Slot.parse(body)


NO_IMAGE = with_status(
    containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
)


def without_node(seconds: float) -> Slot:
    scheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "pod has unbound immediate PersistentVolumeClaims",
        "lastTransitionTime": format_time(at(-seconds)),
    }
    return with_status(conditions=[scheduled])


def of(was: str | None, **spec: Any) -> Pool:
    """A pool that was last said to be Ready or not."""
    conditions = [
        {"type": "Ready", "status": was, "reason": "R", "message": "m", "lastTransitionTime": "t"},
        {
            "type": "DaemonSynced",
            "status": was,
            "reason": "DaemonUnreachable",
            "message": "m",
            "lastTransitionTime": "t",
        },
    ]
    return Pool.parse(pool_body(spec=spec) | {"status": {"conditions": conditions} if was else {}})


def conditions(
    of: Pool,
    slots: Sequence[Slot],
    view: DaemonView | None = UP,
    *,
    problem: Problem | None = None,
    lacking: float = 0.0,
) -> dict[str, Condition]:
    found = pool_conditions(
        of,
        slots,
        daemon=daemon_condition(view, of.spec.daemon),
        problem=problem,
        lacking_for=timedelta(seconds=lacking),
        now=at(0),
    )
    return {condition.type: condition for condition in found}


GRACE = REPLACEMENT_GRACE.total_seconds()
SCHEDULING = SCHEDULING_GRACE.total_seconds()


@pytest.mark.parametrize(
    ("was", "slots", "view", "told", "expected"),
    [
        # A pool that starts.
        (None, [], UP, None, ("False", "SlotsStarting", "Reconciling SlotsStarting")),
        (None, STARTING, UP, None, ("False", "SlotsStarting", "Reconciling SlotsStarting")),
        (None, FREE[:2], UP, None, ("False", "SlotsStarting", "Reconciling SlotsStarting")),
        (None, FREE, UP, None, ("True", "Serving", "")),
        ("False", FREE, UP, None, ("True", "Serving", "")),
        # Slots were taken: it stays, for as long as replacements usually take.
        ("True", STARTING, UP, None, ("True", "Serving", "")),
        ("True", [], UP, GRACE - 1, ("True", "Serving", "")),
        ("True", STARTING, UP, GRACE, ("False", "SlotsStarting", "Reconciling SlotsStarting")),
        ("False", STARTING, UP, 1, ("False", "SlotsStarting", "Reconciling SlotsStarting")),
        # Without monerod it serves nobody, however many slots it has.
        ("True", FREE, DOWN, None, ("False", "DaemonUnreachable", "Reconciling DaemonUnreachable")),
        ("True", FREE, CATCHING_UP, None, ("False", "DaemonSyncing", "Reconciling DaemonSyncing")),
        ("True", FREE, ELSEWHERE, None, ("False", "WrongNetwork", "Stalled WrongNetwork")),
        # A fresh operator takes nothing back before it has asked.
        (None, FREE, None, None, ("Unknown", "NotChecked", "Reconciling NotChecked")),
        ("True", FREE, None, None, ("True", "Serving", "")),
        ("False", FREE, None, None, ("False", "DaemonUnreachable", "Reconciling DaemonUnreachable")),
        # Trouble of a slot: whether it serves depends on the others.
        ("True", [NO_IMAGE, *FREE[1:]], UP, None, ("False", "SlotsNotStarting", "Stalled SlotsNotStarting")),
        ("True", [NO_IMAGE, *FREE], UP, None, ("True", "Serving", "Stalled SlotsNotStarting")),
        ("True", [without_node(SCHEDULING), *FREE], UP, None, ("True", "Serving", "")),
        ("True", [without_node(SCHEDULING + 1), *FREE], UP, None, ("True", "Serving", "Reconciling SlotsNotStarting")),
        (
            "True",
            [without_node(SCHEDULING + 1), *FREE[1:]],
            UP,
            None,
            ("False", "SlotsNotStarting", "Reconciling SlotsNotStarting"),
        ),
        # What keeps it from being what its spec says comes first.
        ("True", FREE, UP, FOREIGN, ("False", "ObjectNotOurs", "Stalled ObjectNotOurs")),
        ("True", [NO_IMAGE], DOWN, FOREIGN, ("False", "ObjectNotOurs", "Stalled ObjectNotOurs")),
        ("True", FREE, None, FOREIGN, ("False", "ObjectNotOurs", "Stalled ObjectNotOurs")),
        (None, [], UP, LEAVING, ("False", "FormerPool", "Reconciling FormerPool")),
    ],
)  # fmt: skip
def test_ready_says_whether_sessions_can_be_served(
    was: str | None,
    slots: list[Slot],
    view: DaemonView | None,
    told: Problem | float | None,
    expected: Summary,
) -> None:
    """``told``: a problem of the pool, or for how many seconds a role has had no free slot."""
    problem, lacking = (told, 0.0) if isinstance(told, Problem) else (None, told or 0.0)
    found = conditions(of(was), slots, view, problem=problem, lacking=lacking)
    abnormal = [f"{c.type} {c.reason}" for kind, c in found.items() if kind in ("Reconciling", "Stalled")]
    assert len(abnormal) <= 1
    assert (found["Ready"].status_text, found["Ready"].reason, "".join(abnormal)) == expected
    assert all(found[kind].status for kind in found.keys() & {"Reconciling", "Stalled"}), "abnormal-true"


def test_a_pool_without_warm_slots_serves_as_soon_as_it_has_monerod() -> None:
    assert conditions(of(None, warmSlots=0), [])["Ready"].status is True
    assert conditions(of("True", warmSlots=0), [NO_IMAGE])["Ready"].reason == "SlotsNotStarting"


def test_an_image_that_does_not_start_is_said_with_kubelets_reason() -> None:
    message = conditions(of(None), [NO_IMAGE])["Stalled"].message
    assert "ImagePullBackOff. no such image" in message
    assert "kubectl describe pod" in message


def test_a_role_for_which_no_pod_is_made_points_at_quotas() -> None:
    message = conditions(of(None), FREE[1:])["Ready"].message
    assert "buyer 0 (starting 0)" in message
    assert "quotas" in message


def test_all_conditions_are_of_the_generation_that_was_seen() -> None:
    for view in (UP, DOWN, None):
        found = list(conditions(of("True"), FREE, view).values())
        old = of("True").status["conditions"]
        merged = merge_conditions(old, found, generation=7, now=at(0))
        assert {condition["observedGeneration"] for condition in merged} == {7}


def test_a_deleted_pool_names_some_of_those_it_waits_for() -> None:
    daemon = daemon_condition(UP, pool().spec.daemon)
    ready, synced = deleting_conditions({f"trade-{number}" for number in range(6)}, daemon)
    assert (ready.status, ready.reason, synced) == (False, "SessionsOpen", daemon)
    assert "trade-4 and 1 more:" in ready.message
    assert "held by a, b:" in deleting_conditions({"b", "a"}, daemon)[0].message


def test_the_mean_of_times() -> None:
    assert mean_time([]) is None
    assert mean_time([at(0), at(10)]) == at(5)


def test_prepared_escrows_tell_what_memory_they_take() -> None:
    bodies = [slot_body(f"p-{role}", role) for role in ROLES]
    for body in bodies:
        body["metadata"]["labels"] |= {Label.SLOT: SlotState.PREPARED, Label.PREPARED: "one"}
    pods = [Slot.parse(body) for body in bodies]
    status = pool_status(
        pool(), pods, opened=(), active=0, waiting=0, prepared=1, memory=2**20 + 1, max_active=10, daemon=None
    )
    assert status["preparedMemory"] == "4Mi"
