"""A session gets three slots or none, a wallet file goes to one pod, and whatever interrupts a claim leaks nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from escrow_operator.adapters.kube import PODS
from escrow_operator.adapters.kube_errors import UnavailableError
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import STARTING_SECONDS, SlotClaims
from escrow_operator.services.slots.prepared import PreparedEscrows
from simulation.apiserver import Event
from unit.clocks import FakeClock
from unit.factories import at, pool_body, session_body, slot_body
from unit.kube import InstantKube
from unit.world.context import make_context, woken

FILES = {role: f"file-{role}" for role in ROLES}
POOL = PoolKey("shop", "default")


class Bench:
    """A pool with so many free slots of each role, on an API server whose events all arrive."""

    def __init__(self, free: int = 1, *, max_active: int = 10) -> None:
        self.kube, self.clock = InstantKube(), FakeClock()
        self.ctx = make_context(self.kube, clock=self.clock, max_active=max_active)
        self.store = self.ctx.store
        self.kube.server.subscribers.append(self.sees)
        self.watch = True
        self.claims = SlotClaims(self.ctx, Capacity(self.ctx), PreparedEscrows(self.ctx))
        self.store.see_pool(pool_body())
        self.made = 0
        for role in ROLES * free:
            self.add(role)

    def sees(self, event: Event) -> None:
        if self.watch and event.plural == PODS.plural:
            _ = self.store.drop_slot(event.body) if event.kind == "DELETED" else self.store.see_slot(event.body)

    @property
    def pool(self) -> Pool:
        return self.store.pools[POOL]

    def add(self, role: Role, **options: Any) -> str:
        self.made += 1
        name = options.pop("name", f"{role}-{self.made}")
        body = slot_body(name, role, **options)
        if "owner" not in options:
            body["metadata"]["ownerReferences"] = [{"uid": "replicaset", "controller": True}]
        self.kube.put(PODS, body)
        return str(name)

    def session(self, name: str = "demo", **options: Any) -> Session:
        self.store.see_session(session_body(name, **options))
        return self.store.sessions[SessionKey("shop", name)]

    def give(self, owner: Session, role: Role, **options: Any) -> str:
        """A slot that a session has adopted."""
        return self.add(role, owner=owner, **options)

    async def claim(self, session: Session, files: dict[Role, str] | None = None) -> set[str]:
        """The names of the pods that it gets."""
        slots = await self.claims.ensure(session, self.pool, files or FILES)
        assert set(slots) == set(ROLES)
        return {slot.name for slot in slots.values()}

    async def refused(self, session: Session, files: dict[Role, str] | None = None) -> Blocked:
        with pytest.raises(Blocked) as refused:
            await self.claim(session, files)
        return refused.value

    def pods(self, slot: str) -> set[str]:
        """The pods that are free, or adopted, as the API server has them."""
        found = (body["metadata"] for body in self.kube.all(PODS))
        return {meta["name"] for meta in found if meta["labels"][Label.SLOT] == slot}

    def nothing_is_kept(self) -> bool:
        """No reservation, and no file that is being taken."""
        free = {slot.name for slot in self.store.free_slots(POOL)}
        return free == self.pods("free") and not self.claims.is_taking(POOL)


async def test_i2_a_session_gets_one_slot_of_each_role_and_each_says_its_file() -> None:
    bench = Bench()
    names = await bench.claim(bench.session())
    assert bench.pods("adopted") == names
    noted = {body["metadata"]["annotations"][Label.WALLET_FILE] for body in bench.kube.all(PODS)}
    assert noted == set(FILES.values())
    assert bench.nothing_is_kept()
    writes = len(bench.kube.writes)
    assert await bench.claim(bench.session()) == names
    assert len(bench.kube.writes) == writes, "who has them writes nothing"


async def test_i2_without_one_of_them_it_gets_none_and_more_are_started_for_it() -> None:
    bench = Bench(free=0)
    bench.add(Role.BUYER)
    bench.add(Role.VENDOR)
    blocked = await bench.refused(bench.session())
    assert (blocked.reason, blocked.keeps_place) == ("PoolEmpty", True)
    assert "arbiter" in blocked.message
    assert bench.pods("adopted") == set()
    assert bench.kube.writes == []
    assert bench.claims.waiting(POOL) == [SessionKey("shop", "demo")]
    assert woken(bench.ctx).woken_pools == [POOL]


async def test_i2_three_sessions_at_once_get_nine_different_pods_and_a_fourth_none() -> None:
    bench = Bench(free=3)
    sessions = [bench.session(name) for name in "abcd"]
    tasks = [bench.claim(one, {role: f"{one.key.name}-{role}" for role in ROLES}) for one in sessions]
    *got, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(last, Blocked)
    assert all(isinstance(names, set) for names in got)
    assert len(set().union(*(names for names in got if isinstance(names, set)))) == 9
    assert bench.nothing_is_kept()


async def test_a_pod_whose_status_kubelet_wrote_meanwhile_is_adopted_all_the_same() -> None:
    bench = Bench()
    bench.watch = False
    for body in bench.kube.all(PODS):
        bench.kube.put(PODS, {"metadata": body["metadata"], "status": body["status"] | {"startTime": "now"}})
    assert len(await bench.claim(bench.session())) == 3


@pytest.mark.parametrize("what", ["gone", "made again", "adopted by another", "no slot", "ending"])
async def test_a_pod_that_is_free_no_more_is_not_taken_and_the_others_are_not_given_back(what: str) -> None:
    """A wallet may have been open in those; two sessions that kept theirs could wait for each other."""
    bench = Bench()
    other = bench.session("other")
    (name,) = (slot.name for slot in bench.store.free_slots(POOL) if slot.role is Role.VENDOR)
    bench.watch = False
    body = bench.kube.server.get(PODS, "shop", name)
    match what:
        case "gone":
            bench.kube.remove(PODS, name)
        case "made again":
            body["metadata"]["uid"] = "another"
            bench.kube.put(PODS, body)
        case "adopted by another":
            taken = slot_body(name, Role.VENDOR, owner=other)["metadata"]
            bench.kube.put(PODS, body | {"metadata": {**taken, "uid": body["metadata"]["uid"]}})
        case "no slot":
            bench.kube.put(PODS, body | {"metadata": body["metadata"] | {"labels": {Label.SLOT: "free"}}})
        case "ending":
            body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}
            bench.kube.put(PODS, body)
    bench.watch = True
    blocked = await bench.refused(bench.session())
    assert blocked.reason == "Contention"
    assert {pod["metadata"]["name"] for pod in bench.kube.all(PODS)} <= {name}
    assert not bench.claims.is_taking(POOL)
    assert len(bench.store.holders()) <= (what == "adopted by another")


@pytest.mark.parametrize("happens", [False, True], ids=["lost", "answer lost"])
@pytest.mark.parametrize("write", range(3))
async def test_i7_a_claim_that_was_interrupted_goes_on_with_what_it_has(write: int, happens: bool) -> None:
    bench = Bench(free=2)
    bench.kube.fail_at = (write, happens)
    with pytest.raises(UnavailableError):
        await bench.claim(bench.session())
    assert bench.nothing_is_kept()
    adopted = bench.pods("adopted")
    assert len(adopted) == 2 + happens
    names = await bench.claim(bench.session())
    assert adopted <= names
    assert bench.pods("adopted") == names


async def test_i1_a_file_that_another_pod_may_hold_is_not_opened() -> None:
    bench = Bench()
    bench.give(bench.session("other"), Role.BUYER, wallet_file=FILES[Role.BUYER])
    blocked = await bench.refused(bench.session())
    assert blocked.reason == "WalletInUse"
    assert "session other" in blocked.message
    assert len(bench.pods("free")) == 3
    others = {role: f"another-{role}" for role in ROLES}
    assert len(await bench.claim(bench.session(), others)) == 3


async def test_i1_its_own_former_pod_that_still_ends_may_hold_it_too() -> None:
    bench = Bench()
    owner = bench.session()
    bench.store.see_slot(slot_body("ending", Role.BUYER, owner=owner, wallet_file=FILES[Role.BUYER], terminating=True))
    blocked = await bench.refused(owner)
    assert (blocked.reason, "still terminating" in blocked.message) == ("WalletInUse", True)


async def test_i1_two_sessions_that_name_one_file_do_not_take_it_at_the_same_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While pods are adopted none of them says yet which file it may hold."""
    bench = Bench(free=2)
    go, patch = asyncio.Event(), bench.kube.patch

    async def slow(*args: Any, **how: Any) -> Any:
        await go.wait()
        return await patch(*args, **how)

    monkeypatch.setattr(bench.kube, "patch", slow)
    first = asyncio.create_task(bench.claim(bench.session("first")))
    await asyncio.sleep(0)
    assert bench.claims.is_taking(POOL)
    async with asyncio.timeout(5):
        blocked = await bench.refused(bench.session("second"))
    assert blocked.reason == "WalletInUse"
    assert "session first" in blocked.message
    go.set()
    assert len(await first) == 3
    assert (await bench.refused(bench.session("second"))).reason == "WalletInUse"


async def test_i1_a_pod_says_another_file_before_it_holds_it() -> None:
    bench = Bench(free=0)
    owner = bench.session()
    for role in ROLES:
        bench.give(owner, role, wallet_file="former")
    await bench.claim(owner)
    noted = {body["metadata"]["annotations"][Label.WALLET_FILE] for body in bench.kube.all(PODS)}
    assert noted == set(FILES.values())
    assert len(bench.kube.written("patch")) == 3


async def test_at_the_cap_nothing_is_taken_and_nothing_is_written() -> None:
    bench = Bench(max_active=1)
    holder = bench.session("holder", phase=Phase.ACTIVE, spec={"eviction": "Never"})
    for role in ROLES:
        bench.give(holder, role)
    blocked = await bench.refused(bench.session())
    assert blocked.reason == "AtCapacity"
    assert (len(bench.pods("free")), bench.kube.writes) == (3, [])


async def test_whether_there_is_a_place_is_asked_before_anything_is_written() -> None:
    bench = Bench(max_active=1)
    holder = bench.session("holder", phase=Phase.ACTIVE, spec={"eviction": "Never"})
    for role in ROLES:
        bench.give(holder, role)
    with pytest.raises(Blocked, match="AtCapacity"):
        bench.claims.must_have_room(bench.session(), bench.pool)


@pytest.mark.parametrize("fails", [True, False])
async def test_i5_a_claim_takes_a_place_while_it_is_under_way_and_none_when_it_failed(fails: bool) -> None:
    bench = Bench(free=2, max_active=1)
    first, second = bench.session("first"), bench.session("second", created=at(1))
    others = {role: f"another-{role}" for role in ROLES}
    if fails:
        bench.watch = False
        for body in bench.kube.all(PODS):
            bench.kube.remove(PODS, body["metadata"]["name"])
        assert (await bench.refused(first)).reason == "Contention"
        bench.watch = True
        for role in ROLES:
            bench.add(role, name=f"fresh-{role}", created=at(-1))
        for slot in bench.store.free_slots(POOL):
            if not slot.name.startswith("fresh"):
                bench.store.drop_slot(slot_body(slot.name))
        assert len(await bench.claim(second, others)) == 3
    else:
        claims = asyncio.gather(bench.claim(first), bench.claim(second, others), return_exceptions=True)
        got, refused = await claims
        assert isinstance(got, set)
        assert isinstance(refused, Blocked)
        assert refused.reason == "AtCapacity"


@pytest.mark.parametrize(("phase", "kept"), [(Phase.OPENING, 0), (Phase.PENDING, 0), (Phase.ACTIVE, 2)])
async def test_who_opens_nothing_yet_keeps_no_slots_while_it_waits_for_others(phase: Phase, kept: int) -> None:
    bench = Bench(free=0)
    owner = bench.session(phase=phase)
    for role in (Role.BUYER, Role.VENDOR):
        bench.give(owner, role, wallet_file=FILES[role])
    assert (await bench.refused(owner)).reason == "PoolEmpty"
    assert len(bench.pods("adopted")) == kept
    assert bench.pods("free") == set(), "they are not given back"


async def test_of_two_pods_for_one_role_the_one_that_was_told_stays_else_the_older() -> None:
    bench = Bench(free=0)
    owner = bench.session()
    for role in ROLES:
        bench.give(owner, role, name=f"{role}-old", wallet_file=FILES[role], created=at(1))
    bench.give(owner, Role.BUYER, name="buyer-young", wallet_file=FILES[Role.BUYER], created=at(2))
    bench.give(owner, Role.VENDOR, name="vendor-young", wallet_file=FILES[Role.VENDOR], created=at(2))
    told = bench.session(phase=Phase.ACTIVE, status={"wallets": {"buyer": {"pod": "buyer-young", "opened": True}}})
    held = {slot.name for slot in bench.claims.held(told).values()}
    assert held == {"buyer-young", "vendor-old", "arbiter-old"}


async def test_a_second_pod_for_a_role_and_one_that_ended_are_deleted() -> None:
    """A claim whose answer was lost adopts two."""
    bench = Bench(free=0)
    owner = bench.session()
    for role in ROLES:
        bench.give(owner, role, name=f"{role}-old", wallet_file=FILES[role], created=at(1))
    bench.give(owner, Role.BUYER, name="buyer-young", created=at(2))
    ended = slot_body("ended", Role.VENDOR, owner=owner)
    ended["status"]["phase"] = "Failed"
    bench.kube.put(PODS, ended)
    # Nothing says that those that go hold the files.
    assert await bench.claim(owner) == {f"{role}-old" for role in ROLES}
    assert bench.pods("adopted") == {f"{role}-old" for role in ROLES}


async def test_pods_that_never_start_keep_nobodys_place_for_ever() -> None:
    bench = Bench(free=0)
    assert (await bench.refused(bench.session())).keeps_place
    bench.clock.seconds = STARTING_SECONDS
    assert (await bench.refused(bench.session())).keeps_place
    bench.clock.seconds = STARTING_SECONDS + 1
    assert not (await bench.refused(bench.session())).keeps_place


async def test_a_pool_that_starts_none_is_told_in_its_own_words_and_keeps_no_place() -> None:
    bench = Bench(free=0)
    body = pool_body()
    trouble = {
        "type": "Ready",
        "status": "False",
        "reason": "StorageClassNotFound",
        "message": "There is no such class.",
    }
    body["status"] = {"conditions": [trouble]}
    bench.store.see_pool(body)
    blocked = await bench.refused(bench.session())
    assert "There is no such class." in blocked.message
    assert not blocked.keeps_place
    assert bench.claims.waiting(POOL) == []


async def test_as_many_as_may_find_a_slot_are_woken_longest_first() -> None:
    bench = Bench(free=0)
    for number, name in enumerate("abc"):
        await bench.refused(bench.session(name, created=at(number)))
    for _ in range(2):
        bench.add(Role.BUYER)
    bench.claims.wake_waiting(POOL)
    assert [key.name for key in woken(bench.ctx).woken_sessions] == ["a", "b"]


async def test_who_waited_longer_has_the_slots_that_there_are() -> None:
    bench = Bench(free=0)
    first, second = bench.session("first", created=at(1)), bench.session("second", created=at(2))
    await bench.refused(first)
    for role in ROLES:
        bench.add(role)
    assert (await bench.refused(second)).reason == "PoolEmpty"
    assert len(await bench.claim(first)) == 3


async def test_a_session_that_is_gone_waits_for_nothing() -> None:
    bench = Bench(free=0)
    subject = bench.session()
    await bench.refused(subject)
    bench.claims.forget(subject.key)
    assert bench.claims.waiting(POOL) == []
    assert not bench.claims._waits_since
    bench.clock.seconds = STARTING_SECONDS + 1
    assert (await bench.refused(subject)).keeps_place, "and begins to wait anew"
