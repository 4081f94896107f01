"""Entry points of the operator: one module for each source of events (kopf, kubelet, the watch of wallet pods).

==============  ==================================================================================================
``lifecycle``   start and stop of the process
``health``      kubelet's probes: whether the process works, and whether its view of the cluster is fresh
``sessions``    event of an EscrowSession: requeues it for ``SessionReconciler.reconcile``
``pools``       event of a WalletPool: requeues it for ``PoolReconciler.reconcile``
``slots``       event of a wallet-rpc pod: requeues its session, its pool, and sessions that wait for a slot
==============  ==================================================================================================

A handler records the object in the store and adds keys to work queues; it decides nothing. Events that come twice,
late or out of order change nothing. ``kopf_settings`` has kopf's settings and the reasons for them.

Why ``kopf.on.event`` and queues, and not kopf's change handlers and timers: measured at 10,000 objects, change handlers
cost two PATCHes and 7 ms of CPU per object, and change handlers and timers put a finalizer on each object, which could
not be deleted after the operator was removed. A session that waits for a slot would also have to wait for its timer;
here the free slot wakes it.
"""

from escrow_operator.handlers import health, lifecycle, pools, sessions, slots
from escrow_operator.handlers.memo import Memo

__all__ = ["Memo", "health", "lifecycle", "pools", "sessions", "slots"]
