"""What the benchmark of many sessions makes of its figures, and how it tells that an operator has started."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import scale
from benchmarks.fleet.numbers import Scrape

REQUESTS = "# TYPE xmr_escrow_api_requests counter\n" + "\n".join(
    f'xmr_escrow_api_requests_total{{verb="{verb}",resource="{resource}"}} {number}'
    for verb, resource, number in [
        ("list", "pods", 9),
        ("get", "secrets", 5),
        ("patch", "pods", 3),
        ("post", "events", 1),
    ]
)


def size(sessions: int, **changed: Any) -> dict[str, Any]:
    return {
        "sessions": sessions,
        "ready_seconds": 2.0,
        "restart_seconds": 0.01 * sessions,
        "memory_bytes": 1e6 * sessions,
        "peak_memory_bytes": 2e6 * sessions,
        "cpu_cores": 1e-4 * sessions,
        "requests": {"list pods": 0.1},
        "writes": 0.0,
        "wallet_requests": 1.5,
        "queue_wait_seconds": {"mean": 0.01, "p50": 0.005, "p99": 0.1},
        "sweep_seconds": 0.2,
        "restarts": 0,
        "block_seconds": 1.0,
        "block_cpu_seconds": 0.5,
        "block_writes": 0.0,
        **changed,
    }


def figures(*sizes: dict[str, Any]) -> dict[str, Any]:
    return {"sizes": list(sizes)} | scale._growths(list(sizes))


def test_growth_and_memory_are_by_session() -> None:
    found = figures(size(50), size(200), size(800))
    assert found["growth"] == {name: pytest.approx(1) for name in scale.GROWTH}
    assert found["bytes_per_session"] == pytest.approx(1e6)
    text = scale.as_text(found)
    assert "growth exponents (1 is linear): restart_seconds 1.00" in text
    assert "memory per session: 1000.0 kB" in text
    assert len({len(line) for line in text.splitlines()[:4]}) == 1


def test_counts_are_of_what_a_busy_machine_does_not_change() -> None:
    found = scale.counts(figures(size(50, writes=2.0), size(800, restarts=1)))
    assert found["writes"] == 2
    assert found["restarts"] == 1
    assert found["growth_memory_bytes"] == pytest.approx(1)


def test_what_is_not_known_is_left_out() -> None:
    found = figures(size(50, memory_bytes=None, cpu_cores=None, restart_seconds=None), size(800, memory_bytes=None))
    assert scale.counts(found) == {"writes": 0, "restarts": 0}
    assert "-" in scale.as_text(found)


def test_only_requests_that_change_something_are_writes() -> None:
    assert scale._writes(Scrape.parse(REQUESTS + "\n")) == 4


def test_an_operator_has_started_when_it_has_looked_at_all_and_writes_no_more() -> None:
    seen = scale._Watched(start=100.0)
    seen.see(Scrape.parse(REQUESTS + "\n"), 103.0)
    seen.ready, seen.all_looked_at = 102.0, None
    assert seen.reconciled(120.0) is None
    seen.all_looked_at = 105.0
    assert seen.reconciled(105.5) is None
    assert seen.reconciled(110.0) == 5.0
    seen.see(Scrape.parse((REQUESTS + "\n").replace("} 3", "} 4")), 110.0)
    assert seen.reconciled(111.0) is None
    assert seen.reconciled(114.0) == 10.0
