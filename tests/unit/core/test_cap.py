"""Who is evicted at the cap (invariant I5), against a simple model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.cap import evictable_namespaces, evictions_needed, has_stayed, is_evictable
from escrow_operator.core.protection import is_protected, may_hold_money
from escrow_operator.models.common import format_time
from escrow_operator.models.session import Phase, Session
from escrow_operator.services.state.indexes import Candidates
from unit.factories import at, session

PAYOUT = {"settlement": {"outcome": "Refund", "txid": "e" * 64}}


def active(
    name: str,
    used: int,
    *,
    pinned: bool = False,
    phase: Phase = Phase.ACTIVE,
    paying: bool = False,
    money: bool = False,
) -> Session:
    return session(
        name,
        phase=phase,
        spec={"eviction": "Never" if pinned else "LRU"} | (PAYOUT if paying else {}),
        status={
            "openedAt": format_time(at(0)),
            "lastActivityTime": format_time(at(used)),
            "funding": {"state": "Awaiting", "received": "1" if money else "0"},
            "balance": {"total": "1" if money else "0"},
        },
    )


def anybody(_: Session) -> bool:
    return True


def choose_victim(sessions: Sequence[Session], *, excluded: Collection[str], now: datetime) -> Session | None:
    used = Candidates({one.key: one for one in sessions})
    for one in sessions:
        used.note(one)

    def choose() -> Session | None:
        return used.first(["shop"], may_go=lambda one: one.uid not in excluded, now=now)

    victim = choose()
    assert choose() == victim, "the same answer on every call"
    return victim


def test_the_least_recently_used_gives_way() -> None:
    victim = choose_victim([active("a", 30), active("b", 10), active("c", 20)], excluded=(), now=at(100))
    assert victim is not None
    assert victim.key.name == "b"


def test_pinned_settling_and_opening_sessions_do_not_give_way() -> None:
    kept = [
        active("pinned", 1, pinned=True),
        active("settling", 2, phase=Phase.SETTLING),
        active("paying", 3, paying=True),
        active("opening", 4, phase=Phase.OPENING),
    ]
    assert choose_victim(kept, excluded=(), now=at(100)) is None
    assert not any(is_evictable(one) for one in kept)


def test_nobody_is_asked_twice() -> None:
    sessions = [active("a", 10), active("b", 20)]
    victim = choose_victim(sessions, excluded={sessions[0].uid}, now=at(100))
    assert victim is not None
    assert victim.key.name == "b"


def test_use_and_pinning_after_the_note_count() -> None:
    known = {one.key: one for one in (active("a", 10), active("b", 20), active("c", 30))}
    used = Candidates(known)
    for one in known.values():
        used.note(one)

    def change(one: Session) -> None:
        known[one.key] = one
        used.note(one)

    change(active("a", 40))
    change(active("b", 20, pinned=True))
    assert (victim := used.first(["shop"], may_go=anybody, now=at(100))) is not None
    assert victim.key.name == "c"
    change(active("b", 20))
    assert (victim := used.first(["shop"], may_go=anybody, now=at(100))) is not None
    assert victim.key.name == "b"
    known.clear()
    assert used.first(["shop"], may_go=anybody, now=at(100)) is None


def test_who_holds_money_goes_after_those_who_hold_none() -> None:
    sessions = [active("funded", 10, money=True), active("empty", 90), active("also-funded", 20, money=True)]
    victim = choose_victim(sessions, excluded=(), now=at(100))
    assert victim is not None
    assert victim.key.name == "empty"
    victim = choose_victim(sessions, excluded={victim.uid}, now=at(100))
    assert victim is not None
    assert victim.key.name == "funded"


def test_a_session_that_was_paid_out_or_paid_after_the_note_is_found_where_it_belongs_now() -> None:
    known = {one.key: one for one in (active("a", 10), active("b", 20))}
    used = Candidates(known)
    for one in known.values():
        used.note(one)
    for money, first in ((True, "b"), (False, "a"), (True, "b")):
        changed = active("a", 10, money=money)
        known[changed.key] = changed
        used.note(changed)
        assert (victim := used.first(["shop"], may_go=anybody, now=at(100))) is not None
        assert victim.key.name == first


def test_a_change_of_the_spec_that_nobody_has_noted_is_use_for_the_ttl_and_for_the_cap() -> None:
    """Point 23: a session whose spec was just patched was still the oldest to the one, and fresh to the other."""
    patched = session(
        "patched", phase=Phase.ACTIVE, generation=2, status=dict(active("x", 1).status) | {"observedGeneration": 1}
    )
    victim = choose_victim([patched, active("idle", 5)], excluded=(), now=at(100))
    assert victim is not None
    assert victim.key.name == "idle"


@pytest.mark.parametrize(
    ("status", "protected", "money"),
    [
        ({}, False, True),
        ({"funding": {"state": "Awaiting", "received": "0"}, "balance": {"total": "0"}}, False, False),
        ({"funding": {"state": "Awaiting", "received": "0"}}, False, False),
        ({"funding": {"state": "Mempool", "received": "1"}, "balance": {"total": "1"}}, True, True),
        ({"funding": {"state": "Confirming", "received": "1"}, "balance": {"total": "1"}}, True, True),
        ({"funding": {"state": "Partial", "received": "1"}, "balance": {"total": "1"}}, False, True),
        ({"funding": {"state": "Partial", "received": "1", "pending": "1"}, "balance": {"total": "1"}}, True, True),
        ({"funding": {"state": "Confirmed", "received": "1"}, "balance": {"total": "1"}}, False, True),
        ({"funding": {"state": "Confirmed", "received": "1"}, "balance": {"total": "0"}}, False, False),
        ({"funding": {"state": "Confirmed", "received": "1"}}, False, True),
        (
            {
                "funding": {"state": "Confirmed", "received": "1"},
                "conditions": [{"type": "Funded", "status": "Unknown", "reason": "KeyImagesNeeded"}],
            },
            True,
            True,
        ),
    ],
)
def test_money_on_its_way_stops_the_clocks_and_money_that_is_there_keeps_the_object(
    status: dict[str, object], protected: bool, money: bool
) -> None:
    subject = session(phase=Phase.ACTIVE, status=status)
    assert is_protected(subject) is protected
    assert is_evictable(subject) is not protected
    assert may_hold_money(subject) is money


def test_nobody_gives_way_before_the_minimum_stay() -> None:
    subject = active("a", 10)
    assert not has_stayed(subject, now=at(59), min_stay=timedelta(seconds=60))
    assert has_stayed(subject, now=at(60), min_stay=timedelta(seconds=60))
    assert not has_stayed(session(phase=Phase.ACTIVE), now=at(10**6), min_stay=timedelta(0)), "not open yet"


@pytest.mark.parametrize(
    ("places", "from_whom"),
    [
        ({"shop": 10}, {"shop"}),
        ({"shop": 5, "other": 5}, {"shop"}),
        ({"shop": 5, "other": 6}, {"shop"}),
        ({"shop": 4, "other": 6}, {"shop", "other"}),
        ({"other": 10}, {"other"}),
        ({"other": 1, "third": 1}, {"other", "third"}),
        ({"other": 1, "third": 2}, {"third"}),
    ],
)
def test_no_namespace_takes_places_from_one_that_has_no_more_than_it(
    places: dict[str, int], from_whom: set[str]
) -> None:
    assert set(evictable_namespaces("shop", places)) == from_whom


_ONE = st.tuples(
    st.integers(0, 50), st.booleans(), st.sampled_from([Phase.ACTIVE, Phase.SETTLING]), st.booleans(), st.booleans()
)


@given(st.lists(_ONE, max_size=12), st.sets(st.integers(0, 11)))
def test_i5_the_victim_is_the_oldest_that_may_go(
    drawn: list[tuple[int, bool, Phase, bool, bool]], asked: set[int]
) -> None:
    sessions = [
        active(f"s{n}", used, pinned=pinned, phase=phase, paying=paying, money=money)
        for n, (used, pinned, phase, paying, money) in enumerate(drawn)
    ]
    excluded = {sessions[n].uid for n in asked if n < len(sessions)}
    may_go = [
        (money, used, f"s{n}")
        for n, (used, pinned, phase, paying, money) in enumerate(drawn)
        if not pinned and phase is Phase.ACTIVE and not paying and sessions[n].uid not in excluded
    ]
    victim = choose_victim(sessions, excluded=excluded, now=at(1000))
    assert (victim.key.name if victim else None) == (min(may_go)[2] if may_go else None)


@given(st.integers(1, 20), st.integers(0, 25), st.integers(0, 10), st.integers(0, 10))
def test_i5_just_as_many_go_as_are_needed(max_active: int, holders: int, waiting: int, yielding: int) -> None:
    yielding = min(yielding, holders)
    more = evictions_needed(max_active=max_active, active=holders, waiting=waiting, evicting=yielding)
    after = holders - yielding - more + waiting
    assert 0 <= more <= holders
    if after > max_active:
        assert more == holders
    elif more:
        assert after == max_active
