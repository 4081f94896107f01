"""What the operator remembers of the cluster: the newer version stays, the dead do not come back."""

from __future__ import annotations

from typing import Any

from escrow_operator.core.poolstatus import count_slots
from escrow_operator.models.common import Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.state.newest import Listed
from escrow_operator.services.state.store import Store
from unit.factories import pool_body, session, session_body, slot_body

POOL = PoolKey("shop", "default")


def test_a_late_watch_event_does_not_hide_a_claim() -> None:
    store = Store(Memory())
    free = slot_body("p")
    adopted = slot_body("p", owner=session())
    assert store.see_slot(adopted)
    assert store.see_slot(free) is None
    assert store.free_slots(POOL) == []
    assert [s.name for s in store.slots_of_session("shop", session().uid)] == ["p"]


def test_the_late_answer_of_a_patch_brings_no_pod_back() -> None:
    store = Store(Memory())
    store.see_slot(slot_body("p"))
    answer = slot_body("p", owner=session())
    store.drop_slot(slot_body("p"))
    assert store.see_slot(answer) is None
    assert store.slots_of_pool(POOL) == []


def test_i11_a_pod_of_another_namespace_is_no_slot_of_a_session() -> None:
    """Whoever may make pods there would be sent the password of its wallet."""
    store = Store(Memory())
    trade = session("trade")
    store.see_slot(slot_body("mine", owner=trade))
    store.see_slot(slot_body("theirs", owner=trade, namespace="elsewhere"))
    assert [s.name for s in store.slots_of_session("shop", trade.uid)] == ["mine"]
    assert sorted(s.name for s in store.orphans()) == ["mine", "theirs"]
    assert store.see_session(session_body("trade"))
    assert store.places() == {"shop": 1, "elsewhere": 1}
    for name, namespace in (("mine", "shop"), ("theirs", "elsewhere")):
        store.drop_slot(slot_body(name, owner=trade, namespace=namespace))
    assert store.places() == {}


def test_i13_a_pod_that_only_says_it_was_adopted_takes_no_place() -> None:
    """Its label is written by whoever makes it; an owner that is not there has it deleted by garbage collection."""
    store = Store(Memory())
    body = slot_body("p", owner=session("nobody"))
    body["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": "theirs", "controller": True}]
    store.see_slot(body)
    assert (store.count_holders(()), store.holders(), store.places()) == (0, set(), {})
    del body["metadata"]["ownerReferences"]
    body["metadata"]["resourceVersion"] = "1000000000"
    store.see_slot(body)
    assert (store.count_holders(()), store.holders(), store.places()) == (0, set(), {})


def test_a_reserved_slot_is_not_free() -> None:
    store = Store(Memory())
    store.see_slot(slot_body("p"))
    slots = store.free_slots(POOL)
    store.reserve(slots)
    assert store.free_slots(POOL) == []
    store.unreserve(slots)
    assert len(store.free_slots(POOL)) == 1


def test_levelling_drops_what_is_gone_but_not_what_came_after_the_list() -> None:
    store = Store(Memory())
    gone, stays = slot_body("gone"), slot_body("stays")
    store.see_slot(gone)
    store.see_slot(stays)
    listed = Listed("shop", {stays["metadata"]["uid"]}, stays["metadata"]["resourceVersion"])
    store.see_slot(slot_body("late"))
    assert store.see_slot(stays) is None, "it says nothing new"
    assert [s.name for s in store.drop_absent_slots(listed)] == ["gone"]
    assert {s.name for s in store.slots_of_pool(POOL)} == {"stays", "late"}


def test_of_two_versions_of_a_session_the_newer_stays() -> None:
    store = Store(Memory())
    old, new = session_body(), session_body(generation=2)
    assert store.see_session(new)
    assert not store.see_session(old)
    assert store.sessions[session().key].generation == 2


def test_i3_every_pod_is_in_exactly_one_count() -> None:
    store = Store(Memory())
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


def remade(body: dict[str, Any], uid: str = "another") -> dict[str, Any]:
    """The same as an object of another uid."""
    return body | {"metadata": body["metadata"] | {"uid": uid}}


def test_a_stale_page_does_not_bring_back_the_predecessor_of_a_session() -> None:
    store = Store(Memory())
    old = remade(session_body())
    new = session_body()
    assert store.see_session(new)
    assert not store.see_session(old), "it is of an older version, whatever its uid"
    assert store.sessions[session().key].uid == new["metadata"]["uid"]


def test_the_pods_of_a_session_are_no_orphans_after_a_stale_page() -> None:
    store = Store(Memory())
    old = remade(session_body())
    store.see_session(session_body())
    store.see_slot(slot_body("p", owner=session()))
    store.see_session(old)
    assert store.orphans() == []


def test_the_late_deletion_of_a_predecessor_does_not_take_its_successor() -> None:
    store = Store(Memory())
    store.see_session(remade(session_body()))
    deletion = remade(session_body())
    store.see_session(session_body())
    assert not store.drop_session(deletion)
    assert session().key in store.sessions


def test_a_deleted_session_and_pool_do_not_come_back() -> None:
    store = Store(Memory())
    late, late_pool = session_body(), pool_body()
    assert store.see_session(session_body())
    assert store.see_pool(pool_body())
    assert store.drop_session(session_body())
    assert store.drop_pool(pool_body())
    assert not store.see_session(late)
    assert not store.see_pool(late_pool)
    assert not store.sessions
    assert not store.pools


def test_what_was_deleted_before_a_full_list_does_not_come_back() -> None:
    """A page of an earlier list, or the answer of a patch, that comes after it; nobody ever saw the deletion."""
    store = Store(Memory())
    late = session_body("never-seen")
    stays = session_body("stays")
    store.see_session(stays)
    store.drop_absent_sessions(Listed(None, {stays["metadata"]["uid"]}, stays["metadata"]["resourceVersion"]))
    assert not store.see_session(late)
    assert store.see_session(session_body("never-seen")), "this one was made since"


def test_a_pod_that_lost_its_labels_for_a_while_is_seen_again() -> None:
    store = Store(Memory())
    store.see_slot(slot_body("p"))
    # A watch with a label selector says DELETED for what no longer matches.
    store.drop_slot(slot_body("p"))
    assert store.see_slot(slot_body("p"))


def test_a_session_that_returns_with_another_pool_leaves_nothing_behind() -> None:
    store = Store(Memory())
    store.see_session(session_body())
    store.see_session(remade(session_body(spec={"poolRef": {"name": "other"}})))
    assert store.sessions_of_pool(POOL) == []
    store.drop_session(session_body())
    assert store.sessions_of_pool(PoolKey("shop", "other")) == []


def test_what_services_did_is_forgotten_and_what_there_is_stays_known() -> None:
    store = Store(Memory())
    store.see_slot(slot_body("p"))
    slots = store.free_slots(POOL)
    store.reserve(slots)
    store.ending.add("shop")
    store.memory.put(slots[0].uid, Memory())
    store.forget_work()
    assert store.free_slots(POOL) == slots
    assert not store.ending
    assert store.memory.find(slots[0].uid, Memory) is None
