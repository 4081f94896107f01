"""The two clocks of a session (invariant I6)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.expiry import expires_at, last_activity, touched_at
from escrow_operator.models.common import Label, format_time, parse_duration
from unit.factories import at, session

TTL = timedelta(hours=2)


def test_activity_is_the_latest_of_what_is_noted() -> None:
    noted = session(status={"openedAt": format_time(at(60)), "lastActivityTime": format_time(at(90))})
    assert last_activity(noted, now=at(1000)) == at(90)


def test_a_touch_is_activity() -> None:
    touched = session(annotations={Label.TOUCH: format_time(at(500))})
    assert last_activity(touched, now=at(1000)) == at(500)


def test_a_touch_in_the_future_counts_as_now() -> None:
    touched = session(annotations={Label.TOUCH: format_time(at(10**9))})
    assert last_activity(touched, now=at(1000)) == at(1000)


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "2026-01-01T00:00:00", ""])
def test_a_touch_that_cannot_be_read_is_none(text: str) -> None:
    assert touched_at(session(annotations={Label.TOUCH: text})) is None


def test_i6_the_monitors_writes_are_no_activity() -> None:
    read = session(status={"balance": {"total": "1"}, "funding": {"confirmations": 7}, "observedGeneration": 1})
    assert last_activity(read, now=at(9999)) == at(0)


def test_the_earlier_clock_decides() -> None:
    short = session(spec={"ttl": "10m", "maxAge": "15m"})
    assert expires_at(short, idle_ttl=TTL, activity=at(0)) == at(600)
    assert expires_at(short, idle_ttl=TTL, activity=at(599)) == at(900)
    assert expires_at(session(), idle_ttl=TTL, activity=at(0)) == at(7200)


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
