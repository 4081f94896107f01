"""Numbers that are kept while things change are those of a count of everything, and nothing is left of the last one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.poolstatus import count_of
from escrow_operator.models.common import Role, format_time
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.state.tallies import Tallies
from unit.factories import T0, at, session, slot

NAMESPACES = st.sampled_from(["shop", "market"])
SESSIONS = st.builds(session, st.sampled_from("ab"), namespace=NAMESPACES, phase=st.sampled_from(Phase))
SLOTS = st.builds(
    slot,
    st.sampled_from("ab"),
    st.sampled_from(Role),
    namespace=NAMESPACES,
    ready=st.booleans(),
    terminating=st.booleans(),
    owner=st.none() | st.just(session()),
)


@given(st.lists(st.tuples(st.booleans(), SESSIONS)))
def test_each_session_is_in_one_count_of_its_phase(steps: list[tuple[bool, Session]]) -> None:
    tallies = Tallies()
    known: dict[object, Session] = {}
    for there, one in steps:
        former = known.pop(one.key, None)
        if there:
            known[one.key] = one
        tallies.session(former, one if there else None)
    assert tallies.phases == Counter((one.key.namespace, one.phase) for one in known.values())
    assert 0 not in tallies.phases.values()


@given(st.lists(st.tuples(st.booleans(), SLOTS)))
def test_i3_each_slot_is_in_one_count_of_its_pool(steps: list[tuple[bool, Slot]]) -> None:
    tallies = Tallies()
    known: dict[object, Slot] = {}
    for there, one in steps:
        former = known.pop((one.namespace, one.name), None)
        if there:
            known[one.namespace, one.name] = one
        tallies.slot(former, one if there else None)
    assert tallies.slots == Counter((one.pool, one.role, count_of(one)) for one in known.values())
    assert 0 not in tallies.slots.values()


def opened(seconds: float | None) -> Session:
    return session(status={} if seconds is None else {"openedAt": format_time(at(seconds))})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 1000), st.booleans())))
def test_the_mean_age_is_that_of_the_sessions_that_hold_slots_now(
    steps: list[tuple[str, int | None, bool]],
) -> None:
    tallies = Tallies()
    known: dict[str, int] = {}
    for uid, seconds, there in steps:
        known.pop(uid, None)
        if there and seconds is not None:
            known[uid] = seconds
        tallies.holder(uid, opened(seconds) if there else None)
    now = T0.timestamp() + 2000
    expected = 2000 - sum(known.values()) / len(known) if known else 0.0
    assert tallies.mean_age(now) == pytest.approx(expected)


def test_an_age_that_was_noted_twice_counts_once() -> None:
    tallies = Tallies()
    for _ in range(3):
        tallies.holder("a", opened(100))
    tallies.holder("b", opened(300))
    assert tallies.mean_age(T0.timestamp() + 400) == 200
    tallies.holder("a", None)
    tallies.holder("b", None)
    assert tallies.mean_age(T0.timestamp() + 400) == 0
