"""When what did not work is tried again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.backoff import (
    LONGEST_MEND,
    LONGEST_TRY_SECONDS,
    OPENING_DEADLINE,
    Opening,
    failed_again,
    is_to_be_tried,
    look_again_after,
)
from escrow_operator.models.common import Label, format_time
from escrow_operator.models.session import Session
from unit.factories import at, session


def noted(opening: Opening, **options: Any) -> Session:
    """A session whose status has it, for the generation that it has."""
    generation = options.pop("observed", 1)
    return session(status={"opening": opening.to_status(), "observedGeneration": generation}, **options)


def after(failures: int, *, seconds: float = 0) -> Opening:
    """What is known after so many failures at the same time."""
    opening = Opening.failed(session(), at(seconds))
    for _ in range(failures - 1):
        opening = Opening.failed(noted(opening), at(seconds))
    return opening


def test_tries_are_further_and_further_apart() -> None:
    assert [after(n).delay for n in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]


@given(st.integers(1, 10**9))
def test_no_number_of_tries_makes_more_than_the_longest_delay(attempts: int) -> None:
    opening = Opening(at(0), attempts, None, replaced=False)
    assert 0 < opening.delay <= LONGEST_TRY_SECONDS


def test_the_number_of_tries_outlives_the_operator() -> None:
    opening = after(4)
    assert Opening.of(noted(opening)) == opening


def test_a_change_of_the_spec_and_a_touch_begin_anew() -> None:
    opening = after(9)
    touched = {Label.TOUCH: "2026-01-01T00:10:00Z"}
    for mended in (noted(opening, generation=2), noted(opening, annotations=touched)):
        assert Opening.of(mended) is None
        assert Opening.failed(mended, at(600)).attempts == 1


def test_one_touch_counts_once_and_one_that_cannot_be_read_does_not() -> None:
    for text in ("2026-01-01T00:10:00Z", "2999-01-01T00:00:00Z", "x" * 10_000):
        touched = {Label.TOUCH: text}
        first = Opening.failed(session(annotations=touched), at(0))
        assert len(str(first.to_status())) < 200
        assert Opening.failed(noted(first, annotations=touched), at(9)).attempts == 2


def test_opening_is_overdue_after_its_deadline_whatever_the_clock_did() -> None:
    start = after(1, seconds=1000)
    assert not start.is_overdue(at(1000))
    assert start.is_overdue(at(1000) + OPENING_DEADLINE)
    set_back = Opening.failed(noted(start), at(0))
    assert set_back.is_overdue(at(0) + OPENING_DEADLINE)


def failed(before: dict[str, Any] | None = None, *, again: bool = True, secrets: str = "1", now: float = 0) -> Session:
    """A session after a failure, with its former one in the status."""
    found = session(status={"failure": before} if before else {})
    return session(status={"failure": failed_again(found, secrets, again=again, now=at(now))})


def test_a_failed_session_looks_again_slowly_and_ever_more_slowly() -> None:
    found, delays, now = failed(), [], 0.0
    for _ in range(5):
        wait = next(s for s in range(60, 7200, 60) if is_to_be_tried(found, at(now + s)))
        delays.append(wait / 60)
        now += wait
        found = failed(found.status["failure"], now=now)
    assert delays == [10, 20, 40, 60, 60]


def test_a_wrong_password_is_never_tried_again_by_itself() -> None:
    found = failed(again=False)
    assert not any(is_to_be_tried(found, at(seconds)) for seconds in (0, 600, 3600, 10**7))


def test_another_secret_makes_the_next_failure_the_first() -> None:
    found = failed(failed().status["failure"])
    assert found.status["failure"]["tries"] == 2
    assert failed(found.status["failure"], secrets="2").status["failure"]["tries"] == 1


def test_a_clock_that_is_set_back_by_years_does_not_make_a_session_wait_for_years() -> None:
    found = failed(now=10**8)
    assert is_to_be_tried(found, at(0))
    assert not is_to_be_tried(found, at(10**8))
    assert is_to_be_tried(found, at(10**8) + LONGEST_MEND)


def test_a_failure_of_before_this_version_waits_for_a_change_as_it_did() -> None:
    assert not is_to_be_tried(session(status={"failure": {"generation": 1, "secrets": "1"}}), at(10**7))


def waiting(status: str) -> Session:
    ready = {"type": "Ready", "status": status, "reason": "SecretNotFound", "lastTransitionTime": format_time(at(0))}
    return session(status={"conditions": [ready]})


def test_i10_who_waits_for_long_is_looked_at_seldom() -> None:
    """Ten thousand sessions that name Secrets which are not there asked for six thousand of them a second."""
    delays = [look_again_after(waiting("False"), 5.0, now=at(seconds)) for seconds in (-60, 0, 50, 600, 86_400)]
    assert delays == [5.0, 5.0, 5.0, 60.0, LONGEST_TRY_SECONDS]
    assert look_again_after(waiting("True"), 5.0, now=at(86_400)) == 5.0
    assert look_again_after(session(), 5.0, now=at(86_400)) == 5.0
