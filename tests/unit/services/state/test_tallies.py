"""Numbers that are kept while things change are those of a count of everything, and nothing is left of the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.poolstatus import count_of
from escrow_operator.models.common import Role, format_time, parse_time
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


def played(tallies: Tallies, steps: list[tuple[bool, Session]]) -> Iterator[list[Session]]:
    """Tell of each session that comes, changes or goes; the sessions that there are after each step."""
    known: dict[object, Session] = {}
    for there, one in steps:
        former = known.pop(one.key, None)
        if there:
            known[one.key] = one
        tallies.session(former, one if there else None)
        yield list(known.values())


@given(st.lists(st.tuples(st.booleans(), SESSIONS)))
def test_each_session_is_in_one_count_of_its_phase(steps: list[tuple[bool, Session]]) -> None:
    tallies = Tallies()
    for known in played(tallies, steps):
        assert tallies.phases == Counter((one.key.namespace, one.phase) for one in known)
        assert 0 not in tallies.phases.values()


CONDITIONS = st.lists(
    st.builds(
        lambda kind, status, reason, since: {
            "type": kind,
            "status": status,
            "reason": reason,
            "lastTransitionTime": format_time(at(since)),
        },
        st.sampled_from(["Ready", "Funded", "Reconciling"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(["PoolEmpty", "Spent"]),
        st.integers(0, 1_000),
    ),
    unique_by=lambda found: found["type"],
)
TOLD = st.builds(
    lambda name, namespace, phase, conditions, moved: session(
        name,
        namespace=namespace,
        phase=phase,
        created=at(500),
        status={"conditions": conditions} | ({} if moved is None else {"moneyMovedAt": format_time(at(moved))}),
    ),
    st.sampled_from("ab"),
    NAMESPACES,
    st.sampled_from([Phase.PENDING, Phase.ACTIVE, Phase.FAILED]),
    CONDITIONS,
    st.none() | st.integers(0, 1_000),
)


@given(st.lists(st.tuples(st.booleans(), TOLD)))
def test_conditions_and_the_longest_wait_are_those_of_a_full_count(steps: list[tuple[bool, Session]]) -> None:
    tallies, known = Tallies(), list[Session]()
    for known in played(tallies, steps):
        waits: dict[str, list[float]] = {}
        for kept in known:
            ready = kept.condition("Ready")
            if kept.phase is not Phase.FAILED and (ready is None or ready["status"] != "True"):
                found = kept.condition("Reconciling") or ready
                since = parse_time(found["lastTransitionTime"]) if found else at(500)
                waits.setdefault(kept.key.namespace, []).append((at(2_000) - since).total_seconds())
        moved: dict[str, list[float]] = {}
        for kept in known:
            if at_last := kept.status.get("moneyMovedAt"):
                moved.setdefault(kept.key.namespace, []).append((at(2_000) - parse_time(at_last)).total_seconds())
        assert tallies.longest_unknown_payout(at(2_000).timestamp()) == {
            name: max(found) for name, found in moved.items()
        }
        assert tallies.longest_unready(at(2_000).timestamp()) == {name: max(found) for name, found in waits.items()}
    assert tallies.conditions == Counter(
        (one.key.namespace, told["type"], told["status"], told["reason"])
        for one in known
        for told in one.status["conditions"]
    )
    assert 0 not in tallies.conditions.values()


def test_a_wait_that_a_clock_puts_into_the_future_is_none() -> None:
    tallies = Tallies()
    tallies.session(None, session(created=at(50)))
    assert tallies.longest_unready(at(0).timestamp()) == {"shop": 0}


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
