"""The last known state of the cluster, with indexes.

Watch events, lists and the answers to the operator's own writes are all recorded here; of two versions the newer one
stays (escrow_operator.services.state.newest), so a late watch event never hides a claim that was just made.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from escrow_operator.core.cap import is_leaving
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.state.indexes import Candidates, Holders, Index
from escrow_operator.services.state.newest import Listed, Newest
from escrow_operator.services.state.tallies import Tallies

_LOG = logging.getLogger(__name__)

SlotKey = tuple[str, str]


class Store:
    """Sessions, pools and slots. Not thread-safe: it lives in the event loop.

    ``memory`` is notified of each object that appears or is gone.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._newest_sessions: Newest[SessionKey, Session] = Newest()
        self._newest_pools: Newest[PoolKey, Pool] = Newest()
        self._newest_slots: Newest[SlotKey, Slot] = Newest()
        self.sessions = self._newest_sessions.known
        self.pools = self._newest_pools.known
        self._slots = self._newest_slots.known
        self.candidates = Candidates(self.sessions)
        self._sessions_of: Index[PoolKey, SessionKey] = Index()
        self._by_pool: Index[PoolKey, SlotKey] = Index()
        self._free: Index[tuple[PoolKey, Role], SlotKey] = Index()
        self._gated: Index[PoolKey, SlotKey] = Index()
        self._prepared: Index[PoolKey, SlotKey] = Index()
        self._by_session = Holders()
        self._by_file: Index[tuple[PoolKey, str], SlotKey] = Index()
        self.leaving: set[str] = set()
        """Uids of the sessions that hold slots and are about to free them, deleted sessions included."""
        self.tallies = Tallies()
        self._reserved: set[str] = set()
        self.ending: set[str] = set()
        """Namespaces served by name that are being deleted: their sessions and pools are ended."""

    @property
    def memory(self) -> Memory:
        """What is remembered of the objects beside what they are."""
        return self._memory

    def forget_work(self) -> None:
        """Forget what services noted of objects, in memory as by reservations; what the objects are stays known."""
        self._memory.clear_all()
        self._reserved.clear()
        self.ending.clear()

    def see_session(self, body: dict[str, Any]) -> bool:
        """Record an EscrowSession; returns whether it was news."""
        if self._newest_sessions.is_known(session_key(body), _version(body)):
            # True of most objects in a full list; parsing them would be most of its cost.
            return False
        session = _parse(Session, body)
        if session is None or not self._newest_sessions.is_news(session.key, session):
            return False
        former = self._newest_sessions.note(session.key, session)
        if former and former.pool_key != session.pool_key:
            self._sessions_of.discard(former.pool_key, former.key)
        self._sessions_of.add(session.pool_key, session.key)
        self.tallies.session(former, session)
        if former and former.uid != session.uid:
            self._note_leaving(former.uid, None)
        self._replace_memory(former, session)
        self.candidates.note(session)
        self._note_leaving(session.uid, session)
        return True

    def drop_session(self, body: dict[str, Any]) -> bool:
        """Drop a session, given the event of its deletion; returns whether it was known and not newer."""
        return self._drop_session(session_key(body), _version(body)) is not None

    def see_pool(self, body: dict[str, Any]) -> bool:
        """Record a WalletPool; returns whether it was news."""
        pool = _parse(Pool, body)
        if pool is None or not self._newest_pools.is_news(pool.key, pool):
            return False
        self._replace_memory(self._newest_pools.note(pool.key, pool), pool)
        return True

    def drop_pool(self, body: dict[str, Any]) -> bool:
        """Drop a pool, given the event of its deletion; returns whether it was known and not newer."""
        meta = body["metadata"]
        return self._drop_pool(PoolKey(meta["namespace"], meta["name"]), _version(body)) is not None

    def see_slot(self, body: dict[str, Any]) -> Slot | None:
        """Record a wallet-rpc pod; returns the slot, or None when it is not news or not a slot."""
        try:
            slot = Slot.parse(body)
        except (ValidationError, KeyError, ValueError):
            return None
        key = (slot.namespace, slot.name)
        if not self._newest_slots.is_news(key, slot):
            return None
        former = self._newest_slots.note(key, slot)
        if former:
            self._unindex(former)
            if former.uid != slot.uid:
                self._reserved.discard(former.uid)
        self._replace_memory(former, slot)
        self.tallies.slot(former, slot)
        for index, entry in self._entries(slot):
            index.add(entry, key)
        if slot.session_uid:
            owner = self.session_by_uid(slot.namespace, slot.session_name, slot.session_uid)
            if owner or not self._by_session.is_elsewhere(slot.session_uid, slot.namespace):
                self._note_leaving(slot.session_uid, owner)
        return slot

    def drop_slot(self, body: dict[str, Any]) -> Slot | None:
        """Drop a pod, given the event of its deletion; returns the slot, or None when it was unknown or is newer."""
        meta = body["metadata"]
        return self._drop_slot((meta["namespace"], meta["name"]), _version(body))

    def drop_absent_sessions(self, listed: Listed) -> list[SessionKey]:
        """Drop sessions that a full list did not contain; returns their keys."""
        gone = self._newest_sessions.absent(listed)
        for key in gone:
            self._drop_session(key, listed.version)
        return gone

    def drop_absent_pools(self, listed: Listed) -> list[PoolKey]:
        """Drop pools that a full list did not contain; returns their keys."""
        gone = self._newest_pools.absent(listed)
        for key in gone:
            self._drop_pool(key, listed.version)
        return gone

    def drop_absent_slots(self, listed: Listed) -> list[Slot]:
        """Drop slots that a full list did not contain; returns them."""
        dropped = (self._drop_slot(key, listed.version) for key in self._newest_slots.absent(listed))
        return [slot for slot in dropped if slot]

    def forget_namespace(self, namespace: str) -> tuple[list[SessionKey], list[PoolKey]]:
        """Drop all objects of a namespace that is gone; returns the keys of its sessions and of its pools."""
        sessions = [(key, one.resource_version) for key, one in self.sessions.items() if key.namespace == namespace]
        pools = [(key, one.resource_version) for key, one in self.pools.items() if key.namespace == namespace]
        slots = [(key, one) for key, one in self._slots.items() if key[0] == namespace]
        for session, version in sessions:
            self._drop_session(session, version)
        for pool, version in pools:
            self._drop_pool(pool, version)
        for slot_key, slot in slots:
            self._drop_slot(slot_key, slot.resource_version)
        return [key for key, _ in sessions], [key for key, _ in pools]

    def sessions_of_pool(self, pool: PoolKey) -> list[SessionKey]:
        """All sessions of a pool, in no order."""
        return list(self._sessions_of.get(pool))

    def slots_of_pool(self, pool: PoolKey) -> list[Slot]:
        """All pods of a pool, free and adopted, in no order."""
        return [self._slots[key] for key in self._by_pool.get(pool)]

    def count_slots(self, pool: PoolKey) -> int:
        """How many pods a pool has, free and adopted."""
        return len(self._by_pool.get(pool))

    def slots_of_session(self, namespace: str, uid: str) -> list[Slot]:
        """All pods that a session adopted, in no order; none of another namespace, whatever its labels say."""
        return [self._slots[key] for key in self._by_session.get(uid) if key[0] == namespace]

    def slots_of_file(self, pool: PoolKey, file: str) -> list[Slot]:
        """The pods of a pool that are annotated with a wallet file, of any role and terminating ones included."""
        return [self._slots[key] for key in self._by_file.get((pool, file))]

    def count_holders(self, others: Collection[str]) -> int:
        """How many sessions have adopted slots; ``others`` are uids to count as well."""
        return len(self._by_session) + sum(1 for uid in others if uid not in self._by_session)

    def places(self) -> Mapping[str, int]:
        """How many sessions of each namespace have adopted slots."""
        return self._by_session.namespaces

    def namespace_of(self, uid: str) -> str | None:
        """The namespace of a session that has adopted slots; None for any other."""
        return next((namespace for namespace, _ in self._by_session.get(uid)), None)

    def orphans(self) -> list[Slot]:
        """Adopted pods of sessions that are gone."""
        slots = [self._slots[key] for uid in self.leaving for key in self._by_session.get(uid)]
        return [s for s in slots if self.session_by_uid(s.namespace, s.session_name, s.session_uid) is None]

    def is_holder(self, uid: str) -> bool:
        """Whether a session has adopted slots."""
        return uid in self._by_session

    def holders(self) -> set[str]:
        """Uids of the sessions that have adopted slots, terminating ones included."""
        return set(self._by_session)

    def free_slots(self, pool: PoolKey) -> list[Slot]:
        """Slots that no session has adopted or is about to adopt."""
        slots = (self._slots[key] for role in ROLES for key in self._free.get((pool, role)))
        return [slot for slot in slots if slot.uid not in self._reserved]

    def count_free(self, pool: PoolKey) -> int:
        """How many sessions could get a slot at most: the free slots of the role that has most, reserved or not."""
        return max(len(self._free.get((pool, role))) for role in ROLES)

    def gated_slots(self, pool: PoolKey) -> list[Slot]:
        """Pods that still have the scheduling gate, oldest first."""
        return sorted((self._slots[key] for key in self._gated.get(pool)), key=lambda slot: slot.created_at)

    def prepared_slots(self, pool: PoolKey) -> list[Slot]:
        """Pods that are part of prepared escrows, in no order."""
        return [self._slots[key] for key in self._prepared.get(pool)]

    def reserve(self, slots: Iterable[Slot]) -> None:
        """Keep other claims of this process off some slots while their patches are under way."""
        self._reserved.update(slot.uid for slot in slots)

    def unreserve(self, slots: Iterable[Slot]) -> None:
        """End a reservation."""
        self._reserved.difference_update(slot.uid for slot in slots)

    def session_by_uid(self, namespace: str, name: str | None, uid: str | None) -> Session | None:
        """The existing session that a slot's labels name, or None."""
        session = self.sessions.get(SessionKey(namespace, name or ""))
        return session if session and session.uid == uid else None

    def _drop_session(self, key: SessionKey, version: str) -> Session | None:
        session = self._newest_sessions.drop(key, version)
        if session:
            self.tallies.session(session, None)
            self._sessions_of.discard(session.pool_key, key)
            self._note_leaving(session.uid, None)
            self._memory.end(session.uid)
        return session

    def _drop_pool(self, key: PoolKey, version: str) -> Pool | None:
        pool = self._newest_pools.drop(key, version)
        if pool:
            self._memory.end(pool.uid)
        return pool

    def _drop_slot(self, key: SlotKey, version: str) -> Slot | None:
        slot = self._newest_slots.drop(key, version)
        if slot:
            self.tallies.slot(slot, None)
            self._unindex(slot)
            self._reserved.discard(slot.uid)
            self._memory.end(slot.uid)
        return slot

    def _replace_memory(self, former: Session | Pool | Slot | None, now: Session | Pool | Slot) -> None:
        if former and former.uid != now.uid:
            self._memory.end(former.uid)
        self._memory.begin(now.uid)

    def _unindex(self, slot: Slot) -> None:
        key = (slot.namespace, slot.name)
        for index, entry in self._entries(slot):
            index.discard(entry, key)
        if slot.session_uid and slot.session_uid not in self._by_session:
            self.leaving.discard(slot.session_uid)
            self.tallies.holder(slot.session_uid, None)

    def _note_leaving(self, uid: str, session: Session | None) -> None:
        self.tallies.holder(uid, session if uid in self._by_session else None)
        if uid in self._by_session and is_leaving(session):
            self.leaving.add(uid)
        else:
            self.leaving.discard(uid)

    def _entries(self, slot: Slot) -> Iterator[tuple[Index[Any, SlotKey], Any]]:
        yield self._by_pool, slot.pool
        if slot.claimable:
            yield self._free, (slot.pool, slot.role)
        if slot.prepared:
            yield self._prepared, slot.pool
        if slot.gate is not None:
            yield self._gated, slot.pool
        if slot.session_uid:
            yield self._by_session, slot.session_uid
        if slot.wallet_file:
            yield self._by_file, (slot.pool, slot.wallet_file)


def session_key(body: dict[str, Any]) -> SessionKey:
    """The key of an EscrowSession's JSON."""
    return SessionKey(body["metadata"]["namespace"], body["metadata"]["name"])


R = TypeVar("R", Session, Pool)


def _parse(kind: type[R], body: dict[str, Any]) -> R | None:
    """The parsed object; None (logged) when it does not fit the schema."""
    try:
        return kind.parse(body)
    except (ValidationError, KeyError, ValueError):
        _LOG.exception("a %s that cannot be read: %s", kind.__name__, body.get("metadata", {}).get("name"))
        return None


def _version(body: dict[str, Any]) -> str:
    version: str = body["metadata"]["resourceVersion"]
    return version
