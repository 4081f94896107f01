"""What kopf calls: start and stop, liveness, and events of pools. A handler notes what was seen and wakes a queue.

Why events and queues and not kopf's change handlers: measured at 10,000 objects those cost two PATCHes and 7 ms of CPU
for each, and a waiting session could only be woken by time. Here a free slot wakes the session that waits for it.

Nor kopf's timers: each puts a finalizer on its object, and a WalletPool whose operator was removed first could never be
deleted. What is periodic goes through the same queues (escrow_operator.wiring).

Sessions and wallet pods are too many for kopf, which reads a list in one piece and keeps a task and a memory for each
object: they come through escrow_operator.services.watches.
"""
