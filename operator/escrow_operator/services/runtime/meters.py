"""Prometheus metrics of what happens; services.reporting.statistics has those of the current state."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, Summary
from prometheus_client.registry import CollectorRegistry

PREFIX = "xmr_escrow"

READY_BUCKETS = (0.5, 1, 2, 3, 5, 8, 13, 30, 60, 120, 300)
"""Seconds from creation to Ready: opening takes 1 to 3 s, a key exchange 5 to 10 s, an empty pool more."""

STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60)
"""Seconds: an API request takes milliseconds, opening a wallet seconds."""

QUEUE_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 5, 10, 60)
"""Seconds that a reconciliation waits for its turn, or takes."""


class LeaderMeters:
    """Metrics of the election; unlike all others they are of processes that do not lead as well."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leader = Gauge(f"{PREFIX}_leader", "1 while this process leads, else 0.", registry=registry)
        self.transitions = Counter(
            f"{PREFIX}_leader_transitions", "Times that this process began to lead.", registry=registry
        )


class Meters:
    """Metrics that the services update; all start from zero when the process begins to lead."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.endings = Counter(
            f"{PREFIX}_sessions_ended", "Sessions that ended, by the phase they ended in.", ["phase"], registry=registry
        )
        self.time_to_ready = Histogram(
            f"{PREFIX}_session_ready_seconds",
            "Seconds from a session's creation to Ready for the first time.",
            buckets=READY_BUCKETS,
            registry=registry,
        )
        self.stages = Histogram(
            f"{PREFIX}_session_stage_seconds",
            "The parts of a session's way from its first sight to Ready.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.queue_wait = Histogram(
            f"{PREFIX}_queue_wait_seconds",
            "Seconds from when a look was due to when it began.",
            ["queue"],
            buckets=QUEUE_BUCKETS,
            registry=registry,
        )
        self.queue_work = Histogram(
            f"{PREFIX}_queue_work_seconds",
            "Seconds that a look took.",
            ["queue"],
            buckets=QUEUE_BUCKETS,
            registry=registry,
        )
        self.sweep = Summary(f"{PREFIX}_sweep_seconds", "Seconds that a sweep took.", registry=registry)
        self.last_sweep = Gauge(
            f"{PREFIX}_last_sweep_timestamp_seconds",
            "Unix time at which a sweep ended well last, or the operator began.",
            registry=registry,
        )
        self.sweep_interval = Gauge(
            f"{PREFIX}_sweep_interval_seconds", "The setting intervals.sweep.", registry=registry
        )
        self.wallet_requests = Counter(
            f"{PREFIX}_wallet_requests", "HTTP requests to wallet-rpc, digest challenges included.", registry=registry
        )
        self.daemon_requests = Counter(f"{PREFIX}_daemon_requests", "HTTP requests to monerod.", registry=registry)
        self.namespaces_refused = Gauge(
            f"{PREFIX}_namespaces_refused",
            "Namespaces of watchNamespaces in which the operator may not do its work.",
            registry=registry,
        )
        self.events_lost = Counter(
            f"{PREFIX}_events_lost", "Kubernetes Events that could not be written.", registry=registry
        )
