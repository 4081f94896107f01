"""What at least two wallets say is believed, and no more (invariant I13)."""

from __future__ import annotations

import pytest

from escrow_operator.core.agreement import NOTHING, Money, agree, cosigners
from escrow_operator.models.common import ROLES, Role
from unit.money import in_pool, key_image, output, txid, view

PAID = view(output("0.35"))


def amounts(money: Money) -> list[int]:
    return [held.amount for held in money.outputs]


@pytest.mark.parametrize("liar", ROLES)
def test_one_wallet_adds_nothing_and_hides_nothing(liar: Role) -> None:
    adds = agree({role: view(output("9"), in_pool("8", "b")) if role is liar else view() for role in ROLES})
    assert adds == Money(dissenters=(liar,))
    hides = agree({role: view() if role is liar else PAID for role in ROLES})
    assert (amounts(hides), hides.dissenters) == ([350000000000], (liar,))


@pytest.mark.parametrize("liar", ROLES)
def test_one_wallet_changes_no_amount(liar: Role) -> None:
    money = agree({role: view(output("9")) if role is liar else PAID for role in ROLES})
    assert (amounts(money), money.dissenters) == ([350000000000], (liar,))


def test_two_are_enough_when_the_third_does_not_answer() -> None:
    money = agree({Role.BUYER: PAID, Role.ARBITER: PAID})
    assert (amounts(money), money.dissenters) == ([350000000000], ())
    assert agree({Role.BUYER: PAID}).outputs == ()


def test_a_key_image_is_known_when_two_wallets_know_the_same() -> None:
    unknown = view(output("0.35", known=False))
    assert agree({Role.BUYER: PAID, Role.VENDOR: PAID, Role.ARBITER: unknown}).outputs[0].key_image == key_image("a")
    money = agree({Role.BUYER: PAID, Role.VENDOR: unknown, Role.ARBITER: unknown})
    assert money.outputs[0].key_image == ""
    assert money.dissenters == (), "not to have imported one is no lie"


def test_a_wallet_that_says_the_same_twice_is_one_wallet() -> None:
    twice = view(output("0.35"), output("0.35"), in_pool("1", "b"), in_pool("1", "b"))
    assert agree({Role.BUYER: twice, Role.VENDOR: view(), Role.ARBITER: view()}).outputs == ()


def test_parts_of_one_payment_in_the_pool_are_summed_and_double_spends_are_none() -> None:
    parts = view(in_pool("0.1"), in_pool("0.2"), in_pool("5", "b", double=True))
    money = agree(dict.fromkeys(ROLES, parts))
    assert [(payment.txid, payment.amount) for payment in money.announced] == [(txid("a"), 300000000000)]


def test_what_is_in_a_block_is_not_in_the_pool_too() -> None:
    late = view(output("0.35"), in_pool("0.35"))
    money = agree({Role.BUYER: late, Role.VENDOR: late, Role.ARBITER: PAID})
    assert (len(money.outputs), money.announced) == (1, ())


def test_what_one_wallet_alone_sees_in_the_pool_is_no_payment_yet_and_no_dissent() -> None:
    assert agree({Role.BUYER: view(in_pool("1")), Role.VENDOR: view(), Role.ARBITER: view()}) == NOTHING


def test_no_wallets_hold_nothing() -> None:
    assert agree({}) == NOTHING
    assert agree(dict.fromkeys(ROLES, view())) == NOTHING


def test_key_images_are_taken_only_from_wallets_that_list_the_same_outputs_in_the_same_order() -> None:
    first, second = output("0.1", "a"), output("0.25", "b")
    same, shifted = view(first, second), view(output("1", "c"), first, second)
    assert cosigners({Role.BUYER: same, Role.VENDOR: shifted, Role.ARBITER: same}) == (Role.BUYER, Role.ARBITER)
    assert cosigners({Role.BUYER: same, Role.VENDOR: view(second, first)}) == ()
    assert cosigners({}) == ()
