"""Where a session's time to Ready went: the stages of the way add up to all of it, once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.runtime.meters import Meters
from escrow_operator.services.runtime.stage_timer import Stage, StageTimer
from unit.clocks import FakeClock


class Bench:
    def __init__(self) -> None:
        self.clock, self.memory = FakeClock(), Memory()
        self.meters = Meters(CollectorRegistry())
        self.timer = StageTimer(self.meters, self.clock, self.memory)
        self.memory.begin("a")

    def passes(self, seconds: float, stage: Stage, uid: str = "a") -> None:
        self.clock.seconds += seconds
        self.timer.mark(uid, stage)

    def spent(self, stage: Stage) -> Any:
        return self.meters.stages.labels(stage=stage.value)._sum.get()

    def count(self) -> int:
        """How many sessions' ways count."""
        samples = next(iter(self.meters.stages.collect())).samples
        return sum(int(s.value) for s in samples if s.name.endswith("_count") and s.labels["stage"] == "claim")


def test_each_stage_has_what_passed_since_the_one_before() -> None:
    bench = Bench()
    bench.timer.begin("a")
    bench.passes(3, Stage.QUEUE)
    bench.passes(1, Stage.CLAIM)
    bench.passes(2, Stage.QUEUE)
    bench.timer.ready("a")
    assert (bench.spent(Stage.QUEUE), bench.spent(Stage.CLAIM), bench.spent(Stage.OPEN)) == (5, 1, 0)
    assert bench.count() == 1


def test_a_session_that_was_ready_before_counts_no_more() -> None:
    """After a restart, or when it opens again, it is not on its first way."""
    bench = Bench()
    bench.timer.begin("a")
    bench.timer.ready("a")
    bench.passes(5, Stage.OPEN)
    bench.timer.ready("a")
    assert bench.count() == 1
    assert bench.spent(Stage.OPEN) == 0


def test_a_session_that_ended_on_its_way_counts_for_nothing_and_leaves_nothing() -> None:
    bench = Bench()
    bench.timer.begin("a")
    bench.passes(5, Stage.QUEUE)
    bench.memory.end("a")
    bench.passes(5, Stage.OPEN)
    bench.timer.ready("a")
    assert bench.count() == 0
    assert len(bench.memory) == 0


def test_sessions_are_timed_apart() -> None:
    bench = Bench()
    bench.memory.begin("b")
    bench.timer.begin("a")
    bench.clock.seconds += 5
    bench.timer.begin("b")
    bench.passes(1, Stage.QUEUE, "b")
    bench.timer.ready("b")
    assert bench.spent(Stage.QUEUE) == 1


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from(Stage)), max_size=20))
def test_the_stages_add_up_to_the_whole_way(way: list[tuple[int, Stage]]) -> None:
    bench = Bench()
    bench.timer.begin("a")
    for seconds, stage in way:
        bench.passes(seconds, stage)
    bench.timer.ready("a")
    assert sum(map(bench.spent, Stage)) == sum(seconds for seconds, _ in way)
