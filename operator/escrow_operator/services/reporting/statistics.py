"""The current state, as Prometheus gauges.

Gauges are computed from the store's tallies when they are scraped: a deleted pool or session leaves no stale label
behind, and a scrape costs as many steps as it has lines.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from escrow_operator.core.manifests.common import volume_claim_name
from escrow_operator.core.poolstatus import COUNTS
from escrow_operator.models.common import ROLES
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.meters import PREFIX
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.requested_memory import requested_memory


class Statistics(Collector):
    """A Prometheus collector for the store, the queues and the API client."""

    def __init__(self, ctx: Context, capacity: Capacity, registry: CollectorRegistry) -> None:
        self._kube, self._store, self._clock = ctx.kube, ctx.store, ctx.clock
        self._capacity = capacity
        self._max_active = ctx.settings.sessions.max_active
        self._queues = ctx.wakeups.queues
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The gauges as of now."""
        active = self._capacity.count_active()
        yield GaugeMetricFamily(f"{PREFIX}_sessions_active", "Sessions that hold slots.", active)
        yield GaugeMetricFamily(f"{PREFIX}_sessions_max", "The cap, sessions.maxActive.", self._max_active)
        yield GaugeMetricFamily(
            f"{PREFIX}_sessions_utilisation_ratio", "Active sessions / cap.", active / self._max_active
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_session_average_age_seconds",
            "Mean time for which active sessions are open.",
            self._store.tallies.mean_age(self._clock.now().timestamp()),
        )
        yield self._phases()
        yield self._conditions()
        yield from self._longest()
        yield from self._slots()
        yield from self._pools()
        requests = CounterMetricFamily(
            f"{PREFIX}_api_requests", "Requests to the API server, kopf's watches apart.", labels=["verb", "resource"]
        )
        for labels, number in self._kube.requests.items():
            requests.add_metric(labels, number)
        yield requests
        depths = GaugeMetricFamily(f"{PREFIX}_queue_depth", "Looks that are due or under way.", labels=["queue"])
        for name, queue in self._queues.items():
            depths.add_metric([name], len(queue))
        yield depths

    def describe(self) -> Iterable[Metric]:
        """Empty: registering the collector must not read the store."""
        return ()

    def _phases(self) -> Metric:
        family = GaugeMetricFamily(
            f"{PREFIX}_sessions", "Sessions by namespace and phase.", labels=["namespace", "phase"]
        )
        for (namespace, phase), number in self._store.tallies.phases.items():
            family.add_metric([namespace, phase.value], number)
        return family

    def _conditions(self) -> Metric:
        family = GaugeMetricFamily(
            f"{PREFIX}_session_conditions",
            "Sessions by namespace and what a condition of their status says.",
            labels=["namespace", "type", "status", "reason"],
        )
        for labels, number in self._store.tallies.conditions.items():
            family.add_metric(labels, number)
        return family

    def _longest(self) -> Iterable[Metric]:
        now, tallies = self._clock.now().timestamp(), self._store.tallies
        for name, text, found in (
            (
                "unready",
                "The longest time for which a session of a namespace is kept from being Ready; Failed ones apart.",
                tallies.longest_unready(now),
            ),
            (
                "unknown_payout",
                "The longest time for which money of a session is gone by no payout that its spec names.",
                tallies.longest_unknown_payout(now),
            ),
        ):
            family = GaugeMetricFamily(f"{PREFIX}_session_longest_{name}_seconds", text, labels=["namespace"])
            for namespace, seconds in found.items():
                family.add_metric([namespace], seconds)
            yield family

    def _pools(self) -> Iterable[Metric]:
        conditions = GaugeMetricFamily(
            f"{PREFIX}_pool_conditions",
            "1 for each condition of a pool's status, with what it says.",
            labels=["namespace", "pool", "type", "status", "reason"],
        )
        heights = GaugeMetricFamily(
            f"{PREFIX}_pool_daemon_height_blocks",
            "Blocks that a pool's monerod has, when it was asked last.",
            labels=["namespace", "pool", "network"],
        )
        claims = GaugeMetricFamily(
            f"{PREFIX}_pool_volume_claim_info",
            "1 for each claim of a pool's wallets: joins kubelet's metrics of volumes.",
            labels=["namespace", "pool", "role", "persistentvolumeclaim"],
        )
        for key, pool in self._store.pools.items():
            for found in pool.status.get("conditions") or ():
                conditions.add_metric([*key, found["type"], found["status"], found.get("reason", "")], 1)
            daemon = pool.status.get("daemon")
            if daemon:
                heights.add_metric([*key, daemon["network"]], daemon["height"])
            for role in ROLES:
                claims.add_metric([*key, role.value, volume_claim_name(key, role)], 1)
        yield from (conditions, heights, claims)

    def _slots(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            f"{PREFIX}_slots", "Wallet pods by pool, role and state.", labels=["namespace", "pool", "role", "state"]
        )
        for pool in self._store.pools:
            for state in COUNTS:
                for role in ROLES:
                    number = self._store.tallies.slots[pool, role, state]
                    family.add_metric([pool.namespace, pool.name, role.value, state], number)
        yield family
        memory = GaugeMetricFamily(
            f"{PREFIX}_prepared_memory_bytes",
            "Memory that the wallets of prepared escrows request of their nodes, by pool.",
            labels=["namespace", "pool"],
        )
        for key, spec in ((key, pool.spec) for key, pool in self._store.pools.items()):
            number = sum(self._store.tallies.slots[key, role, "prepared"] for role in ROLES)
            memory.add_metric([key.namespace, key.name], number * requested_memory(spec))
        yield memory
