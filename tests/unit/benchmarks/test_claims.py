"""What the benchmark of claims makes of its figures."""

from __future__ import annotations

from typing import Any

from benchmarks import claims
from benchmarks.fleet.numbers import Scrape

RAW: dict[str, Any] = {
    "10/s": {
        "sessions": 2,
        "claim_seconds": {"p50": 0.1, "p90": 0.2, "p99": 0.3, "max": 0.3},
        "per_second": 40.0,
        "errors": 0,
    }
}


def step(title: str, **changed: Any) -> dict[str, Any]:
    return {
        "title": title,
        "sessions": 2,
        "claim_seconds": {"p50": 0.4, "p90": 0.5, "p99": 0.6, "max": 0.6},
        "per_second": 10.0,
        "errors": 0,
        "claimed_twice": 0,
        "incomplete": 0,
        "requests_per_claim": 12.5,
        "cpu_seconds_per_session": 0.02,
        "memory_bytes": 90e6,
        **changed,
    }


def test_ratios_compare_the_same_load() -> None:
    figures = claims._figures([step("1/s", per_second=1.0), step("10/s")], RAW)
    assert (figures["saturation"], figures["saturation_to_raw"], figures["p50_to_raw"]) == (10.0, 0.25, 4.0)
    text = claims.as_text(figures)
    assert "saturation: 10.0 sessions/s, 0.25 of the raw API; p50 is 4.0 times the raw API's" in text
    assert len({len(line) for line in text.splitlines()[:3]}) == 1


def test_metrics_that_are_missing_are_left_out() -> None:
    bare = step("10/s", requests_per_claim=None, cpu_seconds_per_session=None, memory_bytes=None)
    figures = claims._figures([bare], RAW)
    assert claims.counts(figures) == {"claimed_twice": 0, "incomplete": 0, "errors": 0}
    assert "-" in claims.as_text(figures)
    assert claims._costs(Scrape.parse(""), 10, seconds=1.0)["requests_per_claim"] is None


def test_counts_add_up_what_went_wrong_in_any_step() -> None:
    figures = claims._figures([step("1/s", claimed_twice=1), step("10/s", errors=2, requests_per_claim=11.0)], RAW)
    assert claims.counts(figures) == {"claimed_twice": 1, "incomplete": 0, "errors": 2, "requests_per_claim": 11.0}


def test_requests_of_pools_and_lists_are_not_a_claims() -> None:
    text = "\n".join(
        f'xmr_escrow_api_requests_total{{verb="{verb}",resource="{resource}"}} {number}'
        for verb, resource, number in [
            ("patch", "pods", 30),
            ("patch", "escrowsessions/status", 20),
            ("list", "pods", 7),
            ("patch", "walletpools/status", 9),
        ]
    )
    costs = claims._costs(Scrape.parse(f"# TYPE xmr_escrow_api_requests counter\n{text}\n"), 10, seconds=1.0)
    assert costs["requests_per_claim"] == 5.0
    assert costs["requests"]["patch walletpools/status"] == 0.9
