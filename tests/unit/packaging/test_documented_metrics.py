"""The documentation's list of metrics is the whole list, and has nothing that is not there."""

from __future__ import annotations

import re
from collections import Counter

from prometheus_client import CollectorRegistry

from escrow_gateway import meters as gateway
from escrow_operator.services.reporting.statistics import Statistics
from escrow_operator.services.runtime import meters as operator
from escrow_operator.services.slots.capacity import Capacity
from testbed.settings import REPO_ROOT
from unit.world.context import make_context

SECTION = (REPO_ROOT / "docs" / "reference" / "metrics.md").read_text()


def named(text: str) -> set[str]:
    """Metrics in backticks, without labels; a family of counters is called so without its ending."""
    found = re.findall(r"`([a-z_]+)(?:\{[^}`]*\})?`", text)
    return {name.removesuffix("_total") for name in found} - {"xmr_escrow_", "xmr_escrow_gateway_"}


def there(registry: CollectorRegistry, prefix: str) -> set[str]:
    return {family.name.removeprefix(f"{prefix}_") for family in registry.collect()}


def test_the_operators() -> None:
    class FakeKube:
        def __init__(self) -> None:
            self.requests: Counter[tuple[str, str]] = Counter()

    registry = CollectorRegistry()
    ctx = make_context(FakeKube())
    operator.Meters(registry)
    operator.LeaderMeters(registry)
    Statistics(ctx, Capacity(ctx), registry)
    table = "".join(line for line in SECTION.splitlines() if line.startswith("|"))
    # process_* has a star.
    assert named(table) == there(registry, operator.PREFIX)


def test_the_gateways() -> None:
    registry = CollectorRegistry()
    gateway.Meters(registry)
    text = SECTION.partition("The gateway has them")[2].partition("\n\n")[0]
    assert named(text) == there(registry, gateway.PREFIX)
