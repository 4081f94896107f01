"""Events of EscrowSessions, from kopf.

Nothing about a session is timed by kopf. ``SessionReconciler.reconcile`` returns the requeue delay, and the queue of
sessions calls it again then:

- the inactivity TTL and ``maxAge``: ``core/expiry.py`` computes when they end;
- the cap: ``services/slots/capacity.py`` chooses whom to evict when a session asks for a place under it;
  both are requeued;
- the monitor: each reconciliation reads balance and confirmations, and a new block wakes the sessions of the pools that
  use that monerod.
"""

from __future__ import annotations

from typing import Any

import kopf

from escrow_operator.handlers.memo import Memo
from escrow_operator.models.common import GROUP, VERSION
from escrow_operator.models.pool import PoolKey
from escrow_operator.services.state.store import session_key


@kopf.on.event(GROUP, VERSION, "escrowsessions")
async def session_seen(event: Any, memo: Memo, **_: Any) -> None:
    """Record an EscrowSession; requeue it and its pool if the event is news."""
    operator, kind, body = memo.operator, event["type"], event["object"]
    key = session_key(body)
    if kind is None:
        operator.wakeups.relist(key.namespace)
    if kind == "DELETED":
        operator.store.drop_session(body)
    else:
        is_new = key not in operator.store.sessions and "status" not in body
        if not operator.store.see_session(body):
            return
        if is_new:
            operator.context.stages.begin(body["metadata"]["uid"])
    operator.wakeups.session(key)
    operator.wakeups.pool(PoolKey(key.namespace, body["spec"]["poolRef"]["name"]))
