"""A gateway that ends with its test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from unit.adapters.conftest import serve
from unit.adapters.fake_server import Serve
from unit.gateway.bench import Bench

__all__ = ["serve"]


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> AsyncIterator[Bench]:
    """With an open session of which the buyer may call his wallet."""
    bench = Bench(monkeypatch)
    await bench.start(serve)
    yield bench
    await bench.close()
