"""Exchanges of key images erase nonces: neither dust nor failures nor forks make more of them than there must be."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.funding import Reading
from escrow_operator.core.keyimages import (
    RETRY_SECONDS,
    SECONDS_BETWEEN,
    Exchange,
    Wanted,
    is_due,
    occasions,
    unknown,
    up_to_date,
)
from escrow_operator.models.monero import Output, parse_xmr
from unit.money import agreed, chain, key_image, output, transaction, txid

WANTED = Wanted(parse_xmr("0.35"), None)
NONE: frozenset[str] = frozenset()


def reading(*outputs: Output, depth: int = 20, spent: tuple[str, ...] = (), **others: int) -> Reading:
    names = {one.txid.rstrip("0"): depth for one in outputs}
    return agreed(chain(names | others, spent=spent), *outputs)


def made(for_what: Reading, *, at: float = 0.0, failed: bool = False, wanted: Wanted = WANTED) -> Exchange:
    """An exchange that changed nothing of what it was made for."""
    return Exchange(unknown(for_what), occasions(for_what, wanted), at, failed)


PAID = output("0.35", "a", known=False)


def test_while_all_is_known_there_is_nothing_to_exchange() -> None:
    assert not is_due(reading(output("0.35", "a")), None, WANTED, now=0)
    assert not is_due(reading(), None, WANTED, now=0)


def test_the_first_is_made_at_once() -> None:
    assert is_due(reading(PAID), None, WANTED, now=0)


def test_outputs_of_transactions_that_monerod_does_not_know_are_no_reason() -> None:
    assert not is_due(agreed(chain({}), PAID), None, WANTED, now=0)


def test_one_that_brought_nothing_is_not_repeated_before_its_time() -> None:
    seen = reading(PAID)
    last = made(seen)
    assert not is_due(seen, last, WANTED, now=SECONDS_BETWEEN - 1)
    assert is_due(seen, last, WANTED, now=SECONDS_BETWEEN)


def test_after_one_that_failed_even_the_payment_waits_a_minute() -> None:
    """It may have erased nonces all the same."""
    dust = reading(output("0.000001", "b", known=False))
    last = made(dust, failed=True)
    complete = reading(PAID, output("0.000001", "b", known=False))
    assert not is_due(complete, last, WANTED, now=RETRY_SECONDS - 1)
    assert is_due(complete, last, WANTED, now=RETRY_SECONDS)


def test_what_completes_the_sum_is_asked_for_at_once() -> None:
    part = output("0.2", "a")
    last = made(reading(part, output("0.05", "b", known=False)))
    rest = output("0.15", "d", known=False)
    assert is_due(reading(part, output("0.05", "b", known=False), rest), last, WANTED, now=1)
    short = dataclasses.replace(rest, amount=rest.amount - 1)
    assert not is_due(reading(part, output("0.05", "b", known=False), short), last, WANTED, now=1)


def test_money_that_is_spent_completes_nothing() -> None:
    part, rest = output("0.2", "a"), output("0.15", "d", known=False)
    facts = chain({"a": 20, "d": 20}, spent_in_pool=["a"])
    assert not is_due(agreed(facts, part, rest), Exchange(frozenset(), NONE, 0.0), WANTED, now=1)


def test_more_than_is_wanted_is_dust() -> None:
    full = output("0.35", "a")
    more = reading(full, output("5", "b", known=False))
    assert not is_due(more, Exchange(frozenset(), NONE, 0.0), WANTED, now=1)


@given(st.lists(st.integers(1, parse_xmr("0.001")), max_size=40), st.booleans())
def test_dust_in_every_block_causes_one_an_hour(amounts: list[int], failing: bool) -> None:
    """Anybody can send it, and must not keep the owners from signing; neither may exchanges that fail."""
    wanted, held = WANTED, [PAID]
    last: Exchange | None = None
    times = []
    for number, amount in enumerate(amounts):
        held.append(Output(f"b{number:02}".ljust(64, "0"), f"{number:064x}", amount, ""))
        seen = agreed(chain({f"b{n:02}": 20 for n in range(number + 1)} | {"a": 20}), *held)
        last = last and up_to_date(last, seen, wanted)
        if is_due(seen, last, wanted, now=number * 120.0):
            times.append(number * 120.0)
            last = made(seen, at=number * 120.0, failed=failing)
    assert all(later - earlier >= SECONDS_BETWEEN for earlier, later in itertools.pairwise(times))
    assert len(times) >= (1 if amounts else 0)


def test_an_output_that_was_spent_in_a_block_is_one_occasion_for_its_change() -> None:
    spent, change = output("0.35", "a"), output("0.1", "b", known=False)
    seen = reading(spent, change, spent=("a",))
    assert occasions(seen, WANTED) == {key_image("a")}
    last = Exchange(unknown(seen), NONE, 0.0)
    assert is_due(seen, last, WANTED, now=1)
    assert not is_due(seen, made(seen), WANTED, now=1)


def test_one_that_is_spent_in_the_pool_only_is_none() -> None:
    facts = chain({"a": 20}, spent_in_pool=["a"])
    assert occasions(agreed(facts, output("0.35", "a")), WANTED) == NONE


@pytest.mark.parametrize(
    ("spends", "known", "occasion"), [(["a"], True, False), (["a"], False, True), ([], True, True)]
)
def test_a_named_payout_is_one_occasion_unless_it_spends_what_is_known(
    spends: list[str], known: bool, occasion: bool
) -> None:
    seen = agreed(chain({"a": 20, "c": transaction(0, spends=spends)}), output("0.35", "a", known=known))
    assert (txid("c") in occasions(seen, Wanted(WANTED.amount, txid("c")))) is occasion


def test_a_payout_that_monerod_does_not_know_is_none() -> None:
    """Its txid is whatever somebody wrote into the spec."""
    seen = reading(PAID)
    assert occasions(seen, Wanted(WANTED.amount, txid("c"))) == NONE
    assert occasions(seen, Wanted(WANTED.amount, "")) == NONE


def test_after_a_reorganisation_what_was_exchanged_for_is_new_again() -> None:
    seen = reading(PAID, output("0.1", "b"), spent=("b",))
    last = made(seen)
    elsewhere = agreed(chain({"b": 20}), PAID, output("0.1", "b"))
    forgotten = up_to_date(last, elsewhere, WANTED)
    assert (forgotten.still, forgotten.occasions) == (frozenset(), NONE)
    assert is_due(seen, forgotten, WANTED, now=1)
    assert not is_due(seen, up_to_date(last, seen, WANTED), WANTED, now=1)
