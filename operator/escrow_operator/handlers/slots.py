"""Events of wallet-rpc pods, from the operator's own paged watch (``services/runtime/paged_watch.py``).

Not through kopf: there are three pods to a session. kopf holds a whole list until its workers have gone through it, and
a memory of each object afterwards: 15,000 of these pods took 632 MB (855 MB without pages, 797 MB with
``initial_streaming``), most of it for the list. The store keeps 2 KB of each.
"""

from __future__ import annotations

from typing import Any

from escrow_operator.adapters.kube import PODS
from escrow_operator.core.manifests.common import SLOT_LABELS
from escrow_operator.handlers.memo import Memo
from escrow_operator.models.session import SessionKey
from escrow_operator.services.resync.relist import Versions
from escrow_operator.services.runtime.paged_watch import PagedWatch
from escrow_operator.wiring import Operator


def follow(memo: Memo, versions: Versions) -> PagedWatch:
    """Watch wallet pods in all namespaces served, from the versions of full lists on. The caller closes the watch."""

    async def seen(kind: str, body: dict[str, Any]) -> None:
        slot_seen(memo.operator, kind, body)

    async def list_again(namespace: str | None) -> str:
        return await list_slots(memo.operator, namespace)

    watch = PagedWatch(
        "wallet pods",
        watch=lambda namespace, version: memo.operator.context.kube.watch(
            PODS, namespace, version=version, labels=SLOT_LABELS
        ),
        seen=seen,
        level=list_again,
    )
    watch.start(versions)
    return watch


def slot_seen(operator: Operator, kind: str, body: dict[str, Any]) -> None:
    """Record a pod; requeue its session, its pool, and sessions that wait for a slot or for a place under the cap."""
    if kind == "DELETED":
        slot = operator.store.drop_slot(body)
        if slot:
            operator.wakeups.place_free()
    else:
        slot = operator.store.see_slot(body)
    if slot is None:
        return
    if slot.terminating:
        operator.wakeups.pod_ends(slot.namespace)
    if slot.session_name:
        operator.wakeups.session(SessionKey(slot.namespace, slot.session_name))
    if slot.claimable:
        operator.wakeups.slot_free(slot.pool)
    operator.wakeups.pool(slot.pool)


async def list_slots(operator: Operator, namespace: str | None) -> str:
    """Relist wallet pods when their watch has no version to continue from; returns the version of the list.

    kopf's watches, which began at the same time, may have expired too, and kopf reports nothing of an empty list.
    """
    changed, version = await operator.relist.list_slots(namespace)
    operator.wakeups.relist(namespace)
    operator.wakeups.sessions(changed)
    operator.wakeups.all_pools()
    operator.wakeups.place_free()
    return version
