"""Which pod of an open session is replaced after its pool was pointed at another monerod."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.renewal import is_outdated, slot_to_renew
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.slot import Slot
from unit.factories import session, slot

PRESENT = "present"


def held(**daemons: str | None) -> dict[Role, Slot]:
    """A session's slots, of the present daemon where nothing else is said; None has no annotation."""
    return {role: slot(role, role, owner=session(), daemon=daemons.get(role, PRESENT)) for role in ROLES}


def test_the_first_outdated_slot_for_which_there_is_another_one_goes() -> None:
    slots = held(buyer="former", arbiter="former")
    assert slot_to_renew(slots, PRESENT, offered=ROLES) is slots[Role.BUYER]
    assert slot_to_renew(slots, PRESENT, offered={Role.VENDOR, Role.ARBITER}) is slots[Role.ARBITER]


def test_nothing_is_closed_to_wait_for_a_pod() -> None:
    assert slot_to_renew(held(buyer="former"), PRESENT, offered=()) is None


def test_an_upgrade_of_the_operator_replaces_nothing() -> None:
    slots = held(buyer=None, vendor=None, arbiter=None)
    assert slot_to_renew(slots, PRESENT, offered=ROLES) is None
    assert not is_outdated(slots, PRESENT)


@given(daemons=st.fixed_dictionaries({role.value: st.sampled_from(["", "a", "b"]) for role in ROLES}))
def test_replacing_ends_with_three_slots_of_the_present_daemon(daemons: dict[str, str]) -> None:
    slots = held(**daemons)
    for _ in ROLES:
        found = slot_to_renew(slots, "a", offered=ROLES)
        if found is not None:
            slots[found.role] = slot("new", found.role, daemon="a")
    assert not is_outdated(slots, "a")
    assert all(slots[role].name != "new" for role in ROLES if daemons[role] in ("", "a"))
