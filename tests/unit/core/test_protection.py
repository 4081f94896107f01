"""What money says about closing: in doubt it is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.protection import (
    KEY_IMAGES_NEEDED,
    has_new_payment,
    has_payment_under_way,
    is_protected,
    may_hold_money,
)
from escrow_operator.models.session import FundingState, Session
from unit.factories import session

TXID = "c" * 64
EMPTY = {"state": "Awaiting", "received": "0"}
NOTHING = {"total": "0"}
PAYOUT = {"settlement": {"outcome": "Release", "txid": TXID}}


def noted(*, spec: dict[str, Any] | None = None, funded: str | None = None, **status: Any) -> Session:
    """A session whose status says this, and why it is not Funded."""
    if funded:
        status["conditions"] = [{"type": "Funded", "status": "Unknown", "reason": funded, "message": ""}]
    return session(spec=spec, status=status)


def test_a_session_that_lost_money_is_kept_for_those_who_look_into_it() -> None:
    assert not may_hold_money(noted(funding=EMPTY, balance=NOTHING))
    assert may_hold_money(noted(funding=EMPTY, balance=NOTHING, moneyMovedAt="2026-01-01T00:00:00Z"))


@pytest.mark.parametrize("state", FundingState)
def test_a_payment_that_awaits_its_confirmations_is_under_way(state: FundingState) -> None:
    waits = state in (FundingState.MEMPOOL, FundingState.CONFIRMING)
    assert is_protected(noted(funding={"state": state.value, "received": "0.35"})) is waits


def test_a_part_of_a_payment_that_is_not_deep_yet_is_under_way() -> None:
    assert has_payment_under_way(noted(funding={"state": "Partial", "received": "0.2", "pending": "0.1"}))
    assert not has_payment_under_way(noted(funding={"state": "Partial", "received": "0.2", "pending": "0"}))


def test_an_exchange_of_key_images_keeps_the_three_wallets_open() -> None:
    assert is_protected(noted(funding={"state": "Confirmed"}, funded=KEY_IMAGES_NEEDED))
    assert not is_protected(noted(funding={"state": "Confirmed"}, funded="Confirmed"))


@pytest.mark.parametrize(
    ("settlement", "followed"),
    [
        (None, True),
        ({"txid": TXID, "state": "Confirming"}, True),
        ({"txid": TXID, "state": "Confirmed"}, False),
        ({"txid": "d" * 64, "state": "Confirmed"}, True),
    ],
)
def test_a_payout_that_was_named_is_followed_until_it_is_final(
    settlement: dict[str, str] | None, followed: bool
) -> None:
    """The one that was final before is not the one that is named now."""
    status: dict[str, Any] = {} if settlement is None else {"settlement": settlement}
    assert is_protected(noted(spec=PAYOUT, **status)) is followed
    assert not is_protected(noted(**status)), "one that nobody names is none"


@pytest.mark.parametrize(
    ("status", "held"),
    [
        ({}, True),
        ({"balance": NOTHING}, True),
        ({"funding": EMPTY, "balance": NOTHING}, False),
        ({"funding": EMPTY, "balance": {"total": "0.000000000001"}}, True),
        ({"funding": {"state": "Mempool", "received": "0.35"}, "balance": NOTHING}, True),
        ({"funding": EMPTY}, False),
        ({"funding": {"state": "Partial", "received": "0.1"}}, True),
        ({"funding": {"state": "Partial", "received": "0.1"}, "balance": NOTHING}, False),
    ],
)
def test_an_escrow_may_hold_money_unless_somebody_looked_and_saw_none(status: dict[str, Any], held: bool) -> None:
    assert may_hold_money(noted(**status)) is held


@given(
    state=st.sampled_from(FundingState),
    received=st.sampled_from(["0", "0.2", "0.35"]),
    pending=st.sampled_from([None, "0", "0.1"]),
    total=st.sampled_from([None, "0", "0.35"]),
    reason=st.sampled_from([None, KEY_IMAGES_NEEDED, "Confirmed"]),
)
def test_what_is_protected_for_a_payment_is_never_deleted(
    state: FundingState, received: str, pending: str | None, total: str | None, reason: str | None
) -> None:
    funding = {"state": state.value, "received": received} | ({"pending": pending} if pending else {})
    status: dict[str, Any] = {"funding": funding} | ({"balance": {"total": total}} if total else {})
    subject = noted(funded=reason, **status)
    if is_protected(subject):
        assert may_hold_money(subject)


@pytest.mark.parametrize(
    ("before", "seen", "new"),
    [
        (None, {"state": "Mempool", "received": "0.35"}, False),
        (EMPTY, EMPTY, False),
        (EMPTY, {"state": "Mempool", "received": "0.35"}, True),
        ({"state": "Mempool", "received": "0.35"}, {"state": "Confirming", "received": "0.35"}, True),
        (
            {"state": "Confirming", "received": "0.35", "confirmations": 1},
            {"state": "Confirming", "received": "0.35", "confirmations": 2},
            False,
        ),
    ],
)
def test_i6_a_payment_is_use_once_and_its_blocks_are_none(
    before: dict[str, Any] | None, seen: dict[str, Any], new: bool
) -> None:
    """The first look of all tells what was there before: it is no use."""
    status: dict[str, Any] = {"funding": before} if before else {}
    assert has_new_payment(noted(**status), seen) is new
