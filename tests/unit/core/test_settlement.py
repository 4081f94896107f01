"""A payout followed through everything that can happen to it."""

from __future__ import annotations

import pytest

from escrow_operator.core.settlement import assess_settlement, final_phase, is_followed
from escrow_operator.models.monero import ChainTransaction, Transfer, TransferType
from escrow_operator.models.session import Outcome, Phase, Settlement
from unit.core.test_funding import transfer
from unit.factories import session

TXID = "c" * 64
PAYOUT = Settlement(outcome=Outcome.RELEASE, txid=TXID)
KNOWN = ChainTransaction(in_pool=False, confirmations=0, double_spend_seen=False)


def seen(kind: TransferType, confirmations: int = 0, *, double: bool = False) -> Transfer:
    return transfer("0.35", confirmations, txid=TXID, kind=kind, double=double)


@pytest.mark.parametrize(
    ("wallets", "state", "phase"),
    [
        ([None, None, None], "NotFound", Phase.ACTIVE),
        ([seen(TransferType.PENDING), seen(TransferType.PENDING), None], "Mempool", Phase.SETTLING),
        # The change of a payout, seen by a wallet that did not sign.
        ([None, None, seen(TransferType.POOL)], "Mempool", Phase.SETTLING),
        ([seen(TransferType.OUT, 1), None, None], "Confirming", Phase.SETTLING),
        (
            [seen(TransferType.OUT, 3), seen(TransferType.OUT, 2), seen(TransferType.IN, 3)],
            "Confirming",
            Phase.SETTLING,
        ),
        ([seen(TransferType.OUT, 10), None, None], "Confirmed", Phase.ACTIVE),
        ([seen(TransferType.FAILED), None, None], "Failed", Phase.ACTIVE),
        ([seen(TransferType.PENDING, double=True), None, None], "DoubleSpent", Phase.ACTIVE),
        ([seen(TransferType.IN, 20)] * 3, "NotAPayout", Phase.ACTIVE),
    ],
)
def test_states(wallets: list[Transfer | None], state: str, phase: Phase) -> None:
    view = assess_settlement(PAYOUT, wallets, KNOWN, confirmations=10)
    assert view.state == state
    assert view.is_final == (state == "Confirmed")
    assert view.condition.status == (state == "Confirmed")
    if not view.is_final:
        assert view.phase is phase


def test_a_failed_payout_says_what_to_do() -> None:
    view = assess_settlement(PAYOUT, [None, None, None], None, confirmations=10)
    assert view.condition.reason == "TransactionNotFound"
    assert "make another payout and set spec.settlement" in view.condition.message


def test_what_the_network_dropped_is_not_under_way_whatever_its_sender_thinks() -> None:
    view = assess_settlement(PAYOUT, [seen(TransferType.PENDING)] * 3, None, confirmations=10)
    assert (view.state, view.phase) == ("NotFound", Phase.ACTIVE)


def test_monerod_tells_of_a_double_spend() -> None:
    double = ChainTransaction(in_pool=True, confirmations=0, double_spend_seen=True)
    assert assess_settlement(PAYOUT, [seen(TransferType.PENDING)], double, confirmations=10).state == "DoubleSpent"


def test_confirmations_are_the_highest_reported() -> None:
    view = assess_settlement(
        PAYOUT, [seen(TransferType.OUT, 4), None, seen(TransferType.OUT, 6)], KNOWN, confirmations=10
    )
    assert view.fields == {"txid": TXID, "confirmations": 6, "state": "Confirming"}


def test_outcomes_end_in_their_phases() -> None:
    assert final_phase(Outcome.RELEASE) is Phase.COMPLETED
    assert final_phase(Outcome.REFUND) is Phase.REFUNDED


@pytest.mark.parametrize(
    ("spec", "status", "followed"),
    [
        ({}, {}, False),
        ({"settlement": {"outcome": "Release", "txid": TXID}}, {}, True),
        ({"settlement": {"outcome": "Release", "txid": TXID}}, {"settlement": {"txid": "d" * 64}}, True),
        (
            {"settlement": {"outcome": "Release", "txid": TXID}},
            {"settlement": {"txid": TXID, "state": "Confirming"}},
            True,
        ),
        (
            {"settlement": {"outcome": "Release", "txid": TXID}},
            {"settlement": {"txid": TXID, "state": "NotFound"}},
            False,
        ),
    ],
)
def test_what_is_followed_does_not_expire(spec: dict[str, object], status: dict[str, object], followed: bool) -> None:
    assert is_followed(session(spec=spec, status=status)) is followed
