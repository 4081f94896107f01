"""Indexes say what a walk over all there is would say, and keep nothing of what is over."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.cap import is_evictable, use_order
from escrow_operator.core.protection import may_hold_money
from escrow_operator.models.common import format_time
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.state.indexes import Candidates, Holders, Index, LeastRecentlyUsed
from unit.factories import at, session

STEPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abc"), st.tuples(st.sampled_from("xy"), st.sampled_from("12")))
)
NOW = at(10_000)


@given(STEPS)
def test_an_index_is_sets_of_which_the_empty_take_no_room(steps: list[tuple[bool, str, tuple[str, str]]]) -> None:
    index: Index[str, tuple[str, str]] = Index()
    expected: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for add, key, value in steps:
        if add:
            index.add(key, value)
            expected[key].add(value)
        else:
            index.discard(key, value)
            expected[key].discard(value)
    filled = {key: values for key, values in expected.items() if values}
    assert {key: set(index.get(key)) for key in index} == filled
    assert len(index) == len(filled)
    assert all((key in index) is (key in filled) for key in "abc")


@given(STEPS)
def test_i5_holders_are_counted_in_their_namespace_once_each(steps: list[tuple[bool, str, tuple[str, str]]]) -> None:
    """Pods of one uid in two namespaces are somebody's who made them up."""
    holders = Holders()
    expected: set[tuple[str, tuple[str, str]]] = set()
    for add, uid, pod in steps:
        if add:
            holders.add(uid, pod)
            expected.add((uid, pod))
        else:
            holders.discard(uid, pod)
            expected.discard((uid, pod))
    assert holders.namespaces == Counter(namespace for _, namespace in {(uid, pod[0]) for uid, pod in expected})
    assert 0 not in holders.namespaces.values(), "nothing is left of a namespace"
    for uid in "abc":
        others = {pod[0] for one, pod in expected if one == uid} - {"x"}
        assert holders.is_elsewhere(uid, "x") is bool(others)


def active(name: str, used: float, *, namespace: str = "shop", money: bool = False, evictable: bool = True) -> Session:
    status = {
        "openedAt": format_time(at(used)),
        "lastActivityTime": format_time(at(used)),
        "funding": {"state": "Confirmed" if money else "Awaiting", "received": "1" if money else "0"},
        "balance": {"total": "1" if money else "0"},
    }
    return session(
        name,
        namespace=namespace,
        phase=Phase.ACTIVE,
        status=status,
        spec={"eviction": "LRU" if evictable else "Never"},
    )


class Known(dict[SessionKey, Session]):
    """The sessions that there are."""

    def see(self, *sessions: Session) -> None:
        for one in sessions:
            self[one.key] = one


def anybody(_: Session) -> bool:
    return True


def test_the_least_recently_used_is_found_although_it_was_used_since_it_was_noted() -> None:
    known = Known()
    heap = LeastRecentlyUsed(known, anybody)
    for name, used in (("old", 10), ("young", 20)):
        known.see(active(name, used))
        assert heap.note(known[SessionKey("shop", name)])
    known.see(active("old", 30))
    first = heap.first(may_go=anybody, now=NOW)
    assert first
    assert first.key.name == "young"


def test_a_session_is_in_the_heap_once_however_often_it_is_seen() -> None:
    """Each look writes a status, and each status is seen."""
    known = Known()
    heap = LeastRecentlyUsed(known, anybody)
    for used in range(100):
        known.see(active("demo", used))
        heap.note(known[SessionKey("shop", "demo")])
        heap.first(may_go=anybody, now=NOW)
    assert len(heap) == 1


def test_who_may_not_go_now_may_go_later() -> None:
    known = Known()
    known.see(active("demo", 1))
    heap = LeastRecentlyUsed(known, anybody)
    heap.note(known[SessionKey("shop", "demo")])
    assert heap.first(may_go=lambda _: False, now=NOW) is None
    assert heap.first(may_go=anybody, now=NOW)


def test_another_session_of_the_name_is_not_taken_for_the_one_that_was_noted() -> None:
    known = Known()
    known.see(active("demo", 1))
    heap = LeastRecentlyUsed(known, anybody)
    heap.note(known[SessionKey("shop", "demo")])
    other = active("demo", 2)
    known[other.key] = Session(**{f: getattr(other, f) for f in other.__dataclass_fields__} | {"uid": "another"})
    assert heap.first(may_go=anybody, now=NOW) is None
    assert len(heap) == 0


def test_those_that_are_over_are_forgotten_by_tidying_and_noted_when_they_come_back() -> None:
    known = Known()
    belongs = True
    heap = LeastRecentlyUsed(known, lambda _: belongs)
    subject = active("demo", 1)
    known.see(subject)
    heap.note(subject)
    belongs = False
    heap.tidy()
    assert len(heap) == 0
    belongs = True
    assert heap.note(subject)
    assert len(heap) == 1


def test_one_that_was_passed_over_because_it_did_not_belong_is_noted_when_it_does_again() -> None:
    """One that resumes after it was suspended may give way once more."""
    known = Known()
    belongs = False
    heap = LeastRecentlyUsed(known, lambda _: belongs)
    subject = active("demo", 1)
    known.see(subject)
    belongs = True
    heap.note(subject)
    belongs = False
    assert heap.first(may_go=anybody, now=NOW) is None
    belongs = True
    heap.note(subject)
    assert heap.first(may_go=anybody, now=NOW) == subject


def test_of_several_namespaces_the_least_recently_used_goes_and_who_holds_money_last() -> None:
    known = Known()
    candidates = Candidates(known)
    for one in (
        active("young", 30),
        active("rich", 1, money=True),
        active("old", 20, namespace="market"),
        active("kept", 2, evictable=False),
    ):
        known.see(one)
        candidates.note(one)
    order = []
    while found := candidates.first(["shop", "market"], may_go=anybody, now=NOW):
        order.append(found.key.name)
        del known[found.key]
    assert order == ["old", "young", "rich"]


SESSIONS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.integers(0, 50), st.sampled_from(["shop", "market"]), st.booleans(), st.booleans()
    ),
    max_size=30,
)


@given(seen=SESSIONS, wanted=st.lists(st.sampled_from(["shop", "market", "nowhere"]), max_size=3))
def test_i5_the_candidate_is_who_a_walk_over_all_sessions_would_choose(
    seen: list[tuple[str, int, str, bool, bool]], wanted: list[str]
) -> None:
    known = Known()
    candidates = Candidates(known)
    for name, used, namespace, money, evictable in seen:
        one = active(name, used, namespace=namespace, money=money, evictable=evictable)
        former = known.get(one.key)
        if former and use_order(one, now=NOW) < use_order(former, now=NOW):
            # Its last use only grows.
            continue
        known.see(one)
        candidates.note(one)
        candidates.first(["shop"], may_go=lambda _: False, now=NOW)
    found = candidates.first(wanted, may_go=anybody, now=NOW)
    there = [one for one in known.values() if one.key.namespace in wanted and is_evictable(one)]
    expected = min(there, key=lambda one: (may_hold_money(one), use_order(one, now=NOW)), default=None)
    assert found == expected
