"""What wallets and monerod together mean for the Funded condition (invariants I8 and I13)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from escrow_operator.core.agreement import WalletView
from escrow_operator.core.conditions import Condition
from escrow_operator.core.funding import MOST_OUTPUTS, Funding, assess, money_moved_at
from escrow_operator.models.common import ROLES, Role, format_time
from escrow_operator.models.monero import ChainFacts, Output, Transfer, format_xmr
from unit.factories import at, session
from unit.money import HEIGHT, agreed, chain, in_pool, output, transaction, txid, view

WANTED = "0.35"
NOTHING = chain({})


def look(facts: ChainFacts, *said: Output | Transfer, payout: str | None = None, **others: WalletView) -> Funding:
    return assess(agreed(facts, *said, **others), amount=WANTED, confirmations=10, payout=payout)


def verdict(funding: Funding) -> tuple[bool | None, str]:
    return funding.condition.status, funding.condition.reason


def test_nothing_received() -> None:
    funding = look(NOTHING)
    assert verdict(funding) == (False, "AwaitingPayment")
    assert funding.fields["funding"] == {"state": "Awaiting", "received": "0", "confirmations": 0}
    assert funding.fields["balance"] == {"total": "0", "unlocked": "0", "blocksToUnlock": 0}


def test_a_payment_in_the_pool() -> None:
    funding = look(NOTHING, in_pool("0.35"))
    assert verdict(funding) == (False, "InMempool")
    assert funding.fields["funding"] == {
        "state": "Mempool",
        "received": "0.35",
        "confirmations": 0,
        "txid": txid("a"),
        "pending": "0.35",
    }
    assert funding.fields["balance"] == {"total": "0.35", "unlocked": "0", "blocksToUnlock": 0}


@pytest.mark.parametrize(
    ("depth", "state", "reason", "funded"),
    [
        (1, "Confirming", "Confirming", False),
        (9, "Confirming", "Confirming", False),
        (10, "Confirmed", "Confirmed", True),
        (500, "Confirmed", "Confirmed", True),
    ],
)
def test_a_payment_gets_deeper_in_monerods_chain(depth: int, state: str, reason: str, funded: bool) -> None:
    funding = look(chain({"a": depth}), output("0.35"))
    said = funding.fields["funding"]
    assert (said["state"], said["confirmations"], said.get("pending")) == (state, depth, None if funded else "0.35")
    assert verdict(funding) == (funded, reason)
    unlocked = "0.35" if depth >= 10 else "0"
    assert funding.fields["balance"] == {"total": "0.35", "unlocked": unlocked, "blocksToUnlock": max(0, 10 - depth)}


def test_what_monerod_has_only_in_its_pool_or_does_not_know_is_in_no_block_whatever_wallets_say() -> None:
    """All three wallets call it mined; monerod had a reorganisation, or is the only one on the right chain."""
    assert verdict(look(chain({"a": 0}), output("0.35"))) == (False, "InMempool")
    assert verdict(look(NOTHING, output("0.35"))) == (False, "AwaitingPayment")


def test_too_little_is_partial_however_deep() -> None:
    funding = look(chain({"a": 900}), output("0.349999999999"))
    assert verdict(funding) == (False, "PartiallyPaid")
    assert funding.fields["funding"]["received"] == "0.349999999999"


def test_the_payment_that_completes_the_sum_decides() -> None:
    funding = look(chain({"a": 50, "b": 3}), output("0.2", "a"), output("0.15", "b"))
    assert funding.fields["funding"] == {
        "state": "Confirming",
        "received": "0.35",
        "confirmations": 3,
        "txid": txid("b"),
        "pending": "0.15",
    }


def test_a_later_extra_payment_takes_nothing_back() -> None:
    funding = look(chain({"a": 50}), output("0.35"), in_pool("1", "b"))
    assert funding.condition.status is True
    assert funding.fields["funding"]["received"] == "1.35"
    assert funding.fields["funding"]["pending"] == "1"


def test_a_double_spend_is_no_payment() -> None:
    assert verdict(look(NOTHING, in_pool("0.35", double=True))) == (False, "AwaitingPayment")


def test_i8_no_balance_and_no_funded_without_key_images() -> None:
    funding = look(chain({"a": 20}), output("0.35", known=False))
    assert verdict(funding) == (None, "KeyImagesNeeded")
    assert funding.fields["balance"] is None
    assert funding.fields["funding"]["received"] == "0.35"


def test_dust_takes_neither_funded_nor_the_balance_back() -> None:
    dust = [output("0.000000001", f"d{number}", known=False) for number in range(3)]
    funding = look(chain({"a": 20, "d0": 15, "d1": 1, "d2": 0}), output("0.35"), *dust)
    assert verdict(funding) == (True, "Confirmed")
    assert funding.fields["funding"]["state"] == "Confirmed"
    assert funding.fields["balance"]["total"] == "0.35"


def test_no_number_of_outputs_hides_a_payment_that_is_larger() -> None:
    dust = [output("0.000000001", f"d{number:03}") for number in range(3 * MOST_OUTPUTS)]
    names = {f"d{number:03}": 20 for number in range(3 * MOST_OUTPUTS)} | {"a": 20}
    assert look(chain(names), output("0.35"), *dust).condition.status is True


def test_money_that_is_gone_is_not_funded() -> None:
    funding = look(chain({"a": 20, "b": 20}, spent=["a"]), output("0.35"), output("0.01", "b"))
    assert verdict(funding) == (False, "Spent")
    assert funding.condition.message == "Of 0.36 XMR received, 0.01 are left; 0.35 are asked for."
    assert funding.fields["balance"]["total"] == "0.01"


def test_the_balance_is_not_known_while_money_is_on_its_way_out() -> None:
    funding = look(chain({"a": 20, "b": 20}, spent_in_pool=["a"]), output("0.35"), output("0.01", "b"))
    assert verdict(funding) == (False, "Spent")
    assert funding.fields["balance"] is None


def test_a_session_applied_again_is_not_funded_by_what_was_spent_and_what_is_in_the_pool() -> None:
    """Paid, settled, deleted, applied again, the amount sent, nothing mined: that was Funded with 0 confirmations."""
    facts = chain({"a": 50}, spent=["a"])
    assert verdict(look(facts, output("0.35"))) == (False, "Spent")
    funding = look(facts, output("0.35"), in_pool("0.35", "b"))
    assert verdict(funding) == (False, "InMempool")
    assert funding.fields["funding"] == {
        "state": "Mempool",
        "received": "0.35",
        "confirmations": 0,
        "txid": txid("b"),
        "pending": "0.35",
    }


@pytest.mark.parametrize("unlock_time", [1, HEIGHT - 500, HEIGHT + 10**6, 1_900_000_000, 2**64 - 1])
def test_time_locked_payments_fund_nothing(unlock_time: int) -> None:
    facts = chain({"a": transaction(20, unlock_time=unlock_time)})
    funding = look(facts, output("0.35"))
    assert verdict(funding) == (False, "TimeLocked")
    assert funding.fields["funding"] == {"state": "Awaiting", "received": "0", "confirmations": 0}
    assert verdict(look(NOTHING, in_pool("0.35", unlock_time=unlock_time))) == (False, "TimeLocked")


def test_a_time_locked_payment_hides_no_theft() -> None:
    facts = chain({"a": 20, "b": transaction(20, unlock_time=HEIGHT + 30)}, spent=["a"])
    assert verdict(look(facts, output("0.35"), output("1", "b"))) == (False, "Spent")


GONE = Condition("Funded", False, "Spent", "")
REUSED = {"reuseSettledWallets": True}
OPEN = {"setup": "Open", "wallets": {role: {"file": "f", "secretRef": {"name": "s"}} for role in ROLES}}


@pytest.mark.parametrize(
    ("spec", "status", "moved"),
    [
        ({}, {}, at(7)),
        ({}, {"funding": {"state": "Partial"}}, at(7)),
        ({}, {"moneyMovedAt": format_time(at(3))}, at(3)),
        # Outputs of a former trade, and then what came in this one.
        (REUSED, {"funding": {"state": "Awaiting"}}, None),
        (REUSED, {"funding": {"state": "Partial"}}, None),
        (REUSED, {"funding": {"state": "Mempool"}}, None),
        (REUSED, {"funding": {"state": "Confirmed"}}, at(7)),
        (REUSED, {"funding": {"state": "Awaiting"}, "moneyMovedAt": format_time(at(3))}, at(3)),
        (OPEN, {}, None),
        (OPEN, {"funding": {"state": "Confirmed"}}, at(7)),
        # A clock that was a day ahead.
        ({}, {"moneyMovedAt": format_time(at(86_400))}, at(7)),
    ],
)
def test_money_of_this_trade_that_is_gone_is_noted_when_it_is_first_seen(
    spec: dict[str, Any], status: dict[str, Any], moved: datetime | None
) -> None:
    noted = money_moved_at(session(spec=spec, status=status), GONE, now=at(7))
    assert noted == (format_time(moved) if moved else None)


@pytest.mark.parametrize("reason", ["KeyImagesNeeded", "PartiallyPaid", "WalletsDisagree", "InMempool", "TimeLocked"])
def test_a_reading_that_cannot_tell_takes_no_note_back(reason: str) -> None:
    condition = Condition("Funded", None, reason, "")
    known = session(status={"moneyMovedAt": format_time(at(3))})
    assert money_moved_at(known, condition, now=at(7)) == format_time(at(3))
    assert money_moved_at(session(), condition, now=at(7)) is None


@pytest.mark.parametrize("reason", ["PaidOut", "Confirmed"])
def test_money_that_is_accounted_for_is_noted_no_more(reason: str) -> None:
    known = session(status={"moneyMovedAt": format_time(at(3))})
    assert money_moved_at(known, Condition("Funded", None, reason, ""), now=at(7)) is None


def test_a_time_locked_payment_is_in_the_balance_but_not_unlocked() -> None:
    facts = chain({"a": transaction(20, unlock_time=HEIGHT + 30), "b": transaction(20, unlock_time=1_900_000_000)})
    funding = look(facts, output("0.35"), output("1", "b"))
    assert funding.fields["balance"] == {"total": "1.35", "unlocked": "0", "blocksToUnlock": 30}


def test_the_change_of_a_payout_is_no_payment_and_what_it_spends_is_one() -> None:
    facts = chain({"a": 20, "b": transaction(3, spends=["a"])}, spent=["a"])
    funding = look(facts, output("0.35"), output("0.1", "b"), payout=txid("b"))
    assert funding.fields["funding"]["received"] == "0.35"
    assert verdict(funding) == (False, "PaidOut")


@pytest.mark.parametrize("liar", ROLES)
def test_i13_one_wallet_alone_funds_nothing_and_is_named(liar: Role) -> None:
    others: dict[str, Any] = {liar.value: view(output("0.35"))}
    funding = look(chain({"a": 20}), **others)
    assert verdict(funding) == (False, "WalletsDisagree")
    assert funding.condition.message.endswith(f"The {liar}'s wallet says otherwise.")


@pytest.mark.parametrize("liar", ROLES)
def test_i13_one_wallet_alone_takes_nothing_back_and_is_named(liar: Role) -> None:
    others: dict[str, Any] = {liar.value: view()}
    funding = look(chain({"a": 20}), output("0.35"), **others)
    assert verdict(funding) == (True, "Confirmed")
    assert funding.condition.message.endswith(f"The {liar}'s wallet says otherwise.")


def test_sums_that_nobody_can_hold_are_no_error() -> None:
    most = format_xmr(2**64 - 1)
    funding = look(chain({"a": 20, "b": 20}), output(most), output(most, "b"), in_pool(most, "c"))
    assert funding.fields["funding"]["received"] == most
