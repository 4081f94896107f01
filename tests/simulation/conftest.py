"""Fixtures of the tests in the simulated world."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from simulation.workers import workers


@pytest.fixture(scope="session")
def pool() -> Iterator[Executor]:
    """Processes that play worlds."""
    with workers() as found:
        yield found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is a test in the simulated world."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.simulation)
