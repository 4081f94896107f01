"""First come, first served."""

from __future__ import annotations

from escrow_operator.services.line import Line
from unit.factories import at, session


def test_the_older_session_comes_first_whenever_it_joined() -> None:
    line = Line()
    old, young = session("old", created=at(0)), session("young", created=at(9))
    assert line.join(young)
    assert line.join(old)
    assert not line.join(old)
    assert line.in_order() == [old.key, young.key]
    assert (line.ahead(old), line.ahead(young)) == (0, 1)


def test_who_has_left_is_ahead_of_nobody() -> None:
    line = Line()
    old, young = session("old", created=at(0)), session("young", created=at(9))
    line.join(old)
    assert line.ahead(young) == 1
    assert line.leave(old.key)
    assert not line.leave(old.key)
    assert (line.ahead(young), len(line)) == (0, 0)
