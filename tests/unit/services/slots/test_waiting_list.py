"""First come, first served; between namespaces, whose has least."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.services.slots.waiting_list import FairWaitingList, WaitingList
from unit.factories import at, session


def test_the_older_session_comes_first_whenever_it_joined() -> None:
    line = WaitingList()
    old, young = session("old", created=at(0)), session("young", created=at(9))
    assert line.join(young)
    assert line.join(old)
    assert not line.join(old)
    assert line.in_order() == [old.key, young.key]
    assert (line.ahead(old), line.ahead(young)) == (0, 1)


def test_who_has_left_is_ahead_of_nobody() -> None:
    line = WaitingList()
    old, young = session("old", created=at(0)), session("young", created=at(9))
    line.join(old)
    assert line.ahead(young) == 1
    assert line.leave(old.key)
    assert not line.leave(old.key)
    assert (line.ahead(young), len(line)) == (0, 0)


def test_a_name_that_came_back_waits_in_its_new_place() -> None:
    line = WaitingList()
    line.join(session("back", created=at(0)))
    line.join(session("other", created=at(5)))
    assert not line.join(session("back", created=at(9)))
    assert [key.name for key in line.in_order()] == ["other", "back"]


def test_a_namespace_that_floods_the_line_delays_no_other() -> None:
    line = FairWaitingList()
    for number in range(50):
        line.join(session(f"flood-{number}", namespace="flood", created=at(number)))
    late = session("late", namespace="shop", created=at(1000))
    line.join(late)
    assert line.ahead(late, {}) == 1, "one of each, the older first"
    assert line.ahead(late, {"flood": 5}) == 0
    assert next(line.in_order({"flood": 5})) == late.key
    assert list(line.in_order({"shop": 3})).index(late.key) == 4, (
        "after the flood's first three, and the older of two fourths"
    )


_WAITERS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=15, unique=True)


@given(_WAITERS, st.dictionaries(st.sampled_from("abc"), st.integers(0, 6)), st.integers(0, 20))
def test_how_many_are_ahead_is_the_position_in_the_line(
    waiters: list[tuple[str, int]], held: dict[str, int], gone: int
) -> None:
    line = FairWaitingList()
    sessions = [session(f"s{since}", namespace=namespace, created=at(since)) for namespace, since in waiters]
    for one in sessions:
        line.join(one)
    for one in sessions[: gone % (len(sessions) + 1)]:
        assert line.leave(one.key)
    for one in sessions:
        if one.key in line:
            assert list(line.in_order(held))[line.ahead(one, held)] == one.key
    assert len(list(line.in_order(held))) == len(line)
