"""The store against a cluster whose news comes late, twice and in any order, and in pages of lists older still."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from escrow_operator.core.cap import is_leaving
from escrow_operator.models.common import Label, Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.state.newest import Listed
from escrow_operator.services.state.store import Store
from unit.factories import pool_body, session_body, slot_body

NAMESPACE = "shop"
POOLS = ("default", "other")
KINDS = ("session", "pool", "slot")

Body = dict[str, Any]
Key = tuple[str, str]
"""Kind and name."""


class Event(NamedTuple):
    """What a watch says."""

    key: Key
    deleted: bool
    body: Body


class PagedList:
    """A list as of one version, of which some pages were read."""

    def __init__(self, kind: str, version: int, bodies: list[Body]) -> None:
        self.kind = kind
        self.version = version
        self.uids = {body["metadata"]["uid"] for body in bodies}
        self.pages = bodies


names = st.sampled_from(["a", "b", "c"])


class StoreAgainstCluster(RuleBasedStateMachine):
    """``truth`` is the cluster; everything that happens there is heard of sooner or later."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(Memory())
        self.truth: dict[Key, Body] = {}
        self.revision = 0
        self.made = 0
        self.news: list[Event] = []
        self.lists: list[PagedList] = []
        self.newest: dict[Key, int] = {}

    @rule(name=names, pool=st.sampled_from(POOLS))
    def apply_session(self, name: str, pool: str) -> None:
        key = ("session", name)
        if key in self.truth:
            self._change(key, lambda body: body["spec"].update(poolRef={"name": pool}))
        else:
            self._make(key, session_body(name, spec={"poolRef": {"name": pool}}))

    @rule(name=names, phase=st.sampled_from([Phase.ACTIVE, Phase.EXPIRED, Phase.FAILED]))
    def write_phase(self, name: str, phase: Phase) -> None:
        if ("session", name) in self.truth:
            self._change(("session", name), lambda body: body.update(status={"phase": phase.value}))

    @rule(name=names)
    def apply_pool(self, name: str) -> None:
        key = ("pool", name)
        if key in self.truth:
            self._change(key, lambda body: body["spec"].update(warmSlots=self.revision))
        else:
            self._make(key, pool_body(name))

    @rule(name=names, role=st.sampled_from(Role), ready=st.booleans())
    def start_slot(self, name: str, role: Role, ready: bool) -> None:
        if ("slot", name) not in self.truth:
            self._make(("slot", name), slot_body(name, role, ready=ready))

    @rule(name=names, by=names)
    def adopt(self, name: str, by: str) -> None:
        owner = self.truth.get(("session", by))
        if ("slot", name) in self.truth and owner:

            def change(body: Body) -> None:
                meta = body["metadata"]
                meta["labels"] |= {
                    Label.SLOT: "adopted",
                    Label.SESSION: by,
                    Label.SESSION_UID: owner["metadata"]["uid"],
                }
                meta["ownerReferences"] = [{"uid": owner["metadata"]["uid"], "controller": True}]
                meta["annotations"][Label.WALLET_FILE] = f"file-{by}"

            self._change(("slot", name), change)

    @rule(name=names)
    def give_back(self, name: str) -> None:
        def change(body: Body) -> None:
            meta = body["metadata"]
            meta["labels"][Label.SLOT] = "free"
            for label in (Label.SESSION, Label.SESSION_UID):
                meta["labels"].pop(label, None)
            meta.pop("ownerReferences", None)
            meta["annotations"].pop(Label.WALLET_FILE, None)

        if ("slot", name) in self.truth:
            self._change(("slot", name), change)

    @rule(kind=st.sampled_from(KINDS), name=names)
    def delete(self, kind: str, name: str) -> None:
        body = self.truth.pop((kind, name), None)
        if body:
            self._happens((kind, name), body, deleted=True)

    @precondition(lambda self: self.news)
    @rule(data=st.data(), again=st.booleans())
    def hear(self, data: st.DataObject, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.news) - 1))
        self._hear(self.news[index] if again else self.news.pop(index))

    @rule(kind=st.sampled_from(KINDS))
    def begin_list(self, kind: str) -> None:
        bodies = [copy.deepcopy(body) for (of, _), body in self.truth.items() if of == kind]
        self.lists.append(PagedList(kind, self.revision, bodies))

    @rule(kind=st.sampled_from(KINDS))
    def break_watch(self, kind: str) -> None:
        """What was not heard of yet never will be: a new list is to make up for it, read while older ones still are."""
        self.news = [event for event in self.news if event.key[0] != kind]
        self.begin_list(kind)

    @precondition(lambda self: self.lists)
    @rule(data=st.data())
    def read_page(self, data: st.DataObject) -> None:
        listing = data.draw(st.sampled_from(self.lists))
        if listing.pages:
            self._see(listing.kind, listing.pages.pop())
            return
        self.lists.remove(listing)
        self._finish(listing)

    @precondition(lambda self: self.lists)
    @rule(data=st.data())
    def read_to_the_end(self, data: st.DataObject) -> None:
        listing = data.draw(st.sampled_from(self.lists))
        self.lists.remove(listing)
        self._read_to_the_end(listing)

    def teardown(self) -> None:
        """All that is to be heard was heard: the store is the cluster."""
        for event in self.news:
            self._hear(event)
        while self.lists:
            self._read_to_the_end(self.lists.pop())
        assert self._known() == {key: body["metadata"]["resourceVersion"] for key, body in self.truth.items()}
        for kind, name in self.truth:
            assert self._uid(kind, name) == self.truth[kind, name]["metadata"]["uid"]
        self.indexes_are_a_recount()

    @invariant()
    def no_version_goes_back(self) -> None:
        for key, version in self._known().items():
            assert int(version) >= self.newest.get(key, 0), key
            self.newest[key] = int(version)

    @invariant()
    def indexes_are_a_recount(self) -> None:
        store = self.store
        sessions = store.sessions.values()
        slots = [s for pool in POOLS for s in store.slots_of_pool(PoolKey(NAMESPACE, pool))]
        for name in POOLS:
            pool = PoolKey(NAMESPACE, name)
            assert set(store.sessions_of_pool(pool)) == {s.key for s in sessions if s.pool_key == pool}
            assert store.count_slots(pool) == len(store.slots_of_pool(pool))
            assert {s.uid for s in store.free_slots(pool)} == {s.uid for s in slots if s.pool == pool and s.claimable}
            for file in {s.wallet_file for s in slots if s.wallet_file}:
                found = {s.uid for s in store.slots_of_file(pool, file)}
                assert found == {s.uid for s in slots if s.pool == pool and s.wallet_file == file}
        holders = {s.session_uid: s for s in slots if s.session_uid}
        assert store.holders() == set(holders)
        for uid in holders:
            assert {s.uid for s in store.slots_of_session(NAMESPACE, uid)} == {
                s.uid for s in slots if s.session_uid == uid
            }

        def owner(uid: str) -> Session | None:
            return store.session_by_uid(NAMESPACE, holders[uid].session_name, uid)

        assert store.leaving == {uid for uid in holders if is_leaving(owner(uid))}
        assert {s.uid for s in store.orphans()} == {
            s.uid for s in slots if s.session_uid and owner(s.session_uid) is None
        }

    def _make(self, key: Key, body: Body) -> None:
        self.made += 1
        body["metadata"]["uid"] = f"uid-{self.made}"
        self.truth[key] = body
        self._happens(key, body)

    def _change(self, key: Key, change: Callable[[Body], object]) -> None:
        body = self.truth[key] = copy.deepcopy(self.truth[key])
        change(body)
        self._happens(key, body)

    def _happens(self, key: Key, body: Body, *, deleted: bool = False) -> None:
        self.revision += 1
        said = copy.deepcopy(body)
        said["metadata"]["resourceVersion"] = str(self.revision)
        if not deleted:
            self.truth[key] = said
        self.news.append(Event(key, deleted, said))

    def _hear(self, event: Event) -> None:
        if not event.deleted:
            self._see(event.key[0], event.body)
            return
        drop: dict[str, Callable[[Body], object]] = {
            "session": self.store.drop_session,
            "pool": self.store.drop_pool,
            "slot": self.store.drop_slot,
        }
        drop[event.key[0]](event.body)

    def _see(self, kind: str, body: Body) -> None:
        see: dict[str, Callable[[Body], object]] = {
            "session": self.store.see_session,
            "pool": self.store.see_pool,
            "slot": self.store.see_slot,
        }
        see[kind](copy.deepcopy(body))

    def _read_to_the_end(self, listing: PagedList) -> None:
        for body in listing.pages:
            self._see(listing.kind, body)
        self._finish(listing)

    def _finish(self, listing: PagedList) -> None:
        drop: dict[str, Callable[[Listed], object]] = {
            "session": self.store.drop_absent_sessions,
            "pool": self.store.drop_absent_pools,
            "slot": self.store.drop_absent_slots,
        }
        drop[listing.kind](Listed(NAMESPACE, listing.uids, str(listing.version)))

    def _known(self) -> dict[Key, str]:
        store = self.store
        found = {("session", key.name): one.resource_version for key, one in store.sessions.items()}
        found |= {("pool", key.name): one.resource_version for key, one in store.pools.items()}
        slots = (s for pool in POOLS for s in store.slots_of_pool(PoolKey(NAMESPACE, pool)))
        return found | {("slot", slot.name): slot.resource_version for slot in slots}

    def _uid(self, kind: str, name: str) -> str:
        if kind == "session":
            return self.store.sessions[SessionKey(NAMESPACE, name)].uid
        if kind == "pool":
            return self.store.pools[PoolKey(NAMESPACE, name)].uid
        return next(s.uid for s in self.store.slots_of_pool(PoolKey(NAMESPACE, "default")) if s.name == name)


StoreAgainstCluster.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestStoreAgainstCluster = StoreAgainstCluster.TestCase
