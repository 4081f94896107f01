"""Events of WalletPools, from kopf."""

from __future__ import annotations

from typing import Any

import kopf

from escrow_operator.handlers.memo import Memo
from escrow_operator.models.common import GROUP, VERSION
from escrow_operator.models.pool import PoolKey


@kopf.on.event(GROUP, VERSION, "walletpools")
async def pool_seen(event: Any, memo: Memo, **_: Any) -> None:
    """Record a WalletPool and requeue it; its sessions as well, when it was created or deleted or its spec changed."""
    operator, kind, body = memo.operator, event["type"], event["object"]
    key = PoolKey(body["metadata"]["namespace"], body["metadata"]["name"])
    known = operator.store.pools.get(key)
    if kind is None:
        operator.wakeups.relist(key.namespace)
    if kind == "DELETED":
        if operator.store.drop_pool(body):
            await operator.daemons.forget(key)
    elif not operator.store.see_pool(body):
        return
    pool = operator.store.pools.get(key)
    if pool:
        await operator.daemons.watch(pool)
    operator.wakeups.pool(key)
    if pool is None or known is None or (pool.uid, pool.generation) != (known.uid, known.generation):
        operator.wakeups.sessions(operator.store.sessions_of_pool(key))
