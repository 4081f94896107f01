"""The cluster-wide cap (invariant I5): never more than maxActive, first come first served, nobody evicted in vain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.adapters.clock import Clock
from escrow_operator.models.common import ROLES, Role, format_time
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.waiting_list import WaitingList
from escrow_operator.services.state.indexes import TIDY_AFTER
from unit.factories import at, session_body, slot_body
from unit.world.context import make_context, woken


class FrozenClock(Clock):
    def now(self) -> datetime:
        return at(10_000)


def _pod(session: Session, role: Role) -> str:
    return f"{session.key.namespace}-{session.key.name}-{role}"


class Cluster:
    """A store with sessions that hold slots, and the cap over it."""

    def __init__(self, max_active: int, *, min_stay: int = 0) -> None:
        ctx = make_context(clock=FrozenClock(), max_active=max_active, min_stay=timedelta(seconds=min_stay))
        self.store = ctx.store
        self.woken = woken(ctx).woken_sessions
        self.capacity = Capacity(ctx)

    def newcomer(self, name: str, created: int = 0, namespace: str = "shop") -> Session:
        self.store.see_session(session_body(name, created=at(created), namespace=namespace))
        return self.store.sessions[SessionKey(namespace, name)]

    def active(
        self, name: str, used: int, *, pinned: bool = False, opened: int = 0, namespace: str = "shop"
    ) -> Session:
        status = {"openedAt": format_time(at(opened)), "lastActivityTime": format_time(at(used))}
        spec = {"eviction": "Never" if pinned else "LRU"}
        body = session_body(name, phase=Phase.ACTIVE, status=status, spec=spec, namespace=namespace)
        self.store.see_session(body)
        session = self.store.sessions[SessionKey(namespace, name)]
        self.holds(session)
        return session

    def holds(self, session: Session) -> None:
        for role in ROLES:
            name = _pod(session, role)
            self.store.see_slot(slot_body(name, role, owner=session, namespace=session.key.namespace))

    def ends(self, session: Session) -> None:
        for role in ROLES:
            self.store.drop_slot(slot_body(_pod(session, role), namespace=session.key.namespace))
        del self.store.sessions[session.key]
        self.capacity.leave(session.key)

    def asked(self) -> set[str]:
        return {key.name for key in self.woken if self.capacity.must_be_evicted(self.store.sessions[key])}


def test_i5_the_newcomer_waits_for_the_least_recently_used() -> None:
    cluster = Cluster(2)
    old, young = cluster.active("old", 10), cluster.active("young", 20)
    newcomer = cluster.newcomer("new")
    with pytest.raises(Blocked, match="one is being evicted"):
        cluster.capacity.admit(newcomer)
    assert cluster.capacity.must_be_evicted(old)
    assert not cluster.capacity.must_be_evicted(young)
    cluster.ends(old)
    cluster.capacity.admit(newcomer)
    assert len(cluster.capacity.active()) == 2


def test_i5_asking_again_evicts_nobody_else() -> None:
    cluster = Cluster(2)
    cluster.active("old", 10)
    cluster.active("young", 20)
    newcomer = cluster.newcomer("new")
    for _ in range(3):
        with pytest.raises(Blocked):
            cluster.capacity.admit(newcomer)
    assert cluster.asked() == {"old"}


def test_i5_a_victim_whose_pods_are_still_ending_is_not_counted_again() -> None:
    cluster = Cluster(2)
    old = cluster.active("old", 10)
    young = cluster.active("young", 20)
    newcomer = cluster.newcomer("new")
    with pytest.raises(Blocked):
        cluster.capacity.admit(newcomer)
    cluster.capacity.leave(old.key)
    cluster.store.see_session(session_body("old", phase=Phase.EVICTED))
    with pytest.raises(Blocked):
        cluster.capacity.admit(newcomer)
    del cluster.store.sessions[old.key]
    with pytest.raises(Blocked):
        cluster.capacity.admit(newcomer)
    assert not cluster.capacity.must_be_evicted(young)


def test_i5_nobody_gives_way_for_a_place_that_becomes_free_anyway() -> None:
    cluster = Cluster(2)
    cluster.active("stays", 1)
    cluster.active("ends", 20)
    cluster.store.see_session(session_body("ends", phase=Phase.COMPLETED))
    with pytest.raises(Blocked, match="one is being evicted"):
        cluster.capacity.admit(cluster.newcomer("new"))
    assert cluster.asked() == set()


def test_a_suspended_session_that_resumes_is_not_asked_again() -> None:
    cluster = Cluster(1)
    old = cluster.active("old", 10)
    with pytest.raises(Blocked):
        cluster.capacity.admit(cluster.newcomer("new"))
    for role in ROLES:
        cluster.store.drop_slot(slot_body(_pod(old, role)))
    assert not cluster.capacity.must_be_evicted(old)
    cluster.holds(old)
    assert not cluster.capacity.must_be_evicted(old)


def test_i5_two_newcomers_at_once_evict_two_and_pass_in_order() -> None:
    cluster = Cluster(2)
    old, young = cluster.active("old", 10), cluster.active("young", 20)
    first, second = cluster.newcomer("first", created=1), cluster.newcomer("second", created=2)
    for newcomer in (second, first):
        with pytest.raises(Blocked):
            cluster.capacity.admit(newcomer)
    assert cluster.asked() == {"old", "young"}
    cluster.ends(old)
    with pytest.raises(Blocked):
        cluster.capacity.admit(second)
    cluster.capacity.admit(first)
    cluster.ends(young)
    cluster.capacity.admit(second)


def test_without_a_victim_the_newcomer_waits_and_is_woken() -> None:
    cluster = Cluster(1)
    pinned = cluster.active("pinned", 1, pinned=True)
    newcomer = cluster.newcomer("new")
    with pytest.raises(Blocked, match="none of them may be evicted") as blocked:
        cluster.capacity.admit(newcomer)
    assert blocked.value.reason == "AtCapacity"
    cluster.ends(pinned)
    cluster.capacity.wake_waiting()
    assert newcomer.key in cluster.woken
    cluster.capacity.admit(newcomer)


def test_a_claim_that_is_under_way_counts() -> None:
    cluster = Cluster(1)
    first, second = cluster.newcomer("first"), cluster.newcomer("second", created=1)
    cluster.capacity.admit(first)
    with pytest.raises(Blocked):
        cluster.capacity.admit(second)
    cluster.capacity.settle_claim(first)
    cluster.capacity.admit(second)


def test_a_session_that_has_a_place_keeps_it_for_a_lost_slot() -> None:
    cluster = Cluster(1)
    holder = cluster.active("holder", 1)
    cluster.capacity.admit(holder)


def test_i5_a_namespace_that_floods_gets_no_more_than_its_share() -> None:
    cluster = Cluster(10)
    for number in range(5):
        cluster.active(f"good-{number}", number, namespace="shop")
        cluster.active(f"bad-{number}", 100 + number, namespace="flood")
    for number in range(20):
        with pytest.raises(Blocked):
            cluster.capacity.admit(cluster.newcomer(f"more-{number}", created=number, namespace="flood"))
    asked = {key for key in cluster.woken if cluster.capacity.must_be_evicted(cluster.store.sessions[key])}
    assert {key.namespace for key in asked} == {"flood"}


def test_i5_a_namespace_below_its_share_takes_from_the_largest() -> None:
    cluster = Cluster(4)
    for number in range(4):
        cluster.active(f"bad-{number}", number, namespace="flood")
    for number in range(4):
        with pytest.raises(Blocked):
            cluster.capacity.admit(cluster.newcomer(f"good-{number}", created=number, namespace="shop"))
    asked = {key for key in cluster.woken if cluster.capacity.must_be_evicted(cluster.store.sessions[key])}
    assert asked == {SessionKey("flood", "bad-0"), SessionKey("flood", "bad-1")}, "half, and no more"


def test_a_session_that_opened_a_moment_ago_need_not_give_way() -> None:
    cluster = Cluster(2, min_stay=60)
    cluster.active("fresh", 10, opened=9_950)
    cluster.active("old", 9_999, opened=9_940)
    with pytest.raises(Blocked):
        cluster.capacity.admit(cluster.newcomer("new"))
    assert cluster.asked() == {"old"}


def test_nobody_gives_way_when_who_wanted_the_place_has_left() -> None:
    cluster = Cluster(1)
    old = cluster.active("old", 10)
    newcomer = cluster.newcomer("new")
    with pytest.raises(Blocked):
        cluster.capacity.admit(newcomer)
    assert cluster.capacity.must_be_evicted(old)
    cluster.capacity.leave(newcomer.key)
    assert not cluster.capacity.must_be_evicted(old)


def test_a_place_that_was_asked_for_is_kept() -> None:
    cluster = Cluster(1)
    first, second = cluster.newcomer("first"), cluster.newcomer("second", created=1)
    cluster.capacity.ask(first)
    with pytest.raises(Blocked):
        cluster.capacity.ask(second)
    cluster.capacity.leave(first.key)
    assert second.key in cluster.woken
    cluster.capacity.ask(second)


_STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "end", "yield"]), st.integers(0, 5), st.sampled_from(["a", "b", "c"])),
    max_size=60,
)


@given(max_active=st.integers(1, 4), steps=_STEPS)
def test_i5_never_more_than_the_cap(max_active: int, steps: list[tuple[str, int, str]]) -> None:
    cluster = Cluster(max_active)
    for moment, (step, number, namespace) in enumerate(steps):
        name = f"s{number}"
        session = cluster.store.sessions.get(SessionKey(namespace, name))
        if step == "come" and session is None:
            session = cluster.newcomer(name, created=moment, namespace=namespace)
        if session is None:
            continue
        if step == "come":
            try:
                cluster.capacity.admit(session)
            except Blocked:
                continue
            cluster.holds(session)
            cluster.capacity.settle_claim(session)
            status = {"openedAt": format_time(at(moment))}
            body = session_body(name, created=at(moment), phase=Phase.ACTIVE, status=status, namespace=namespace)
            cluster.store.see_session(body)
        elif step == "end" or cluster.capacity.must_be_evicted(session):
            cluster.ends(session)
        assert len(cluster.capacity.active()) <= max_active
        assert sum(cluster.store.places().values()) == len(cluster.store.holders())


def test_below_the_cap_sessions_that_are_over_take_no_memory() -> None:
    cluster = Cluster(10)
    for number in range(3 * TIDY_AFTER):
        cluster.ends(cluster.active(f"trade-{number}", number, namespace=f"team-{number}"))
    heaps = cluster.store.candidates._heaps
    assert sum(map(len, heaps.values())) == len(heaps) <= TIDY_AFTER + 1
    staying = cluster.active("staying", 1)
    for number in range(2 * TIDY_AFTER):
        cluster.ends(cluster.active(f"trade-{number}", number))
    assert cluster.store.candidates.first(["shop"], may_go=lambda _: True, now=at(10_000)) == staying


def test_a_flood_of_those_who_wait_is_not_gone_through_by_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(3, min_stay=20_000)
    for number in range(3):
        cluster.active(f"holder-{number}", number)
    waiting = [cluster.newcomer(f"new-{n}", created=n, namespace=f"team-{n % 4}") for n in range(400)]
    for session in waiting:
        with pytest.raises(Blocked, match="AtCapacity"):
            cluster.capacity.ask(session)
    passed = 0

    def counting(line: WaitingList, held: int) -> Iterator[tuple[int, datetime, SessionKey]]:
        nonlocal passed
        for place in ranked(line, held):
            passed += 1
            yield place

    ranked = WaitingList.ranked
    monkeypatch.setattr(WaitingList, "ranked", counting)
    with pytest.raises(Blocked, match="none of them may be evicted"):
        cluster.capacity.ask(waiting[-1])
    cluster.capacity.wake_waiting()
    assert passed < 20
