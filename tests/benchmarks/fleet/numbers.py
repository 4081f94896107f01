"""What is made of measurements: percentiles, differences of metrics, growth."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and max by the nearest rank, in the unit of the values; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    ranks = {f"p{p}": ordered[max(0, math.ceil(p / 100 * len(ordered)) - 1)] for p in (50, 90, 99)}
    return {**ranks, "max": ordered[-1]}


def growth(points: Iterable[tuple[float, float | None]]) -> float | None:
    """The exponent b of y ~ x^b, by least squares of the logarithms: 1 is linear. None without two points."""
    logs = [(math.log(x), math.log(y)) for x, y in points if y is not None and y > 0]
    if len(logs) < 2:
        return None
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread if spread else None


class Scrape:
    """The metrics of the operator at one moment. What it does not expose is None or empty."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    @classmethod
    def parse(cls, text: str) -> Scrape:
        """From Prometheus' text format."""
        samples: Samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name, frozenset(sample.labels.items())] = sample.value
        return cls(samples)

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the samples of a name that carry the labels; None when there is none."""
        wanted = labels.items()
        found = [v for (n, have), v in self._samples.items() if n == name and all(pair in have for pair in wanted)]
        return sum(found) if found else None

    def by_labels(self, name: str, *keys: str) -> dict[str, float]:
        """The values of a name, added up by the values of some labels, such as ``patch pods``."""
        sums: defaultdict[str, float] = defaultdict(float)
        for (n, have), value in self._samples.items():
            if n == name:
                labels = dict(have)
                sums[" ".join(labels[key] for key in keys if key in labels)] += value
        return dict(sums)

    def since(self, earlier: Scrape) -> Scrape:
        """The differences, for counters, sums and buckets."""
        return Scrape({key: value - earlier._samples.get(key, 0.0) for key, value in self._samples.items()})

    def mean(self, name: str, **labels: str) -> float | None:
        """The mean of a histogram or summary; None without an observation."""
        count, total = self.value(f"{name}_count", **labels), self.value(f"{name}_sum", **labels)
        return total / count if count and total is not None else None

    def quantile_bound(self, name: str, q: float, **labels: str) -> float | None:
        """The upper bound of the histogram bucket that holds the quantile; infinite above the last."""
        wanted = labels.items()
        buckets: dict[float, float] = defaultdict(float)
        for (n, have), value in self._samples.items():
            if n == f"{name}_bucket" and all(pair in have for pair in wanted):
                buckets[float(dict(have)["le"])] += value
        if not buckets or not (total := buckets.get(math.inf)):
            return None
        return min(bound for bound, count in buckets.items() if count >= q * total)


def per(values: Mapping[str, float], divisor: float) -> dict[str, float]:
    """Each value divided, rounded to 4 digits, the largest first; zeros are left out."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    return {key: round(value / divisor, 4) for key, value in ordered if value}
