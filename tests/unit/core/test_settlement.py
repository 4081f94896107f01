"""A payout followed through everything that can happen to it."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.core.agreement import WalletView
from escrow_operator.core.settlement import SettlementView, assess_settlement, final_phase, is_followed
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import ChainFacts, Output, Transfer
from escrow_operator.models.session import Outcome, Phase, Remainder, Settlement
from unit.factories import session
from unit.money import agreed, chain, in_pool, output, transaction, txid, view

TXID = txid("c")
HELD = output("0.35")


def look(
    facts: ChainFacts, *said: Output | Transfer, remainder: Remainder | None = None, **others: WalletView
) -> SettlementView:
    settlement = Settlement(outcome=Outcome.RELEASE, txid=TXID, remainder=remainder)
    return assess_settlement(settlement, agreed(facts, *said, **others), confirmations=10)


def payout(depth: int, **options: Any) -> ChainFacts:
    spends = {"spent": ["a"]} if depth else {"spent_in_pool": ["a"]}
    return chain({"a": 30, "c": transaction(depth, spends=["a"], **options)}, **spends)


@pytest.mark.parametrize(
    ("depth", "state", "phase"),
    [
        (0, "Mempool", Phase.SETTLING),
        (1, "Confirming", Phase.SETTLING),
        (9, "Confirming", Phase.SETTLING),
        (10, "Confirmed", Phase.ACTIVE),
    ],
)
def test_a_payout_gets_deeper_in_monerods_chain(depth: int, state: str, phase: Phase) -> None:
    view = look(payout(depth), HELD)
    assert (view.state, view.phase, view.confirmations) == (state, phase, depth)
    assert view.fields == {"txid": TXID, "confirmations": depth, "state": state}
    assert view.is_final == view.condition.status == (state == "Confirmed")
    assert view.pays_out


def test_i13_a_wallet_on_another_chain_settles_nothing() -> None:
    """It calls the payout outgoing with 20 confirmations; monerod has it in its pool."""
    view = look(payout(0), HELD)
    assert (view.condition.status, view.condition.reason, view.is_final) == (False, "InMempool", False)


@pytest.mark.parametrize("liar", ROLES)
def test_i13_one_wallet_makes_no_foreign_transaction_a_payout(liar: Role) -> None:
    """It claims an output of which the foreign transaction spends the key image."""
    facts = chain({"a": 30, "9": 30, "c": transaction(50, spends=["9"])}, spent=["9"])
    others: dict[str, Any] = {liar.value: view(HELD, output("0.35", "9"))}
    found = look(facts, HELD, **others)
    assert (found.state, found.condition.status, found.pays_out) == ("NotFound", False, False)


@pytest.mark.parametrize("liar", ROLES)
def test_i13_one_wallet_hides_no_payout(liar: Role) -> None:
    others: dict[str, Any] = {liar.value: view()}
    assert look(payout(10), HELD, **others).is_final


def test_a_payout_nobody_knows_says_what_to_do() -> None:
    view = look(chain({"a": 30}), HELD)
    assert (view.state, view.phase, view.condition.reason) == ("NotFound", Phase.ACTIVE, "TransactionNotFound")
    assert "make another payout and set spec.settlement" in view.condition.message


def test_what_pays_in_is_no_payout() -> None:
    assert look(chain({"c": 20}), output("0.35", "c")).state == "NotAPayout"
    assert look(chain({"a": 20, "c": 0}), HELD, in_pool("1", "c")).state == "NotAPayout"


def test_monerod_tells_of_a_double_spend() -> None:
    view = look(payout(0, double=True), HELD)
    assert (view.state, view.condition.status, view.pays_out) == ("DoubleSpent", False, False)


def test_without_key_images_nobody_knows_whether_it_pays_out() -> None:
    view = look(payout(20), output("0.35", known=False))
    assert (view.condition.status, view.condition.reason, view.phase) == (None, "KeyImagesNeeded", Phase.ACTIVE)
    assert look(chain({"a": 20}), output("0.35", known=False)).condition.reason == "TransactionNotFound"


@pytest.mark.parametrize(
    ("facts", "left"),
    [
        # Its change, of which nobody has exchanged key images yet.
        (chain({"a": 30, "c": transaction(10, spends=["a"])}, spent=["a"]), output("0.05", "c", known=False)),
        # Another payment that it does not spend.
        (chain({"a": 30, "b": 30, "c": transaction(10, spends=["a"])}, spent=["a"]), output("0.05", "b")),
        # One that is not even in a block.
        (payout(10), in_pool("0.05", "d")),
    ],
)
def test_a_payout_that_leaves_money_does_not_end_the_trade_until_that_is_wanted(
    facts: ChainFacts, left: Output | Transfer
) -> None:
    view = look(facts, HELD, left)
    assert (view.condition.status, view.condition.reason) == (True, "RemainderLeft")
    assert (view.is_final, view.phase, view.pays_out) == (False, Phase.ACTIVE, True)
    assert view.fields["remainder"] == "0.05"
    assert "0.05 XMR are left in the escrow" in view.condition.message
    assert "spec.settlement.remainder to Keep" in view.condition.message
    kept = look(facts, HELD, left, remainder=Remainder.KEEP)
    assert (kept.is_final, kept.condition.reason, kept.fields["remainder"]) == (True, "Final", "0.05")


def test_a_second_payout_of_the_rest_ends_the_trade() -> None:
    facts = chain({"a": 50, "b": transaction(30, spends=["a"]), "c": transaction(10, spends=["b"])}, spent=["a", "b"])
    assert look(facts, HELD, output("0.05", "b")).is_final


def test_dust_that_is_not_worth_a_fee_keeps_no_trade_open() -> None:
    facts = chain({"a": 30, "b": 2, "c": transaction(10, spends=["a"], fee="0.00003")}, spent=["a"])
    assert look(facts, HELD, output("0.00003", "b")).is_final
    assert not look(facts, HELD, output("0.000030000001", "b")).is_final


def test_outcomes_end_in_their_phases() -> None:
    assert final_phase(Outcome.RELEASE) is Phase.COMPLETED
    assert final_phase(Outcome.REFUND) is Phase.REFUNDED


@pytest.mark.parametrize(
    ("status", "followed"),
    [
        ({}, True),
        ({"settlement": {"txid": "d" * 64}}, True),
        ({"settlement": {"txid": TXID, "state": "Confirming"}}, True),
        ({"settlement": {"txid": TXID, "state": "NotFound"}}, False),
        # It left a remainder: the session is open, and its time runs.
        ({"settlement": {"txid": TXID, "state": "Confirmed"}}, False),
    ],
)
def test_what_is_followed_does_not_expire(status: dict[str, object], followed: bool) -> None:
    spec = {"settlement": {"outcome": "Release", "txid": TXID}}
    assert is_followed(session(spec=spec, status=status)) is followed
    assert not is_followed(session(status=status))
