"""The two clocks of a session (invariant I6)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.expiry import expires_at, is_too_old, is_wanted_again, last_use, read_touch, time_left
from escrow_operator.core.protection import is_protected
from escrow_operator.models.common import Label, format_time, parse_duration
from escrow_operator.models.session import Session
from unit.factories import at, session

TTL = timedelta(hours=2)


def opened(touch: str | None = None, **status: object) -> Session:
    """A session that was opened at 60 s and used last at 90 s."""
    noted = {"openedAt": format_time(at(60)), "lastActivityTime": format_time(at(90)), "observedGeneration": 1}
    return session(annotations={Label.TOUCH: touch} if touch else {}, status=noted | status)


def test_the_last_use_is_the_latest_of_what_is_noted() -> None:
    assert last_use(opened(), now=at(1000)) == at(90)


def test_a_touch_is_use() -> None:
    assert last_use(opened(format_time(at(500))), now=at(1000)) == at(500)


def test_a_touch_in_the_future_counts_once_as_the_moment_it_was_first_seen() -> None:
    future = "2999-01-01T00:00:00Z"
    assert last_use(opened(future), now=at(1000)) == at(1000)
    noted = opened(future, lastTouch=future, lastActivityTime=format_time(at(1000)))
    assert last_use(noted, now=at(5000)) == at(1000)


def test_a_note_in_the_future_counts_as_now() -> None:
    """An operator whose clock was ahead wrote it."""
    assert last_use(opened(lastActivityTime=format_time(at(10**8))), now=at(1000)) == at(1000)


@pytest.mark.parametrize(
    "text",
    ["soon", "2026-13-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00x", "\ud800"],
)
def test_a_touch_that_cannot_be_read_is_none(text: str) -> None:
    assert read_touch(text) is None
    assert last_use(opened(text), now=at(1000)) == at(90)


@given(st.text(max_size=80))
def test_no_touch_whatsoever_is_an_error_or_in_the_future(text: str) -> None:
    assert at(90) <= last_use(opened(text or None), now=at(1000)) <= at(1000)


def test_a_touch_with_another_time_zone_is_noted_in_utc() -> None:
    moment = read_touch("2026-01-01T02:00:00+02:00")
    assert moment is not None
    assert format_time(moment) == "2026-01-01T00:00:00Z"


def test_opening_and_a_change_that_is_not_noted_yet_are_use_of_now() -> None:
    assert last_use(session(), now=at(700)) == at(700)
    changed = session(generation=2, status={"openedAt": format_time(at(60)), "observedGeneration": 1})
    assert last_use(changed, now=at(700)) == at(700)


def test_i6_the_monitors_writes_are_no_activity() -> None:
    read = opened(balance={"total": "1"}, funding={"confirmations": 7})
    assert last_use(read, now=at(9999)) == at(90)


@pytest.mark.parametrize(
    ("subject", "wanted"),
    [
        (opened(), False),
        (opened("2026-01-01T00:01:30.5Z", lastTouch="2026-01-01T00:01:30.5Z"), False),
        (opened("2026-01-01T00:01:30.6Z", lastTouch="2026-01-01T00:01:30.5Z"), True),
        (opened("2999-01-01T00:00:00Z", lastTouch="2999-01-01T00:00:00Z"), False),
        (opened("nonsense", lastTouch="2999-01-01T00:00:00Z"), False),
        (session(generation=2, status={"observedGeneration": 1}), True),
        (session(generation=2, status={"observedGeneration": 1}, spec={"maxAge": "10s", "ttl": "10s"}), False),
    ],
)
def test_a_closed_session_is_wanted_again_by_a_new_touch_or_change(subject: Session, wanted: bool) -> None:
    assert is_wanted_again(subject, now=at(1000), idle_ttl=TTL) is wanted


def test_the_earlier_clock_decides() -> None:
    short = session(spec={"ttl": "10m", "maxAge": "15m"})
    assert expires_at(short, idle_ttl=TTL, activity=at(0)) == at(600)
    assert expires_at(short, idle_ttl=TTL, activity=at(599)) == at(900)
    assert expires_at(session(), idle_ttl=TTL, activity=at(0)) == at(7200)


def test_time_is_up_when_the_earlier_clock_is() -> None:
    idle = opened()
    assert time_left(idle, now=at(100), idle_ttl=TTL) == at(90) + TTL - at(100)
    assert time_left(idle, now=at(90) + TTL, idle_ttl=TTL) == timedelta()
    old = session(spec={"ttl": "1h", "maxAge": "10s"}, status=idle.status)
    assert time_left(old, now=at(100), idle_ttl=TTL) == timedelta(seconds=-90)
    assert (is_too_old(old, now=at(9)), is_too_old(old, now=at(10))) == (False, True)


def test_money_under_way_stops_the_clocks() -> None:
    paid = opened(phase="Active", funding={"state": "Mempool", "payments": 1, "pending": "1"})
    assert is_protected(paid)
    assert time_left(paid, now=at(10**6), idle_ttl=TTL) is None


@given(touches=st.lists(st.integers(0, 100_000), max_size=8), ttl=st.integers(10, 10_000), age=st.integers(10, 50_000))
def test_never_later_than_either_clock(touches: list[int], ttl: int, age: int) -> None:
    subject = session(spec={"ttl": f"{ttl}s", "maxAge": f"{max(ttl, age)}s"})
    last = at(max(touches, default=0))
    expiry = expires_at(subject, idle_ttl=TTL, activity=last)
    assert expiry == min(last + timedelta(seconds=ttl), at(max(ttl, age)))


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("1h30m5s", 5405), ("45s", 45), ("0s", 0)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "-1h", "1.5h", "1d", "5m1h", "h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_behind_the_clock_of_others_the_last_use_does_not_move_by_itself() -> None:
    ahead = session(
        created=at(5000), status={"openedAt": format_time(at(5010)), "lastActivityTime": format_time(at(1000))}
    )
    assert last_use(ahead, now=at(1030)) == last_use(ahead, now=at(1060)) == at(1000)
    assert last_use(ahead, now=at(6000)) == at(5010), "once the clocks agree it has what it is due"
    noted_ahead = session(
        created=at(0), status={"openedAt": format_time(at(10)), "lastActivityTime": format_time(at(5000))}
    )
    assert last_use(noted_ahead, now=at(1030)) == at(1030)
