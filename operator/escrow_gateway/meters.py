"""The gateway's metrics. No label names a session or a user: their number has no bound."""

from __future__ import annotations

import math

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.registry import CollectorRegistry

PREFIX = "xmr_escrow_gateway"


class Meters:
    """Counts and times requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            f"{PREFIX}_requests",
            "Requests by what they ask for and HTTP status.",
            ["access", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            f"{PREFIX}_request_seconds",
            "From the request's first byte to the answer's last one.",
            ["access"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
            registry=registry,
        )
        self.problems = Counter(f"{PREFIX}_problems", "Requests not served, by kind.", ["kind"], registry=registry)
        self.in_flight = Gauge(f"{PREFIX}_in_flight", "Requests under way.", registry=registry)
        self.touches = Counter(f"{PREFIX}_touches", "Writes that note the use of a session.", registry=registry)
        self.certificate_ends = Gauge(
            f"{PREFIX}_certificate_expiry_timestamp_seconds",
            "Unix time at which the certificate that is served ends to be valid; 0: not readable, NaN: none.",
            registry=registry,
        )
        self.certificate_ends.set(math.nan)
        self.certificate_lifetime = Gauge(
            f"{PREFIX}_certificate_lifetime_seconds",
            "For how long the certificate that is served is valid in all. NaN: there is none.",
            registry=registry,
        )
        self.certificate_lifetime.set(math.nan)
