"""What the operator counts, as Prometheus metrics.

Gauges are computed from the store when they are read, so that a deleted pool or session leaves no stale label behind.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import Kube
from escrow_operator.core.poolstatus import count_slots
from escrow_operator.models.common import parse_time
from escrow_operator.services.capacity import Capacity
from escrow_operator.services.store import Store

PREFIX = "xmr_escrow"

READY_BUCKETS = (0.5, 1, 2, 3, 5, 8, 13, 30, 60, 120, 300)
"""Seconds from creation to Ready: opening takes 1 to 3 s, a key exchange 5 to 10 s, an empty pool more."""


class Statistics(Collector):
    """A Prometheus collector over the store, and the counters of events that no store remembers."""

    def __init__(
        self,
        registry: CollectorRegistry,
        kube: Kube,
        store: Store,
        capacity: Capacity,
        clock: Clock,
        *,
        max_active: int,
    ) -> None:
        self._kube = kube
        self._store = store
        self._capacity = capacity
        self._clock = clock
        self._max_active = max_active
        self.endings = Counter(
            f"{PREFIX}_sessions_ended", "Sessions that ended, by the phase they ended in.", ["phase"], registry=registry
        )
        self.time_to_ready = Histogram(
            f"{PREFIX}_session_ready_seconds",
            "Seconds from a session's creation to Ready for the first time.",
            buckets=READY_BUCKETS,
            registry=registry,
        )
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The gauges as of now."""
        active = self._capacity.active()
        yield GaugeMetricFamily(f"{PREFIX}_sessions_active", "Sessions that hold slots.", len(active))
        yield GaugeMetricFamily(f"{PREFIX}_sessions_max", "The cap, sessions.maxActive.", self._max_active)
        yield GaugeMetricFamily(
            f"{PREFIX}_sessions_utilisation_ratio", "Active sessions / cap.", len(active) / self._max_active
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_session_average_age_seconds",
            "Mean time for which active sessions are open.",
            self._mean_age(active),
        )
        yield self._phases()
        yield from self._slots()
        requests = CounterMetricFamily(f"{PREFIX}_api_requests", "Requests to the API server.", labels=["verb"])
        for verb, number in self._kube.requests.items():
            requests.add_metric([verb.lower()], number)
        yield requests

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the store."""
        return ()

    def _mean_age(self, active: set[str]) -> float:
        opened = [
            parse_time(session.status["openedAt"])
            for session in self._store.sessions.values()
            if session.uid in active and "openedAt" in session.status
        ]
        now = self._clock.now()
        return sum((now - moment).total_seconds() for moment in opened) / len(opened) if opened else 0.0

    def _phases(self) -> Metric:
        family = GaugeMetricFamily(
            f"{PREFIX}_sessions", "Sessions by namespace and phase.", labels=["namespace", "phase"]
        )
        tally = Tally((session.key.namespace, session.phase.value) for session in self._store.sessions.values())
        for labels, number in tally.items():
            family.add_metric(labels, number)
        return family

    def _slots(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            f"{PREFIX}_slots", "Wallet pods by pool, role and state.", labels=["namespace", "pool", "role", "state"]
        )
        for pool in self._store.pools:
            for state, roles in count_slots(self._store.slots_of_pool(pool)).items():
                for role, number in roles.items():
                    family.add_metric([pool.namespace, pool.name, role, state], number)
        yield family
