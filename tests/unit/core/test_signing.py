"""Signing rounds as they are noted on a session."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.signing import EXCHANGE, ROUND, Round, is_exchanging, read_rounds, write_rounds
from escrow_operator.models.common import Role, format_time
from unit.factories import at

NOW = at(1000)


def test_a_round_is_read_as_it_was_written_until_it_is_over() -> None:
    rounds = {Role.BUYER: Round("buyers", at(1500)), Role.VENDOR: Round("vendors", at(1200))}
    text = write_rounds(rounds)
    assert read_rounds(text, now=NOW) == rounds
    assert set(read_rounds(text, now=at(1200))) == {Role.BUYER}
    assert read_rounds(text, now=at(1500)) == {}


def test_a_round_far_ahead_is_none() -> None:
    """Whoever may annotate a session could else keep the operator from it for ever."""
    assert read_rounds(write_rounds({Role.BUYER: Round("x", NOW + 3 * ROUND)}), now=NOW) == {}


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "x", "[]", "7", "null", '{"buyer": 1}', '{"broker": {"by": "x", "until": "y"}}', "[" * 2000),
        *('{"buyer": {"by": "x", "until": "2026-01-01"}}', '{"buyer": {"by": "x", "until": 5}}'),
        "{" + " " * 5000 + "}",
    ],
)
def test_what_is_not_readable_is_no_round(text: str | None) -> None:
    assert read_rounds(text, now=NOW) == {}


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    read_rounds(text, now=NOW)
    is_exchanging(text, now=NOW)


def test_an_exchange_is_under_way_for_a_while() -> None:
    text = format_time(NOW)
    assert is_exchanging(text, now=NOW)
    assert is_exchanging(text, now=NOW + timedelta(seconds=5))
    assert not is_exchanging(text, now=NOW + EXCHANGE)
    assert is_exchanging(text, now=NOW - timedelta(seconds=5)), "of a clock that is ahead"
    assert not is_exchanging(text, now=NOW - EXCHANGE), "nobody writes so far ahead in good faith"
    assert not is_exchanging(None, now=NOW)
