"""What a process remembers goes with the object that it is about."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.services.runtime.memory import Memory


@dataclass
class Tries:
    """A record of one service."""

    number: int = 0


@dataclass
class Opened:
    """A record of another."""

    number: int = 0


def test_each_service_has_one_record_of_an_object() -> None:
    memory = Memory()
    memory.begin("a")
    memory.of("a", Tries).number = 3
    assert memory.of("a", Tries).number == 3
    assert memory.of("a", Opened).number == 0
    memory.drop("a", Tries)
    memory.drop("a", Tries)
    assert memory.of("a", Tries).number == 0


def test_an_object_that_is_seen_again_is_remembered() -> None:
    memory = Memory()
    memory.begin("a")
    memory.of("a", Tries).number = 3
    memory.begin("a")
    assert memory.of("a", Tries).number == 3


def test_a_task_that_still_works_for_what_is_gone_leaves_nothing() -> None:
    memory = Memory()
    memory.begin("a")
    memory.end("a")
    memory.of("a", Tries).number = 3
    memory.clear("a")
    memory.drop("a", Tries)
    assert len(memory) == 0
    memory.begin("a")
    assert memory.of("a", Tries).number == 0


def test_looking_for_a_record_makes_none() -> None:
    memory = Memory()
    memory.begin("a")
    assert memory.find("a", Tries) is None
    assert memory.find("a", Tries) is None
    memory.put("a", Tries(3))
    memory.put("a", Tries(4))
    assert memory.find("a", Tries) == Tries(4)
    assert memory.find("a", Opened) is None


def test_nothing_is_put_for_what_is_gone() -> None:
    memory = Memory()
    memory.put("a", Tries(3))
    assert memory.find("a", Tries) is None
    assert len(memory) == 0


def test_an_object_that_is_cleared_is_still_there() -> None:
    memory = Memory()
    memory.begin("a")
    memory.of("a", Tries).number = 3
    memory.clear("a")
    assert memory.of("a", Tries).number == 0
    memory.of("a", Tries).number = 4
    assert memory.of("a", Tries).number == 4


@given(st.lists(st.tuples(st.sampled_from(["begin", "of", "drop", "clear", "end"]), st.sampled_from("abc"))))
def test_it_holds_as_much_as_there_are_objects(steps: list[tuple[str, str]]) -> None:
    memory, there = Memory(), set[str]()
    for step, uid in steps:
        match step:
            case "begin":
                memory.begin(uid)
                there.add(uid)
            case "end":
                memory.end(uid)
                there.discard(uid)
            case "of":
                memory.of(uid, Tries).number += 1
            case "drop":
                memory.drop(uid, Tries)
            case "clear":
                memory.clear(uid)
        assert len(memory) == len(there)


def test_of_all_that_was_remembered_only_the_objects_stay() -> None:
    memory = Memory()
    for uid in ("a", "b"):
        memory.begin(uid)
        memory.of(uid, Tries).number = 3
    memory.clear_all()
    assert len(memory) == 2
    assert memory.of("b", Tries).number == 0
