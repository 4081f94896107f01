"""Which objects are reconciled next: the work queues, their priorities, and which news requeues which objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.tracing import NAMESPACE, POOL, SESSION
from escrow_operator.core.cap import is_leaving
from escrow_operator.core.daemon import DaemonView, daemon_condition
from escrow_operator.core.funding import awaits_money
from escrow_operator.core.report import is_told
from escrow_operator.models.pool import DaemonKey, PoolKey
from escrow_operator.models.session import OPEN_PHASES, SessionKey
from escrow_operator.services.runtime.meters import Meters
from escrow_operator.services.runtime.work_queue import WorkQueue
from escrow_operator.services.state.store import Store

SESSIONS_AT_ONCE = 64
"""Sessions reconciled concurrently. More would only delay each other, up to the deadlines of their requests; a session
that waits for a hanging wallet makes room for others (invariant I10)."""

POOLS_AT_ONCE = 8

DAEMONS_AT_ONCE = 32
"""Daemons polled concurrently; a poll that hangs makes room for others before its deadline of 10 s."""

NAMESPACES_AT_ONCE = 8

PREPARATIONS_AT_ONCE = 8
"""Pools whose prepared escrows are seen to concurrently; only one of them makes one."""

POOL_DELAY = 0.25
"""Seconds for which events of a pool's pods are gathered into one reconciliation: a claim alone changes six pods."""

SLOTS_PER_SECOND = 10_000
"""Pods of one pool counted per second: a pool with that many is reconciled at most once in over a second."""

LIST_DELAY = 30.0
"""Seconds from kopf's list of a kind to the operator's own: kopf handles the objects of a long list for seconds."""

SESSIONS_PER_SECOND = 400
"""Sessions requeued per second, at most, by news that concerns many of them, such as a new block."""

ALL = "all"
"""The only key of the sweep queue."""


@dataclass(frozen=True)
class Handlers:
    """The functions that the queues call. Each returns the requeue delay in seconds, or None."""

    session: Callable[[SessionKey], Awaitable[float | None]]
    pool: Callable[[PoolKey], Awaitable[float | None]]
    daemon: Callable[[DaemonKey], Awaitable[float | None]]
    namespace: Callable[[str], Awaitable[float | None]]
    relist: Callable[[str | None], Awaitable[float | None]]
    sweep: Callable[[str], Awaitable[float | None]]
    prepare: Callable[[PoolKey], Awaitable[float | None]]
    """Called for pools whose prepared escrows may have to be made, proven or ended."""
    place_free: Callable[[], None]
    """Called at once, by no queue, when a place under the cap may be free."""
    slot_free: Callable[[PoolKey], None]
    """Called at once, by no queue, when a slot of a pool may be free."""


class Wakeups:
    """Holds the work queues; services requeue objects through it, so that they need not know each other.

    ``named`` are the namespaces that are served by name; empty when the whole cluster is served.
    """

    def __init__(self, store: Store, meters: Meters, named: tuple[str, ...]) -> None:
        self._store = store
        self._named = named
        self._handlers: Handlers | None = None
        self.sessions_queue: WorkQueue[SessionKey] = WorkQueue(
            "sessions",
            concurrency=SESSIONS_AT_ONCE,
            meters=meters,
            urgent=self.is_urgent,
            group=lambda key: key.namespace,
            traced=lambda key: {NAMESPACE: key.namespace, SESSION: key.name},
        )
        self.pools_queue: WorkQueue[PoolKey] = WorkQueue(
            "pools",
            concurrency=POOLS_AT_ONCE,
            meters=meters,
            group=lambda key: key.namespace,
            traced=lambda key: {NAMESPACE: key.namespace, POOL: key.name},
        )
        self._preparations: WorkQueue[PoolKey] = WorkQueue(
            "preparations",
            concurrency=PREPARATIONS_AT_ONCE,
            meters=meters,
            group=lambda key: key.namespace,
            traced=lambda key: {NAMESPACE: key.namespace, POOL: key.name},
        )
        self._daemons: WorkQueue[DaemonKey] = WorkQueue("daemons", concurrency=DAEMONS_AT_ONCE, meters=meters)
        self._namespaces: WorkQueue[str] = WorkQueue("namespaces", concurrency=NAMESPACES_AT_ONCE, meters=meters)
        self._lists: WorkQueue[str | None] = WorkQueue("lists", concurrency=1, meters=meters)
        self._sweeps: WorkQueue[str] = WorkQueue("sweep", concurrency=1, meters=meters)

    @property
    def queues(self) -> dict[str, WorkQueue[Any]]:
        """All queues by name, in the order in which they are closed."""
        return {
            "sweep": self._sweeps,
            "lists": self._lists,
            "namespaces": self._namespaces,
            "daemons": self._daemons,
            "sessions": self.sessions_queue,
            "preparations": self._preparations,
            "pools": self.pools_queue,
        }

    @property
    def _to(self) -> Handlers:
        assert self._handlers is not None, "woken before there were handlers"  # noqa: S101
        return self._handlers

    def serve(self, handlers: Handlers) -> None:
        """Set the functions to call; nothing may be requeued before."""
        self._handlers = handlers
        self.sessions_queue.serve(handlers.session)
        self.pools_queue.serve(handlers.pool)
        self._preparations.serve(handlers.prepare)
        self._daemons.serve(handlers.daemon)
        self._namespaces.serve(handlers.namespace)
        self._lists.serve(handlers.relist)
        self._sweeps.serve(handlers.sweep)

    def pause(self) -> None:
        """Let all queues drop keys until ``resume``."""
        for queue in self.queues.values():
            queue.pause()

    def resume(self) -> None:
        """Let all queues work."""
        for queue in self.queues.values():
            queue.resume()

    async def close(self) -> None:
        """Close all queues."""
        for queue in self.queues.values():
            await queue.close()

    def is_urgent(self, key: SessionKey) -> bool:
        """Whether a user waits for the next reconciliation; if wallets are open it mostly renews the status."""
        session = self._store.sessions.get(key)
        return session is None or session.deleting or session.phase not in OPEN_PHASES

    def session(self, key: SessionKey) -> None:
        """Requeue a session, due now."""
        self.sessions_queue.add(key)

    def sessions(self, keys: Iterable[SessionKey]) -> None:
        """Requeue many sessions, in the order given, at no more than ``SESSIONS_PER_SECOND``."""
        for number, key in enumerate(keys):
            self.sessions_queue.add(key, number / SESSIONS_PER_SECOND)

    def pool(self, key: PoolKey) -> None:
        """Requeue a pool after a delay that grows with its pods, as reconciling it counts them all."""
        self.pools_queue.add(key, POOL_DELAY + self._store.count_slots(key) / SLOTS_PER_SECOND)

    def prepare(self, key: PoolKey) -> None:
        """Requeue a pool's prepared escrows, due now."""
        self._preparations.add(key)

    def all_pools(self) -> None:
        """Requeue every pool, and the sessions that wait for slots."""
        for pool in self._store.pools:
            self.pool(pool)
            self.slot_free(pool)

    def slot_free(self, pool: PoolKey) -> None:
        """Requeue sessions that wait for a slot of a pool: one may be free."""
        self._to.slot_free(pool)

    def place_free(self) -> None:
        """Requeue sessions that wait for a place under the cap: one may be free."""
        self._to.place_free()

    def daemon(self, key: DaemonKey) -> None:
        """Poll a monerod now."""
        self._daemons.add(key)

    def sweep(self) -> None:
        """Sweep now."""
        self._sweeps.add(ALL)

    def namespace(self, name: str, delay: float = 0.0) -> None:
        """Requeue a namespace, if it is served by name, to be due in ``delay`` seconds."""
        if name in self._named:
            self._namespaces.add(name, delay)

    def pod_ends(self, namespace: str) -> None:
        """Requeue the namespace of a pod that began to end: a deleted namespace loses its pods first, sessions next."""
        self.namespace(namespace, POOL_DELAY)

    def relist(self, namespace: str | None) -> None:
        """Schedule the operator's own list after kopf relisted a kind: kopf does not report which objects are gone."""
        self._lists.add(namespace if self._named else None, LIST_DELAY)

    def daemon_changed(self, key: PoolKey, view: DaemonView, *, only_mempool: bool) -> None:
        """Requeue a pool and its sessions after monerod reported another block, mempool or state.

        A new mempool concerns sessions that await a payment or follow a payout; the others read it when they are due.
        Closed, failed and deleted sessions are not requeued. Others without slots have no wallet to read: they are
        requeued only when their status does not report monerod's state yet.
        """
        self.pool(key)
        pool = self._store.pools.get(key)
        state = daemon_condition(view, pool.spec.daemon) if pool else None
        known = (self._store.sessions.get(name) for name in self._store.sessions_of_pool(key))
        sessions = [
            session
            for session in known
            if session
            and not is_leaving(session)
            and (self._store.is_holder(session.uid) or state is None or not is_told(session, state))
        ]
        self.sessions(session.key for session in sessions if awaits_money(session))
        if not only_mempool:
            self.sessions(session.key for session in sessions if not awaits_money(session))
