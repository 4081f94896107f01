"""What a reading of the wallets means for the Funded condition (invariant I8)."""

from __future__ import annotations

import pytest

from escrow_operator.core.funding import Funding, Reading, assess
from escrow_operator.models.monero import Transfer, TransferType, WalletBalance, parse_xmr

WANTED = "0.35"


def transfer(
    amount: str, confirmations: int, *, txid: str = "a" * 64, kind: TransferType | None = None, double: bool = False
) -> Transfer:
    return Transfer(
        txid=txid,
        type=kind or (TransferType.IN if confirmations else TransferType.POOL),
        amount=parse_xmr(amount),
        fee=0,
        confirmations=confirmations,
        height=confirmations and 100,
        double_spend_seen=double,
        locked=False,
        timestamp=0,
        unlock_time=0,
    )


def look(*incoming: Transfer, total: str | None = None, import_needed: bool = False, **options: str) -> Funding:
    held = parse_xmr(total) if total is not None else sum(t.amount for t in incoming)
    balance = WalletBalance(held, held, 0, 0, import_needed)
    return assess(Reading(balance, incoming, 200), amount=WANTED, confirmations=10, **options)


def test_nothing_received() -> None:
    funding = look()
    assert (funding.condition.status, funding.condition.reason) == (False, "AwaitingPayment")
    assert funding.fields["funding"] == {"state": "Awaiting", "received": "0", "confirmations": 0}


@pytest.mark.parametrize(
    ("confirmations", "state", "reason", "funded"),
    [
        (0, "Mempool", "InMempool", False),
        (1, "Confirming", "Confirming", False),
        (9, "Confirming", "Confirming", False),
        (10, "Confirmed", "Confirmed", True),
        (500, "Confirmed", "Confirmed", True),
    ],
)
def test_a_payment_on_its_way(confirmations: int, state: str, reason: str, funded: bool) -> None:
    funding = look(transfer("0.35", confirmations))
    assert funding.fields["funding"]["state"] == state
    assert funding.fields["funding"]["confirmations"] == confirmations
    assert (funding.condition.status, funding.condition.reason) == (funded, reason)


def test_a_reorg_takes_funded_back() -> None:
    assert look(transfer("0.35", 12)).condition.status is True
    assert look(transfer("0.35", 0)).condition.status is False
    assert look().condition.status is False


def test_too_little_is_partial_however_deep() -> None:
    funding = look(transfer("0.349999999999", 900))
    assert (funding.condition.status, funding.condition.reason) == (False, "PartiallyPaid")
    assert funding.fields["funding"]["received"] == "0.349999999999"


def test_the_payment_that_completes_the_sum_decides() -> None:
    first, second = transfer("0.2", 50, txid="1" * 64), transfer("0.15", 3, txid="2" * 64)
    funding = look(second, first)
    assert funding.fields["funding"]["txid"] == second.txid
    assert funding.fields["funding"]["confirmations"] == 3


def test_a_later_extra_payment_takes_nothing_back() -> None:
    funding = look(transfer("0.35", 50, txid="1" * 64), transfer("1", 0, txid="2" * 64))
    assert funding.condition.status is True
    assert funding.fields["funding"]["received"] == "1.35"


def test_a_double_spend_is_no_payment() -> None:
    assert look(transfer("0.35", 0, double=True)).condition.reason == "AwaitingPayment"


def test_i8_no_balance_and_no_funded_without_key_images() -> None:
    funding = look(transfer("0.35", 20), import_needed=True)
    assert (funding.condition.status, funding.condition.reason) == (None, "KeyImagesNeeded")
    assert funding.fields["balance"] is None
    assert funding.fields["funding"]["received"] == "0.35"


def test_money_that_is_gone_is_not_funded() -> None:
    funding = look(transfer("0.35", 20), total="0.01")
    assert (funding.condition.status, funding.condition.reason) == (False, "Spent")


def test_the_change_of_a_payout_is_no_payment() -> None:
    payout = "f" * 64
    funding = look(transfer("0.35", 20), transfer("0.1", 3, txid=payout), payout=payout)
    assert funding.fields["funding"]["received"] == "0.35"
    assert (funding.condition.status, funding.condition.reason) == (False, "PaidOut")
