"""EscrowSessions, as kopf sees them.

Nothing about a session is timed by kopf. ``SessionReconciler.reconcile`` returns when to look at it next, and the
queue of sessions wakes it then:

- the inactivity TTL and ``maxAge``: ``core/expiry.py`` says when they end;
- the cap: ``services/slots/capacity.py`` chooses who gives way when somebody asks for a place, and wakes both;
- the monitor: each look reads balance and confirmations, and another block of monerod wakes the sessions of its pools.
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
    """Note an EscrowSession; it and its pool are looked at if that says something new."""
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
