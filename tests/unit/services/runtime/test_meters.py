"""What is counted is there from the start, under names that dashboards and alerts know, with bounded labels."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from escrow_operator.services.runtime import meters
from escrow_operator.services.runtime.meters import PREFIX, Meters


def described(registry: CollectorRegistry) -> set[str]:
    return {family.name for family in registry.collect()}


def test_each_has_the_prefix_and_a_text() -> None:
    registry = CollectorRegistry()
    Meters(registry)
    for family in registry.collect():
        assert family.name.startswith(f"{PREFIX}_")
        assert family.documentation.endswith(".")


def test_two_operators_in_one_process_count_apart() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    Meters(one).events_lost.inc()
    Meters(other)
    assert b"xmr_escrow_events_lost_total 1.0" in generate_latest(one)
    assert b"xmr_escrow_events_lost_total 0.0" in generate_latest(other)


@pytest.mark.parametrize("buckets", [meters.READY_BUCKETS, meters.STAGE_BUCKETS, meters.QUEUE_BUCKETS])
def test_no_bucket_is_empty_by_its_bounds(buckets: tuple[float, ...]) -> None:
    assert list(buckets) == sorted(set(buckets))
