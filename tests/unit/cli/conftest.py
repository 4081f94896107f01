"""A command line that talks to nothing real."""

from __future__ import annotations

import pytest

from unit.cli.bench import Bench


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """With no objects."""
    return Bench(monkeypatch)
