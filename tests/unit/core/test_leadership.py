"""Nobody takes a lease whose holder may still act, by whatever clocks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.leadership import Holding, Observed, Timing, holds_until, observe, seconds_to_wait, taken

TIMING = Timing(lease=15.0, renew=10.0, retry=2.0)
ME, OTHER = "pod-me", "pod-other"


def held(holder: str = OTHER, *, term: int = 3, version: str = "7") -> Holding:
    return Holding(holder, term, TIMING.lease, version)


def seen(holding: Holding | None, before: Observed | None = None, *, now: float = 100.0) -> Observed:
    return observe(before, holding, me=ME, now=now, lease=TIMING.lease)


def test_a_lease_that_is_not_there_was_deleted_and_its_holder_may_not_know_yet() -> None:
    found = seen(None)
    assert seconds_to_wait(found, now=100.0) == TIMING.lease
    assert found.term == 0


def test_so_was_one_that_was_ones_own_before() -> None:
    """Somebody else may have taken it in between."""
    mine = taken(seen(held(ME)), 4)
    found = seen(None, mine, now=200.0)
    assert (seconds_to_wait(found, now=200.0), found.term) == (TIMING.lease, 4)


def test_one_without_a_holder_may_be_taken_at_once() -> None:
    assert seconds_to_wait(seen(held("", term=0)), now=100.0) == 0


def test_one_that_is_held_is_left_alone_from_when_it_was_seen_first() -> None:
    first = seen(held(), now=100.0)
    again = seen(held(), first, now=114.0)
    assert again is first
    assert [seconds_to_wait(again, now=now) for now in (100.0, 114.0, 115.0, 200.0)] == [15.0, 1.0, 0.0, 0.0]


def test_each_renewal_begins_the_wait_anew() -> None:
    first = seen(held(version="7"), now=100.0)
    again = seen(held(version="8"), first, now=114.0)
    assert seconds_to_wait(again, now=114.0) == 15.0


def test_its_holder_says_for_how_long() -> None:
    found = seen(Holding(OTHER, 3, 60.0, "7"))
    assert seconds_to_wait(found, now=100.0) == 60.0


def test_one_that_was_released_or_is_our_own_is_free() -> None:
    for holder in ("", ME):
        assert seconds_to_wait(seen(held(holder)), now=100.0) == 0


def test_the_holder_of_one_that_was_deleted_does_not_know_yet() -> None:
    gone = seen(None, seen(held(), now=100.0), now=110.0)
    assert seconds_to_wait(gone, now=110.0) == 15.0
    assert seconds_to_wait(seen(None, gone, now=120.0), now=120.0) == 5.0
    assert gone.term == 3, "terms go on"


def test_terms_grow() -> None:
    found = seen(held(term=3))
    # Made anew by somebody who knows nothing of the former one.
    assert seen(held(term=1, version="9"), found).term == 3
    assert seen(held(term=4, version="9"), found).term == 4


seconds = st.floats(0, 30)


@given(
    renewed=st.lists(seconds, min_size=1, max_size=5),
    transit=seconds,
    looks=st.lists(seconds, min_size=1, max_size=8),
    ahead=st.floats(-1e6, 1e6),
)
def test_nobody_else_leads_while_the_holder_may_act(
    renewed: list[float], transit: float, looks: list[float], ahead: float
) -> None:
    """``ahead`` is by how much the candidate's clock differs: those of two machines have nothing in common."""
    sent, arrivals, now = 0.0, list[float](), 0.0
    for pause in renewed:
        now += pause
        sent = now
        # A renewal may be seen at any time from when it was sent on.
        arrivals.append(now + transit)
    observed: Observed | None = None
    at = 0.0
    for pause in looks:
        at += pause
        version = str(sum(arrival <= at for arrival in arrivals))
        observed = observe(observed, held(version=version), me=ME, now=at + ahead, lease=TIMING.lease)
        if seconds_to_wait(observed, now=at + ahead) > 0:
            continue
        # It takes the lease by a patch of the version it saw: one that was renewed since is refused.
        if all(arrival <= at for arrival in arrivals):
            assert at + 1e-6 >= holds_until(sent, TIMING) + (TIMING.lease - TIMING.renew)
            return


def test_one_request_leaves_time_for_another() -> None:
    assert 2 * TIMING.patience <= TIMING.renew
