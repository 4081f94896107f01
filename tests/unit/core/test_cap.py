"""Who gives way at the cap (invariant I5), against a simple model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.cap import evictions_needed, is_evictable
from escrow_operator.models.common import format_time
from escrow_operator.models.session import Phase, Session
from escrow_operator.services.indexes import LeastRecentlyUsed
from unit.factories import at, session

PAYOUT = {"settlement": {"outcome": "Refund", "txid": "e" * 64}}


def active(name: str, used: int, *, pinned: bool = False, phase: Phase = Phase.ACTIVE, paying: bool = False) -> Session:
    return session(
        name,
        phase=phase,
        spec={"eviction": "Never" if pinned else "LRU"} | (PAYOUT if paying else {}),
        status={"lastActivityTime": format_time(at(used))},
    )


def anybody(_: str) -> bool:
    return True


def choose_victim(sessions: Sequence[Session], *, excluded: Collection[str], now: datetime) -> Session | None:
    used = LeastRecentlyUsed({one.key: one for one in sessions})
    for one in sessions:
        used.note(one)
    victim = used.first(may_go=lambda uid: uid not in excluded, now=now)
    assert used.first(may_go=lambda uid: uid not in excluded, now=now) == victim, "the same answer on every call"
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
    used = LeastRecentlyUsed(known)
    for one in known.values():
        used.note(one)

    def change(one: Session) -> None:
        known[one.key] = one
        used.note(one)

    change(active("a", 40))
    change(active("b", 20, pinned=True))
    assert (victim := used.first(may_go=anybody, now=at(100))) is not None
    assert victim.key.name == "c"
    change(active("b", 20))
    assert (victim := used.first(may_go=anybody, now=at(100))) is not None
    assert victim.key.name == "b"
    known.clear()
    assert used.first(may_go=anybody, now=at(100)) is None


_ONE = st.tuples(st.integers(0, 50), st.booleans(), st.sampled_from([Phase.ACTIVE, Phase.SETTLING]), st.booleans())


@given(st.lists(_ONE, max_size=12), st.sets(st.integers(0, 11)))
def test_i5_the_victim_is_the_oldest_that_may_go(drawn: list[tuple[int, bool, Phase, bool]], asked: set[int]) -> None:
    sessions = [
        active(f"s{n}", used, pinned=pinned, phase=phase, paying=paying)
        for n, (used, pinned, phase, paying) in enumerate(drawn)
    ]
    excluded = {sessions[n].uid for n in asked if n < len(sessions)}
    may_go = [
        (used, f"s{n}")
        for n, (used, pinned, phase, paying) in enumerate(drawn)
        if not pinned and phase is Phase.ACTIVE and not paying and sessions[n].uid not in excluded
    ]
    victim = choose_victim(sessions, excluded=excluded, now=at(1000))
    assert (victim.key.name if victim else None) == (min(may_go)[1] if may_go else None)


@given(st.integers(1, 20), st.integers(0, 25), st.integers(0, 10), st.integers(0, 10))
def test_i5_just_as_many_go_as_are_needed(max_active: int, holders: int, waiting: int, yielding: int) -> None:
    yielding = min(yielding, holders)
    more = evictions_needed(max_active=max_active, active=holders, waiting=waiting, yielding=yielding)
    after = holders - yielding - more + waiting
    assert 0 <= more <= holders
    if after > max_active:
        assert more == holders
    elif more:
        assert after == max_active
