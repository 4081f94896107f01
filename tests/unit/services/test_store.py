"""What the operator remembers of the cluster: the newer version stays, the dead do not come back."""

from __future__ import annotations

from escrow_operator.core.poolstatus import count_slots
from escrow_operator.models.common import Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.services.store import Listed, Store
from unit.factories import session, session_body, slot_body

POOL = PoolKey("shop", "default")


def test_a_late_watch_event_does_not_hide_a_claim() -> None:
    store = Store()
    free = slot_body("p")
    adopted = slot_body("p", owner=session())
    assert store.see_slot(adopted)
    assert store.see_slot(free) is None
    assert store.free_slots(POOL) == []
    assert [s.name for s in store.slots_of_session(session().uid)] == ["p"]


def test_the_late_answer_of_a_patch_brings_no_pod_back() -> None:
    store = Store()
    body = slot_body("p")
    store.see_slot(body)
    store.drop_slot("shop", "p", "pod-p")
    assert store.see_slot(slot_body("p", owner=session())) is None
    assert store.slots_of_pool(POOL) == []


def test_a_reserved_slot_is_not_free() -> None:
    store = Store()
    store.see_slot(slot_body("p"))
    slots = store.free_slots(POOL)
    store.reserve(slots)
    assert store.free_slots(POOL) == []
    store.unreserve(slots)
    assert len(store.free_slots(POOL)) == 1


def test_levelling_drops_what_is_gone_but_not_what_came_after_the_list() -> None:
    store = Store()
    gone, stays = slot_body("gone"), slot_body("stays")
    store.see_slot(gone)
    store.see_slot(stays)
    listed = Listed("shop", {stays["metadata"]["uid"]}, stays["metadata"]["resourceVersion"])
    store.see_slot(slot_body("late"))
    assert store.see_slot(stays) is None, "it says nothing new"
    assert [s.name for s in store.drop_absent_slots(listed)] == ["gone"]
    assert {s.name for s in store.slots_of_pool(POOL)} == {"stays", "late"}


def test_of_two_versions_of_a_session_the_newer_stays() -> None:
    store = Store()
    old, new = session_body(), session_body(generation=2)
    assert store.see_session(new)
    assert not store.see_session(old)
    assert store.sessions[session().key].generation == 2


def test_i3_every_pod_is_in_exactly_one_count() -> None:
    store = Store()
    bodies = [
        slot_body("free"),
        slot_body("starting", Role.VENDOR, ready=False),
        slot_body("adopted", Role.ARBITER, owner=session()),
        slot_body("terminating", terminating=True),
    ]
    for body in bodies:
        store.see_slot(body)
    counts = count_slots(store.slots_of_pool(POOL))
    assert sum(sum(roles.values()) for roles in counts.values()) == len(bodies)
    assert counts["free"]["buyer"] == counts["starting"]["vendor"] == counts["adopted"]["arbiter"] == 1
