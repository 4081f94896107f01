"""A changed spec.daemon reaches open sessions one pod at a time, and costs no more wallets than there are pods for."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import SlotBroken
from escrow_operator.services.sessions.renewal import Renewal
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.slots.prepared import PreparedEscrows
from unit.factories import pool, session_body, slot_body
from unit.world.context import make_context, woken

POOL = pool()
NOW = POOL.spec.daemon.digest
TXID = "ab" * 32


class Bench:
    """Open sessions whose pods were started with the former daemon, and free pods with the present one."""

    def __init__(self, *names: str, free: int = 1, daemon: str | None = "former") -> None:
        ctx = make_context(max_active=9)
        self.store = ctx.store
        self.woken = woken(ctx).woken_pools
        self.claims = SlotClaims(ctx, Capacity(ctx), PreparedEscrows(ctx))
        self.renewal = Renewal(ctx, self.claims)
        self._made = 0
        for name in names:
            self.store.see_session(session_body(name, phase=Phase.ACTIVE))
            for role in ROLES:
                self.store.see_slot(slot_body(f"{name}-{role}", role, owner=self.session(name), daemon=daemon))
            self.tell(name)
        for _ in range(free):
            for role in ROLES:
                self.add_free(role)

    def tell(self, name: str, *, opened: bool = True, phase: Phase = Phase.ACTIVE, **more: Any) -> None:
        """What a look writes down: which pods have the wallets open."""
        wallets = {role.value: {"pod": slot.name, "opened": opened} for role, slot in self.slots(name).items()}
        status = {"wallets": wallets} | more.pop("status", {})
        self.store.see_session(session_body(name, phase=phase, status=status, **more))

    def session(self, name: str) -> Session:
        return self.store.sessions[SessionKey("shop", name)]

    def add_free(self, role: Role, daemon: str = NOW) -> None:
        self._made += 1
        self.store.see_slot(slot_body(f"free-{self._made}", role, daemon=daemon))

    def slots(self, name: str) -> dict[Role, Slot]:
        return {slot.role: slot for slot in self.store.slots_of_session("shop", self.session(name).uid)}

    def look(self, name: str, pool: Pool = POOL) -> Role | None:
        """The role whose pod is given up."""
        try:
            self.renewal.must_be_current(self.session(name), self.slots(name), pool)
        except SlotBroken as broken:
            return broken.slot.role
        return None

    def replace(self, name: str, role: Role) -> None:
        """What deletion and the next claim do."""
        old = self.slots(name)[role]
        self.store.drop_slot(slot_body(old.name, role))
        taken = next(s for s in self.store.free_slots(POOL.key) if s.role is role and s.has_daemon(NOW))
        self.store.see_slot(slot_body(taken.name, role, owner=self.session(name), daemon=NOW))


def test_three_pods_are_replaced_one_after_the_other() -> None:
    bench = Bench("demo")
    replaced = []
    while (role := bench.look("demo")) is not None:
        bench.replace("demo", role)
        assert bench.look("demo") is None, "the wallet in the new pod is not told to be open"
        bench.tell("demo", opened=False)
        assert bench.look("demo") is None
        bench.tell("demo")
        replaced.append(role)
    assert tuple(replaced) == ROLES
    assert not bench.renewal.is_due(bench.slots("demo"), POOL)


def test_the_reason_says_what_it_costs() -> None:
    bench = Bench("demo")
    with pytest.raises(SlotBroken, match=r"DaemonChanged: .*signing round .* has to be started again"):
        bench.renewal.must_be_current(bench.session("demo"), bench.slots("demo"), POOL)


def test_nothing_is_replaced_without_a_free_pod_of_the_present_daemon() -> None:
    bench = Bench("demo", free=0)
    assert bench.look("demo") is None
    bench.add_free(Role.VENDOR, daemon="former")
    assert bench.look("demo") is None
    bench.add_free(Role.VENDOR)
    assert bench.look("demo") is Role.VENDOR


def test_many_sessions_do_not_count_on_the_same_free_pod() -> None:
    bench = Bench("one", "two", "three", free=1)
    given_up = [bench.look(name) for name in ("one", "two", "three")]
    assert given_up == list(ROLES)
    for name, role in zip(("one", "two", "three"), ROLES, strict=True):
        bench.replace(name, role)
        bench.tell(name)
    bench.add_free(Role.VENDOR)
    assert [bench.look(name) for name in ("one", "two", "three")] == [Role.VENDOR, None, None]


def test_a_session_that_goes_away_meanwhile_leaves_its_pod_to_others() -> None:
    bench = Bench("one", "two", free=0)
    bench.add_free(Role.BUYER)
    assert bench.look("one") is Role.BUYER
    assert bench.look("two") is None
    bench.store.drop_session(session_body("one"))
    assert bench.look("two") is Role.BUYER


def test_a_pool_that_keeps_nothing_warm_starts_slots_for_one_session_at_a_time() -> None:
    bench, cold = Bench("one", "two", free=0), pool(warmSlots=0)
    for name in ("one", "two", "one"):
        assert bench.look(name, cold) is None
    assert bench.claims.waiting(POOL.key) == [SessionKey("shop", "one")]
    assert bench.woken == [POOL.key]
    bench.add_free(Role.BUYER)
    assert bench.look("one", cold) is Role.BUYER
    former = pool(warmSlots=0, daemon={"address": "former:18081", "network": "regtest"})
    for role in ROLES:
        bench.store.see_slot(
            slot_body(f"one-{role}", role, owner=bench.session("one"), daemon=former.spec.daemon.digest)
        )
    assert bench.look("one", former) is None
    assert bench.claims.waiting(POOL.key) == [], "it waits no longer when the change was taken back"


def test_pods_of_an_operator_without_digests_stay() -> None:
    assert Bench("demo", daemon=None).look("demo") is None


@pytest.mark.parametrize(("ready", "replaced"), [("True", None), ("False", Role.BUYER)])
def test_while_a_payout_is_followed_only_wallets_that_do_not_see_it_are_replaced(
    ready: str, replaced: Role | None
) -> None:
    bench = Bench("demo")
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": ready}]}
    spec = {"settlement": {"outcome": "Release", "txid": TXID}}
    bench.tell("demo", phase=Phase.SETTLING, spec=spec, status=status)
    assert bench.look("demo") is replaced


def test_a_pod_that_does_not_open_its_wallet_is_replaced_if_it_has_the_former_daemon() -> None:
    bench = Bench("demo", free=0)
    slots = bench.slots("demo")
    bench.add_free(Role.VENDOR)
    bench.renewal.must_not_be_hopeless(bench.session("demo"), None, POOL)
    bench.renewal.must_not_be_hopeless(bench.session("demo"), slots[Role.BUYER], POOL)
    with pytest.raises(SlotBroken, match="DaemonChanged"):
        bench.renewal.must_not_be_hopeless(bench.session("demo"), slots[Role.VENDOR], POOL)
