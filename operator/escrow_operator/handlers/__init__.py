"""What the operator handles: one module for each thing that kopf, kubelet or a watch tells it.

==============  ==================================================================================================
``lifecycle``   the process starts and stops
``health``      kubelet asks whether it works and whether what it knows is fresh
``sessions``    an EscrowSession was seen: looked at by ``SessionReconciler.reconcile``
``pools``       a WalletPool was seen: looked at by ``PoolReconciler.reconcile``
``slots``       a wallet-rpc pod was seen: its session, its pool, or whoever waits for a slot is looked at
==============  ==================================================================================================

A handler notes what was seen in the store and wakes queues; it decides nothing, and whatever it is told twice, late or
in the wrong order changes nothing. ``kopf_settings`` says how kopf is set and why.

Why ``kopf.on.event`` and queues, and not kopf's change handlers and timers: measured at 10,000 objects, change handlers
cost two PATCHes and 7 ms of CPU for each, and both put a finalizer on each object, which nobody could delete after the
operator was removed. And what waits for a slot would have to wait for a timer; here the slot wakes it.
"""

from escrow_operator.handlers import health, lifecycle, pools, sessions, slots
from escrow_operator.handlers.memo import Memo

__all__ = ["Memo", "health", "lifecycle", "pools", "sessions", "slots"]
