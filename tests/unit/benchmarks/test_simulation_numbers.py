"""What is made of measurements."""

from __future__ import annotations

import pytest

from benchmarks.fleet.numbers import Scrape, growth, per, percentiles

METRICS = """\
# TYPE xmr_escrow_api_requests_total counter
xmr_escrow_api_requests_total{verb="patch",resource="pods"} %d
xmr_escrow_api_requests_total{verb="get",resource="secrets"} 5
# TYPE xmr_escrow_queue_wait_seconds histogram
xmr_escrow_queue_wait_seconds_bucket{queue="sessions",le="0.1"} %d
xmr_escrow_queue_wait_seconds_bucket{queue="sessions",le="1.0"} 100
xmr_escrow_queue_wait_seconds_bucket{queue="sessions",le="+Inf"} 100
xmr_escrow_queue_wait_seconds_count{queue="sessions"} 100
xmr_escrow_queue_wait_seconds_sum{queue="sessions"} 20
"""


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([float(n) for n in range(1, 101)]) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert percentiles([2.0]) == {"p50": 2, "p90": 2, "p99": 2, "max": 2}
    assert percentiles([]) == {}


def test_growth_is_the_exponent() -> None:
    assert growth([(n, 3.0 * n) for n in (100, 1000, 10000)]) == pytest.approx(1)
    assert growth([(n, 7.0 * n**2) for n in (50, 800)]) == pytest.approx(2)
    assert growth([(n, 5.0) for n in (50, 800)]) == pytest.approx(0)
    assert growth([(50, 1.0), (100, None)]) is None


def test_metrics_are_read_by_labels_and_differences() -> None:
    before, after = Scrape.parse(METRICS % (1, 50)), Scrape.parse(METRICS % (4, 95))
    assert after.value("xmr_escrow_api_requests_total") == 9
    assert after.value("xmr_escrow_api_requests_total", verb="patch") == 4
    assert after.value("process_cpu_seconds_total") is None
    difference = after.since(before)
    requests = difference.by_labels("xmr_escrow_api_requests_total", "verb", "resource")
    assert requests == {"patch pods": 3, "get secrets": 0}
    assert per(requests, 2) == {"patch pods": 1.5}


def test_histograms_give_means_and_bounds_of_quantiles() -> None:
    scrape = Scrape.parse(METRICS % (1, 95))
    name = "xmr_escrow_queue_wait_seconds"
    assert scrape.mean(name, queue="sessions") == pytest.approx(0.2)
    assert scrape.quantile_bound(name, 0.5, queue="sessions") == 0.1
    assert scrape.quantile_bound(name, 0.99, queue="sessions") == 1.0
    assert scrape.quantile_bound(name, 0.5, queue="pools") is None
    assert Scrape.parse("").mean(name) is None
