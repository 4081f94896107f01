"""What a pool says of its slots."""

from __future__ import annotations

from typing import Any

from escrow_operator.core.poolstatus import SCHEDULING_GRACE, mean_time, ready_condition
from escrow_operator.models.common import ROLES, format_time
from escrow_operator.models.slot import Slot
from unit.factories import at, pool, slot, slot_body


def with_status(**status: Any) -> Slot:
    body = slot_body("p", ready=False)
    body["status"] |= status
    return Slot.parse(body)


def test_ready_when_every_role_is_warm() -> None:
    slots = [slot(str(role), role) for role in ROLES]
    assert ready_condition(pool(), slots, now=at(0)).reason == "SlotsWarm"
    assert ready_condition(pool(warmSlots=2), slots, now=at(0)).reason == "SlotsStarting"


def test_an_image_that_does_not_start_is_said_with_kubelets_reason() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    condition = ready_condition(pool(), [with_status(containerStatuses=[waiting])], now=at(0))
    assert condition.reason == "SlotsNotStarting"
    assert "ImagePullBackOff. no such image" in condition.message


def test_a_pod_without_a_node_is_trouble_only_after_a_while() -> None:
    scheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "pod has unbound immediate PersistentVolumeClaims",
        "lastTransitionTime": format_time(at(0)),
    }
    waiting = with_status(conditions=[scheduled])
    grace = SCHEDULING_GRACE.total_seconds()
    assert ready_condition(pool(), [waiting], now=at(grace)).reason == "SlotsStarting"
    assert ready_condition(pool(), [waiting], now=at(grace + 1)).reason == "SlotsNotStarting"


def test_the_mean_of_times() -> None:
    assert mean_time([]) is None
    assert mean_time([at(0), at(10)]) == at(5)
