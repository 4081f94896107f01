"""What the operator last saw of the cluster, with indexes.

Watch events and the answers to the operator's own writes both end here; of two versions the newer one stays, so a
late watch event never hides a claim that was just made.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from escrow_operator.adapters.kube import Listing
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Session, SessionKey
from escrow_operator.models.slot import Slot

_LOG = logging.getLogger(__name__)

TOMBSTONES = 10_000
"""Uids of deleted slots to remember, so that the late answer of a patch does not bring one back."""

SlotKey = tuple[str, str]


class Store:
    """Sessions, pools and slots. Not thread-safe: it lives in the event loop."""

    def __init__(self) -> None:
        self.sessions: dict[SessionKey, Session] = {}
        self.pools: dict[PoolKey, Pool] = {}
        self._slots: dict[SlotKey, Slot] = {}
        self._by_pool: dict[PoolKey, set[SlotKey]] = defaultdict(set)
        self._by_session: dict[str, set[SlotKey]] = defaultdict(set)
        self._reserved: set[str] = set()
        self._gone: OrderedDict[str, None] = OrderedDict()

    def see_session(self, body: dict[str, Any]) -> bool:
        """Note an EscrowSession; False when nothing newer was said."""
        session = _parse(Session, body)
        return session is not None and _note(self.sessions, session.key, session)

    def see_pool(self, body: dict[str, Any]) -> bool:
        """Note a WalletPool; False when nothing newer was said."""
        pool = _parse(Pool, body)
        return pool is not None and _note(self.pools, pool.key, pool)

    def see_slot(self, body: dict[str, Any]) -> Slot | None:
        """Note a wallet-rpc pod; None when nothing newer was said, or when it is no slot."""
        try:
            slot = Slot.parse(body)
        except (ValidationError, KeyError, ValueError):
            return None
        key = (slot.namespace, slot.name)
        old = self._slots.get(key)
        if slot.uid in self._gone:
            return None
        if old and old.uid == slot.uid and not _newer(slot.resource_version, old.resource_version):
            return None
        if old:
            self._unindex(old)
        self._slots[key] = slot
        self._by_pool[slot.pool].add(key)
        if slot.session_uid:
            self._by_session[slot.session_uid].add(key)
        return slot

    def drop_slot(self, namespace: str, name: str, uid: str) -> Slot | None:
        """Forget a pod that is gone from the API; returns what was known of it."""
        self._gone[uid] = None
        while len(self._gone) > TOMBSTONES:
            self._gone.popitem(last=False)
        slot = self._slots.get((namespace, name))
        if slot is None or slot.uid != uid:
            return None
        del self._slots[(namespace, name)]
        self._unindex(slot)
        self._reserved.discard(uid)
        return slot

    def replace_sessions(self, namespace: str | None, listing: Listing) -> None:
        """Level with a full list of a namespace (None: the cluster)."""
        for body in listing.items:
            self.see_session(body)
        for session in _absent(self.sessions.values(), namespace, listing):
            del self.sessions[session.key]

    def replace_pools(self, namespace: str | None, listing: Listing) -> None:
        """The same for pools."""
        for body in listing.items:
            self.see_pool(body)
        for pool in _absent(self.pools.values(), namespace, listing):
            del self.pools[pool.key]

    def replace_slots(self, namespace: str | None, listing: Listing) -> list[Slot]:
        """The same for slots; returns those that were gone."""
        for body in listing.items:
            self.see_slot(body)
        gone = _absent(self._slots.values(), namespace, listing)
        for slot in gone:
            self.drop_slot(slot.namespace, slot.name, slot.uid)
        return gone

    def slots_of_pool(self, pool: PoolKey) -> list[Slot]:
        """All pods of a pool, free and adopted, in no order."""
        return [self._slots[key] for key in self._by_pool.get(pool, ())]

    def slots_of_session(self, uid: str) -> list[Slot]:
        """All pods that a session adopted, in no order."""
        return [self._slots[key] for key in self._by_session.get(uid, ())]

    def holders(self) -> dict[str, Session | None]:
        """The sessions that have adopted slots, terminating ones included, by uid; None for one that is gone."""
        found = {}
        for uid, keys in self._by_session.items():
            slot = self._slots[next(iter(keys))]
            found[uid] = self.session_by_uid(slot.namespace, slot.session_name, uid)
        return found

    def free_slots(self, pool: PoolKey) -> list[Slot]:
        """Slots that nobody has adopted or is about to adopt."""
        return [slot for slot in self.slots_of_pool(pool) if slot.claimable and slot.uid not in self._reserved]

    def reserve(self, slots: Iterable[Slot]) -> None:
        """Keep other claims of this process off some slots while their patches are under way."""
        self._reserved.update(slot.uid for slot in slots)

    def unreserve(self, slots: Iterable[Slot]) -> None:
        """End a reservation."""
        self._reserved.difference_update(slot.uid for slot in slots)

    def session_by_uid(self, namespace: str, name: str | None, uid: str | None) -> Session | None:
        """The living session that a slot's labels name, or None."""
        session = self.sessions.get(SessionKey(namespace, name or ""))
        return session if session and session.uid == uid else None

    def _unindex(self, slot: Slot) -> None:
        key = (slot.namespace, slot.name)
        self._by_pool[slot.pool].discard(key)
        if slot.session_uid:
            self._by_session[slot.session_uid].discard(key)
            if not self._by_session[slot.session_uid]:
                del self._by_session[slot.session_uid]


R = TypeVar("R", Session, Pool)
K = TypeVar("K")


def _parse(kind: type[R], body: dict[str, Any]) -> R | None:
    """The object, or None (and a log line) when no schema can have let it through."""
    try:
        return kind.parse(body)
    except (ValidationError, KeyError, ValueError):
        _LOG.exception("a %s that cannot be read: %s", kind.__name__, body.get("metadata", {}).get("name"))
        return None


def _note(known: dict[K, R], key: K, seen: R) -> bool:
    old = known.get(key)
    if old and old.uid == seen.uid and not _newer(seen.resource_version, old.resource_version):
        return False
    known[key] = seen
    return True


Seen = TypeVar("Seen", Session, Pool, Slot)


def _absent(known: Iterable[Seen], namespace: str | None, listing: Listing) -> list[Seen]:
    """What a list does not contain; what was seen after the list was read is not counted as gone."""
    listed = {body["metadata"]["uid"] for body in listing.items}
    return [
        one
        for one in known
        if namespace in (None, one.namespace if isinstance(one, Slot) else one.key.namespace)
        and one.uid not in listed
        and not _newer(one.resource_version, listing.version)
    ]


def _newer(version: str, than: str) -> bool:
    """Resource versions of one kind compare as numbers (documented by Kubernetes since 1.35, true long before)."""
    return int(version) > int(than)
