"""What a condition says reaches terminals, whoever wrote a part of it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.conditions import MAX_MESSAGE, Condition, merge_conditions
from escrow_operator.models.common import printable
from unit.factories import T0


@given(st.text(st.characters(exclude_categories=())))
def test_any_message_is_fit_for_a_terminal_and_for_the_api(message: str) -> None:
    (written,) = merge_conditions([], [Condition("Ready", False, "Reason", message)], generation=1, now=T0)

    assert written["message"].isprintable()
    assert len(written["message"]) <= MAX_MESSAGE
    assert json.loads(json.dumps(written, ensure_ascii=False).encode()) == written


@given(st.text(), st.integers(1, 20))
def test_what_is_printable_and_short_stays_as_it_is(text: str, limit: int) -> None:
    seen = printable(text, limit)

    assert len(seen) <= limit
    if text.isprintable() and len(text) <= limit:
        assert seen == text
    assert printable(seen, limit) == seen
