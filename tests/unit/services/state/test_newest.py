"""Whatever comes late, twice or in another order: the newest version stays, and what is gone stays gone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.services.state import newest
from escrow_operator.services.state.newest import Listed, Newest

Key = tuple[str, str]
A, B = ("shop", "a"), ("shop", "b")
ELSEWHERE = ("market", "a")


@dataclass(frozen=True)
class Thing:
    uid: str
    resource_version: str


def see(state: Newest[Key, Thing], key: Key, version: int, uid: str = "u") -> bool:
    """As the store does."""
    thing = Thing(uid, str(version))
    if not state.is_news(key, thing):
        return False
    state.note(key, thing)
    return True


def level(state: Newest[Key, Thing], version: int, *uids: str, namespace: str | None = None) -> list[Key]:
    """A full list, as the store takes it."""
    listed = Listed(namespace, set(uids), str(version))
    gone = state.absent(listed)
    for key in gone:
        state.drop(key, listed.version)
    return gone


def test_versions_are_numbers_and_not_text() -> None:
    state: Newest[Key, Thing] = Newest()
    assert see(state, A, 999)
    assert see(state, A, 1000)
    assert not see(state, A, 999)
    assert state.drop(A, "999") is None
    assert A in state.known


def test_of_a_name_that_was_used_again_the_newer_object_stays_whatever_its_uid() -> None:
    state: Newest[Key, Thing] = Newest()
    assert see(state, A, 10, "second")
    assert not see(state, A, 5, "first")
    assert state.drop(A, "7") is None, "the late deletion of the first"
    assert state.known[A].uid == "second"


def test_what_was_deleted_is_not_brought_back_by_what_was_seen_before() -> None:
    state: Newest[Key, Thing] = Newest()
    see(state, A, 5)
    assert state.drop(A, "8")
    assert not see(state, A, 7)
    assert not see(state, A, 8)
    assert see(state, A, 9, "again")


def test_a_deletion_that_comes_before_its_object_is_remembered() -> None:
    state: Newest[Key, Thing] = Newest()
    assert state.drop(A, "8") is None
    assert not see(state, A, 7)


def test_of_two_deletions_the_later_counts() -> None:
    state: Newest[Key, Thing] = Newest()
    state.drop(A, "9")
    state.drop(A, "5")
    assert not see(state, A, 8)


def test_a_full_list_vouches_for_what_it_does_not_contain() -> None:
    state: Newest[Key, Thing] = Newest()
    see(state, A, 5, "a")
    see(state, B, 6, "b")
    assert level(state, 10, "b") == [A]
    assert not see(state, A, 9, "a")
    assert not see(state, ("shop", "never-seen"), 10, "c")
    assert see(state, ("shop", "new"), 11, "d")


def test_what_came_after_a_list_was_made_is_not_taken_by_it() -> None:
    state: Newest[Key, Thing] = Newest()
    see(state, A, 11, "a")
    assert level(state, 10) == []
    assert A in state.known


def test_the_list_of_one_namespace_says_nothing_of_another() -> None:
    state: Newest[Key, Thing] = Newest()
    see(state, A, 5, "a")
    see(state, ELSEWHERE, 5, "b")
    assert level(state, 10, namespace="shop") == [A]
    assert ELSEWHERE in state.known
    assert see(state, ("market", "late"), 7, "c")
    assert not see(state, ("shop", "late"), 7, "d")


def test_an_older_list_that_comes_late_takes_nothing_back() -> None:
    state: Newest[Key, Thing] = Newest()
    level(state, 20)
    level(state, 10)
    assert not see(state, A, 15)


def test_an_object_of_the_name_but_another_uid_is_absent_from_a_list() -> None:
    """It was deleted and made anew between what was seen and the list; the list's pages bring the new one."""
    state: Newest[Key, Thing] = Newest()
    see(state, A, 5, "first")
    assert level(state, 10, "second") == [A]


def test_names_that_anybody_makes_and_deletes_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "TOMBSTONES", 3)
    state: Newest[Key, Thing] = Newest()
    for number in range(10):
        state.drop(("shop", str(number)), str(100 + number))
    assert len(state._gone) == 3
    assert not see(state, ("shop", "9"), 109)
    level(state, 200)
    assert not see(state, ("shop", "0"), 100), "for those that were forgotten the list vouches"


def test_only_the_very_version_is_known() -> None:
    state: Newest[Key, Thing] = Newest()
    see(state, A, 5)
    assert state.is_known(A, "5")
    assert not state.is_known(A, "4")
    assert not state.is_known(B, "5")


HISTORY = st.lists(st.sampled_from(["make", "change", "delete"]), max_size=12)


@given(history=HISTORY, data=st.data())
def test_in_whatever_order_what_happened_is_heard_the_end_is_the_same(history: list[str], data: st.DataObject) -> None:
    """With each event at least once, and some twice."""
    told: list[tuple[str, int, str]] = []
    uid = ""
    for version, what in enumerate(history, 10):
        if what == "make" and not uid:
            uid = f"uid-{version}"
        if uid:
            told.append((what, version, uid))
            uid = "" if what == "delete" else uid
    again = data.draw(st.lists(st.sampled_from(told), max_size=5)) if told else []
    state: Newest[Key, Thing] = Newest()
    for what, version, of in data.draw(st.permutations(told + again)):
        if what == "delete":
            state.drop(A, str(version))
        else:
            see(state, A, version, of)
    there = state.known.get(A)
    expected = Thing(uid, str(told[-1][1])) if uid else None
    assert there == expected
