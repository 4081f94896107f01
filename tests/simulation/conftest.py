"""Fixtures of the tests in the simulated world."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import pytest

from simulation.workers import workers


@pytest.fixture(scope="session")
def pool() -> Iterator[Executor]:
    """Processes that play worlds."""
    with workers() as found:
        yield found
