"""Whatever one wallet says, nothing becomes true that the two others would not make true (invariant I13)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.agreement import WalletView, agree
from escrow_operator.core.funding import Reading, assess
from escrow_operator.core.settlement import assess_settlement
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import ChainFacts, ChainTransaction, Output, Transfer
from escrow_operator.models.session import Outcome, Remainder, Settlement
from unit.money import HEIGHT, chain, in_pool, output, transaction, txid

NAMES = ("a", "b", "c", "d")
PAYOUT = "c"
AMOUNTS = st.sampled_from(["0.05", "0.2", "0.35", "1"])

outputs = st.builds(output, AMOUNTS, st.sampled_from(NAMES), known=st.booleans())
pool = st.builds(
    in_pool, AMOUNTS, st.sampled_from(NAMES), double=st.booleans(), unlock_time=st.sampled_from([0, 0, 9_000_000])
)


@st.composite
def views(draw: st.DrawFn) -> WalletView:
    """What a wallet says; no output twice, as no honest wallet does."""
    said = draw(st.lists(outputs, max_size=4, unique_by=lambda o: o.txid))
    paid = draw(st.lists(pool, max_size=3, unique_by=lambda t: t.txid))
    return WalletView(tuple(said), tuple(paid), HEIGHT)


@st.composite
def lies(draw: st.DrawFn) -> WalletView:
    """What a wallet says that says anything."""
    foreign = st.builds(
        Output, st.sampled_from(list(map(txid, NAMES))), st.just("f" * 64), st.just(10**12), st.just("")
    )
    said = draw(st.lists(st.one_of(outputs, foreign), max_size=6))
    paid: list[Transfer] = draw(st.lists(pool, max_size=6))
    return WalletView(tuple(said), tuple(paid), HEIGHT)


@st.composite
def chains(draw: st.DrawFn) -> ChainFacts:
    """What monerod says, of some of the transactions."""
    found: dict[str, ChainTransaction | int] = {
        name: transaction(
            draw(st.sampled_from([0, 1, 9, 10, 40])),
            spends=draw(st.lists(st.sampled_from(NAMES), max_size=2)),
            unlock_time=draw(st.sampled_from([0, 0, 0, 5])),
        )
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True))
    }
    spent, in_pool_only = (draw(st.lists(st.sampled_from(NAMES), unique=True)) for _ in range(2))
    return chain(found, spent=spent, spent_in_pool=in_pool_only)


def funded(reading: Reading) -> bool | None:
    return assess(reading, amount="0.35", confirmations=10).condition.status


@given(honest=views(), lie=lies(), facts=chains(), liar=st.sampled_from(ROLES))
def test_i13_funded_is_what_two_honest_wallets_make_it(
    honest: WalletView, lie: WalletView, facts: ChainFacts, liar: Role
) -> None:
    two = {role: honest for role in ROLES if role is not liar}
    alone, lied_to = Reading(agree(two), facts), Reading(agree(two | {liar: lie}), facts)
    assert funded(lied_to) is funded(alone)
    assert (
        assess(lied_to, amount="0.35", confirmations=10).fields == assess(alone, amount="0.35", confirmations=10).fields
    )


@given(honest=views(), forgetful=views(), lie=lies(), facts=chains(), liar=st.sampled_from(ROLES), keep=st.booleans())
def test_i13_settled_and_funded_are_true_only_where_the_chain_and_an_honest_wallet_make_them(
    *, honest: WalletView, forgetful: WalletView, lie: WalletView, facts: ChainFacts, liar: Role, keep: bool
) -> None:
    """The two honest ones need not have imported the same key images, nor see the pool alike."""
    known = {o.txid: o for o in forgetful.outputs}
    other = WalletView(
        tuple(Output(o.txid, o.public_key, o.amount, o.key_image if o.txid in known else "") for o in honest.outputs),
        forgetful.pool,
        HEIGHT,
    )
    first, second = (role for role in ROLES if role is not liar)
    reading = Reading(agree({first: honest, second: other, liar: lie}), facts)
    if funded(reading):
        deep = [
            o.amount
            for o in honest.outputs
            if o.txid in facts.transactions
            and facts.confirmations(o.txid) >= 10
            and not facts.transactions[o.txid].unlock_time
            and o.key_image not in facts.spent
        ]
        assert sum(deep) >= 350_000_000_000
    settlement = Settlement(outcome=Outcome.REFUND, txid=txid(PAYOUT), remainder=Remainder.KEEP if keep else None)
    view = assess_settlement(settlement, reading, confirmations=10)
    if view.condition.status:
        spends = facts.transactions[txid(PAYOUT)].key_images
        assert facts.confirmations(txid(PAYOUT)) >= 10
        assert any(o.key_image in spends for o in (*honest.outputs, *other.outputs) if o.key_image)
