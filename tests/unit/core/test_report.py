"""The status that is written says what was found, keeps what was known, and dates what is known no longer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.conditions import Condition
from escrow_operator.core.report import Report, after, are_told_open, compose_status, is_told
from escrow_operator.models.common import ROLES, Role, format_time
from escrow_operator.models.session import Phase, Session
from unit.factories import at, session, slot

NOW = at(1000)
OPEN = (Condition("Ready", True, "WalletsOpen", ""), Condition("WalletsOpen", True, "Open", ""))
SHUT = (Condition("Ready", False, "WalletsDisagree", ""), Condition("WalletsOpen", False, "WalletsDisagree", ""))


def noted(ready: str | None = "True", *, since: float = 10, **status: Any) -> Session:
    """A session with a condition Ready since then."""
    told = {
        "type": "Ready",
        "status": ready,
        "reason": "R",
        "message": "",
        "lastTransitionTime": format_time(at(since)),
    }
    return session(status=status | ({"conditions": [told]} if ready else {}), generation=7)


def written(before: Session, *conditions: Condition, **fields: Any) -> dict[str, Any]:
    return compose_status(before, Report(Phase.ACTIVE, conditions, fields), now=NOW)


def test_fields_are_replaced_and_removed_and_all_others_stay() -> None:
    status = written(noted(address="4escrow", opening={"attempts": 3}, funding={"state": "Awaiting"}), opening=None)
    assert "opening" not in status
    assert (status["address"], status["funding"]) == ("4escrow", {"state": "Awaiting"})
    assert (status["phase"], status["observedGeneration"]) == ("Active", 7)


def test_the_status_that_was_read_is_left_as_it_is() -> None:
    before = noted(balance={"total": "1"})
    was = dict(before.status)
    written(before, *SHUT)
    assert before.status == was
    assert before.status["balance"] == {"total": "1"}


def test_a_balance_that_was_just_read_is_of_now() -> None:
    assert written(noted(), *OPEN, balance={"total": "1"})["balance"] == {"total": "1"}


def test_i8_a_balance_that_nobody_reads_any_more_says_as_of_when_it_was_true() -> None:
    before = noted(balance={"total": "1"})
    assert written(before, *SHUT)["balance"] == {"total": "1", "asOf": format_time(NOW)}
    assert written(noted("False", balance={"total": "1"}), *SHUT)["balance"]["asOf"] == format_time(at(10))


def test_i8_one_that_was_read_without_the_wallets_being_open_is_dated_too() -> None:
    assert "asOf" in written(noted(), *SHUT, balance={"total": "1"})["balance"]


def test_i8_one_that_this_look_did_not_read_is_dated_although_the_wallets_are_open() -> None:
    assert written(noted(balance={"total": "1"}), *OPEN)["balance"]["asOf"] == format_time(NOW)


def test_the_date_of_a_balance_does_not_move() -> None:
    old = {"total": "1", "asOf": "2026-01-01T00:00:00Z"}
    assert written(noted(balance=old), *SHUT)["balance"] == old


def test_a_session_that_says_nothing_of_ready_dates_its_balance_as_of_now() -> None:
    assert written(noted(None, balance={"total": "1"}), *SHUT)["balance"]["asOf"] == format_time(NOW)


@given(
    ready=st.sampled_from(["True", "False", "Unknown", None]),
    balance=st.none() | st.just({"total": "1"}),
    found=st.sampled_from([OPEN, SHUT, ()]),
)
def test_who_looks_again_and_finds_the_same_writes_nothing(
    ready: str | None, balance: dict[str, str] | None, found: tuple[Condition, ...]
) -> None:
    """Each write wakes all who watch, and the operator itself."""
    before = noted(ready, balance=balance) if balance else noted(ready)
    report = Report(Phase.ACTIVE, found)
    once = after(before, report, now=NOW)
    assert compose_status(once, report, now=at(5000)) == once.status


def test_that_wallets_are_open_is_told_of_these_very_pods() -> None:
    slots = {role: slot(role.value, role) for role in ROLES}
    told: dict[str, Any] = {role.value: {"pod": role.value, "opened": True} for role in ROLES}
    assert are_told_open(session(status={"wallets": told}), slots)
    assert not are_told_open(session(status={"wallets": told}), {r: slots[r] for r in (Role.BUYER, Role.VENDOR)})
    assert not are_told_open(session(), slots)


@pytest.mark.parametrize("wrong", [{"pod": "another", "opened": True}, {"pod": "vendor", "opened": False}, {}])
def test_one_that_is_not_is_enough(wrong: dict[str, Any]) -> None:
    slots = {role: slot(role.value, role) for role in ROLES}
    told: dict[str, Any] = {role.value: {"pod": role.value, "opened": True} for role in ROLES} | {"vendor": wrong}
    assert not are_told_open(session(status={"wallets": told}), slots)


def test_a_condition_is_told_by_its_reason() -> None:
    before = noted()
    assert is_told(before, Condition("Ready", False, "R", "another message"))
    assert not is_told(before, Condition("Ready", True, "Other", ""))
    assert not is_told(before, Condition("Funded", True, "R", ""))
