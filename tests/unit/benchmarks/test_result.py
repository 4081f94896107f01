"""Results survive being written and read, and budgets speak up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.result import BUDGETS, Budget, Machine, Result, over_budget

BUDGET = Budget("scale", "writes", 0, "nothing happens")
MACHINE = Machine(cores=2, memory_bytes=2**34, cpu="a CPU", kernel="Linux 6", python="3.11.7", engine="podman 4.3.1")


def result(name: str = "open", **changes: object) -> Result:
    """A result with these fields."""
    fields = {
        "name": name,
        "command": f"python -m benchmarks {name}",
        "quick": False,
        "started": "2026-01-02T03:04:05Z",
        "seconds": 60.0,
        "commit": "abcdef0",
        "machine": MACHINE,
        "versions": {"kubernetes": "v1.34.4"},
        "counts": {},
        "figures": {},
    }
    return Result(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"writes": 0.0}, ""),
        ({"writes": 1.0}, "writes is 1"),
        ({}, "was not counted"),
        ({"writes": float("nan")}, "nan"),
    ],
)
def test_a_count_over_its_budget_is_told_and_so_is_one_that_was_not_taken(counts: dict[str, float], says: str) -> None:
    wrong = over_budget("scale", counts, [BUDGET])
    assert (says in wrong[0]) if says else not wrong


def test_budgets_of_other_benchmarks_do_not_matter() -> None:
    assert not over_budget("open", {}, [BUDGET])


def test_no_count_has_two_budgets() -> None:
    keys = [(budget.benchmark, budget.count) for budget in BUDGETS]
    assert len(set(keys)) == len(keys)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = result(figures={"seconds": [0.25, 1.5], "none": None}, counts={"writes": 0.0})
    assert Result.read(written.write(tmp_path / "new")) == written


def test_numbers_are_rounded_to_six_digits(tmp_path: Path) -> None:
    file = result(figures={"s": [0.123456789], "n": 123456789}).write(tmp_path)
    assert json.loads(file.read_text())["figures"] == {"s": [0.123457], "n": 123456789}


def test_the_machine_is_described_without_its_name_and_without_paths() -> None:
    machine = Machine.this()
    assert machine.cores >= 1
    assert machine.memory_bytes > 0
    assert "/" not in machine.kernel + machine.python + machine.engine
