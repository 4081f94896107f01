"""What is looked at next: the queues, what goes before what, and what wakes whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

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
"""Sessions looked at in parallel. More would only make each other late, up to the deadlines of their requests; one that
waits for a wallet that hangs does not keep its place (invariant I10)."""

POOLS_AT_ONCE = 8

DAEMONS_AT_ONCE = 32
"""Daemons asked in parallel; one that hangs holds its place for its deadline of 10 s."""

NAMESPACES_AT_ONCE = 8

POOL_DELAY = 0.25
"""Seconds to gather what happens to a pool's pods into one look: a claim alone changes six of them."""

SLOTS_PER_SECOND = 10_000
"""Pods that looks at one pool may count: a pool with that many is looked at once in over a second at most."""

LIST_DELAY = 30.0
"""Seconds from kopf's list of a kind until that of ours: kopf goes through the objects of a long one for seconds."""

SESSIONS_PER_SECOND = 400
"""At most so many sessions are woken by what concerns all of them, such as a new block."""

ALL = "all"
"""The key of the one sweep."""


@dataclass(frozen=True)
class Handlers:
    """Who is called. Each returns the requeue delay in seconds, or None."""

    session: Callable[[SessionKey], Awaitable[float | None]]
    pool: Callable[[PoolKey], Awaitable[float | None]]
    daemon: Callable[[DaemonKey], Awaitable[float | None]]
    namespace: Callable[[str], Awaitable[float | None]]
    relist: Callable[[str | None], Awaitable[float | None]]
    sweep: Callable[[str], Awaitable[float | None]]
    place_free: Callable[[], None]
    """A place under the cap may be free: called at once."""
    slot_free: Callable[[PoolKey], None]
    """A slot of a pool may be free: called at once."""


class Wakeups:
    """Every service wakes others through this, and knows nobody of them.

    ``named`` are the namespaces that are served by name; empty when it is the whole cluster.
    """

    def __init__(self, store: Store, meters: Meters, named: tuple[str, ...] = ()) -> None:
        self._store = store
        self._named = named
        self._handlers: Handlers | None = None
        self.sessions_queue: WorkQueue[SessionKey] = WorkQueue(
            "sessions",
            concurrency=SESSIONS_AT_ONCE,
            meters=meters,
            urgent=self.is_urgent,
            group=lambda key: key.namespace,
        )
        self.pools_queue: WorkQueue[PoolKey] = WorkQueue(
            "pools",
            concurrency=POOLS_AT_ONCE,
            meters=meters,
            group=lambda key: key.namespace,
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
            "pools": self.pools_queue,
        }

    @property
    def _to(self) -> Handlers:
        assert self._handlers is not None, "woken before there were handlers"  # noqa: S101
        return self._handlers

    def serve(self, handlers: Handlers) -> None:
        """From now on these are called. Before, nobody may be woken."""
        self._handlers = handlers
        self.sessions_queue.serve(handlers.session)
        self.pools_queue.serve(handlers.pool)
        self._daemons.serve(handlers.daemon)
        self._namespaces.serve(handlers.namespace)
        self._lists.serve(handlers.relist)
        self._sweeps.serve(handlers.sweep)

    async def close(self) -> None:
        """Stop looking."""
        for queue in self.queues.values():
            await queue.close()

    def is_urgent(self, key: SessionKey) -> bool:
        """Whether somebody waits for the next look at a session; those that are open are looked at for the record."""
        session = self._store.sessions.get(key)
        return session is None or session.deleting or session.phase not in OPEN_PHASES

    def session(self, key: SessionKey) -> None:
        """Look at a session now."""
        self.sessions_queue.add(key)

    def sessions(self, keys: Iterable[SessionKey]) -> None:
        """Look at many sessions, in the order given, not all at the same moment."""
        for number, key in enumerate(keys):
            self.sessions_queue.add(key, number / SESSIONS_PER_SECOND)

    def pool(self, key: PoolKey) -> None:
        """Look at a pool soon: a look counts all its pods."""
        self.pools_queue.add(key, POOL_DELAY + self._store.count_slots(key) / SLOTS_PER_SECOND)

    def all_pools(self) -> None:
        """Look at every pool, and at those who wait for its slots."""
        for pool in self._store.pools:
            self.pool(pool)
            self.slot_free(pool)

    def slot_free(self, pool: PoolKey) -> None:
        """A slot of a pool may be free."""
        self._to.slot_free(pool)

    def place_free(self) -> None:
        """A place under the cap may be free."""
        self._to.place_free()

    def daemon(self, key: DaemonKey) -> None:
        """Ask a monerod now."""
        self._daemons.add(key)

    def sweep(self) -> None:
        """Sweep now."""
        self._sweeps.add(ALL)

    def namespace(self, name: str, delay: float = 0.0) -> None:
        """Look at a namespace, if it is served by name."""
        if name in self._named:
            self._namespaces.add(name, delay)

    def pod_ends(self, namespace: str) -> None:
        """A pod began to end. With its namespace, pods go first: the sessions' turn is short."""
        self.namespace(namespace, POOL_DELAY)

    def relist(self, namespace: str | None) -> None:
        """kopf lists a kind of object anew, since its watch lost its place: that tells nothing of what is gone."""
        self._lists.add(namespace if self._named else None, LIST_DELAY)

    def daemon_changed(self, key: PoolKey, view: DaemonView, *, only_mempool: bool) -> None:
        """monerod has a new block, another mempool, or another state: the pool's sessions may have news.

        What is new in the mempool concerns those who wait for a payment or follow one; the others hear of it at their
        next look by themselves. Those that are closed or failed hold no wallet that could have any, nor do those that
        wait for something else: they hear of another state only.
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
