"""The statistics of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.measuring import percentile, spread, summary


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 5), (90, 9), (95, 10), (100, 10)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], percent) == value


def test_one_value_is_all_of_its_percentiles() -> None:
    assert spread([3.0]) == {"p50": 3.0, "p95": 3.0, "max": 3.0}


def test_a_summary_is_median_and_extremes() -> None:
    assert summary([4.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 4.0}
