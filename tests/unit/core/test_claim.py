"""Which slots a session takes (invariants I1 and I2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.claim import plan_claim, wallet_holders
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.slot import Slot
from unit.factories import at, session, slot

DAEMON = "digest"


def full_pool(count: int = 1) -> list[Slot]:
    return [slot(f"{role}-{n}", role, created=at(n)) for role in ROLES for n in range(count)]


def test_takes_one_slot_of_each_role_in_claim_order() -> None:
    plan = plan_claim(reversed(full_pool(2)), ROLES, daemon=DAEMON)
    assert [taken.name for taken in plan.take] == ["buyer-0", "vendor-0", "arbiter-0"]


def test_takes_none_when_one_role_lacks_a_slot() -> None:
    free = [candidate for candidate in full_pool() if candidate.role is not Role.VENDOR]
    plan = plan_claim(free, ROLES, daemon=DAEMON)
    assert plan.take == ()
    assert plan.lacking == (Role.VENDOR,)


def test_takes_only_what_is_missing() -> None:
    plan = plan_claim(full_pool(), [Role.ARBITER], daemon=DAEMON)
    assert [taken.role for taken in plan.take] == [Role.ARBITER]


def test_leaves_slots_to_those_who_waited_longer() -> None:
    assert plan_claim(full_pool(2), ROLES, daemon=DAEMON, ahead=2).lacking == ROLES
    assert len(plan_claim(full_pool(3), ROLES, daemon=DAEMON, ahead=2).take) == 3


def test_slots_that_are_not_ready_or_terminating_are_not_free() -> None:
    free = [slot("a", ready=False), slot("b", terminating=True), slot("c", owner=session())]
    assert plan_claim(free, [Role.BUYER], daemon=DAEMON).lacking == (Role.BUYER,)


def test_slots_of_another_daemon_are_not_free() -> None:
    """They are being replaced; one of before there were digests is as good as a new one."""
    former, present = slot("former", daemon="former"), slot("present", daemon=DAEMON, created=at(9))
    assert plan_claim([former], [Role.BUYER], daemon=DAEMON).lacking == (Role.BUYER,)
    assert plan_claim([former, present], [Role.BUYER], daemon=DAEMON).take == (present,)
    assert plan_claim([slot("old-operator")], [Role.BUYER], daemon=DAEMON).lacking == ()


def test_spreads_over_nodes_before_it_looks_at_age() -> None:
    free = [
        slot("buyer-old", Role.BUYER, node="a", created=at(0)),
        slot("vendor-old", Role.VENDOR, node="a", created=at(0)),
        slot("vendor-young", Role.VENDOR, node="b", created=at(9)),
    ]
    assert [s.name for s in plan_claim(free, [Role.BUYER, Role.VENDOR], daemon=DAEMON).take] == [
        "buyer-old",
        "vendor-young",
    ]


@given(
    free=st.lists(st.tuples(st.sampled_from(ROLES), st.booleans(), st.sampled_from("abc")), max_size=20),
    wanted=st.sets(st.sampled_from(ROLES), min_size=1),
    ahead=st.integers(0, 4),
)
def test_i2_all_or_none(free: list[tuple[Role, bool, str]], wanted: set[Role], ahead: int) -> None:
    slots = [slot(f"s{n}", role, ready=ready, node=node) for n, (role, ready, node) in enumerate(free)]
    plan = plan_claim(slots, wanted, daemon=DAEMON, ahead=ahead)
    enough = all(sum(s.claimable and s.role is role for s in slots) > ahead for role in wanted)
    assert bool(plan.take) == enough
    if enough:
        assert {taken.role for taken in plan.take} == wanted
        assert len(plan.take) == len(wanted)
        assert all(taken.claimable for taken in plan.take)
    else:
        assert plan.lacking


def test_i1_other_sessions_and_terminating_pods_hold_a_wallet() -> None:
    mine, other = session("mine"), session("other")
    wanted = {Role.BUYER: "w1", Role.VENDOR: "w2", Role.ARBITER: "w3"}
    slots = [
        slot("b", Role.BUYER, owner=other, wallet_file="w1"),
        slot("v", Role.VENDOR, owner=mine, wallet_file="w2", terminating=True),
        slot("a", Role.ARBITER, owner=mine, wallet_file="w3"),
        slot("x", Role.BUYER, owner=other, wallet_file="w9"),
    ]
    holders = wallet_holders(slots, wanted, mine.uid)
    assert {role: holder.name for role, holder in holders.items()} == {Role.BUYER: "b", Role.VENDOR: "v"}
