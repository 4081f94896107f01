"""What kopf calls. A handler notes what was seen, wakes a queue, and returns.

Why events and queues and not kopf's change handlers: measured at 10,000 objects those cost two PATCHes and 7 ms of CPU
for each, and a waiting session could only be woken by time. Here a free slot wakes the session that waits for it.

Nor kopf's timers: each puts a finalizer on its object, and a WalletPool whose operator was removed first could never be
deleted. What is periodic goes through the same queues (escrow_operator.wiring).
"""
