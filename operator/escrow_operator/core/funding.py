"""Derives balance, payments and the Funded condition from the answers of the wallets and of monerod."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from typing import Any

from escrow_operator.core.agreement import Held, Money
from escrow_operator.core.conditions import Condition
from escrow_operator.models.common import Role, format_time, parse_time
from escrow_operator.models.monero import MAX_PICONERO, ChainFacts, ChainTransaction, format_xmr, parse_xmr
from escrow_operator.models.session import FundingState, Session, Setup

FUNDED = "Funded"

CONFIRMED, PAID_OUT = "Confirmed", "PaidOut"

SPENT = "Spent"
"""The reason for not being Funded when money left the escrow, and no payout of the spec took it."""

AWAITING_PAYMENT = "AwaitingPayment"
"""The reason of Funded while no payment was received."""

MOST_OUTPUTS = 99
"""Outputs of a session that are looked up at most, the largest first: with the payout, as many transactions as a
restricted RPC port returns at once. To displace a payment, others have to send outputs larger than it."""

SPENDABLE_AGE = 10
"""Confirmations before Monero lets an output be spent."""

KEY_IMAGES_TEXT = (
    "The wallets have yet to exchange key images to know whether the payment is unspent; this is done as soon as two of"
    " them answer."
)
LOCKED_TEXT = (
    "cannot be spent before a time that the payer set (unlock_time), and are no payment. Ask for one without it."
)

FIRST_UNIX_TIME = 500_000_000
"""Smaller unlock times are block heights, others Unix times."""


@dataclass(frozen=True)
class Reading:
    """The escrow's money as two of the three wallets report it, and what monerod reports of it at one top block."""

    money: Money
    chain: ChainFacts

    @property
    def held(self) -> list[tuple[Held, ChainTransaction]]:
        """The counted outputs whose transactions monerod knows, each with its transaction."""
        known = ((output, self.chain.transactions.get(output.txid)) for output in counted(self.money))
        return [(output, found) for output, found in known if found is not None]

    def is_spent(self, output: Held) -> bool:
        """Whether an output is spent, in a block or in the pool; False if its key image is not known."""
        return output.key_image in self.chain.spent

    def left(self, payout: str) -> int:
        """Piconero left in the escrow after ``payout``, a txid. Outputs without a known key image count as unspent."""
        spent = self.chain.transactions[payout].key_images if payout in self.chain.transactions else frozenset()
        unspent = (o.amount for o, _ in self.held if not self.is_spent(o) and o.key_image not in spent)
        announced = (payment.amount for payment in self.money.announced if payment.txid != payout)
        return _sum((*unspent, *announced))


@dataclass(frozen=True)
class Funding:
    """The part of the status about payments into the escrow, and the Funded condition."""

    fields: dict[str, Any]
    condition: Condition


@dataclass(frozen=True)
class _Payment:
    """A payment; ``certain`` if its key image is known, so that monerod can tell that it is unspent."""

    txid: str
    amount: int
    depth: int
    certain: bool


@dataclass(frozen=True)
class _Payments:
    """Payments that count, in order, and the piconero of those that do not: spent (``gone``) or time-locked."""

    there: tuple[_Payment, ...]
    gone: int
    locked: int
    confirmations: int

    def sum(self, *, deep: bool | None = None, certain: bool = False) -> int:
        """Piconero of the payments that are deep enough, or are not (None: of all); optionally only of certain ones."""
        return _sum(
            p.amount for p in self.there if deep in (None, p.depth >= self.confirmations) and (p.certain or not certain)
        )


def counted(money: Money) -> list[Held]:
    """The outputs that are looked up: the ``MOST_OUTPUTS`` largest."""
    return nlargest(MOST_OUTPUTS, money.outputs, key=lambda output: (output.amount, output))


def awaits_money(session: Session) -> bool:
    """Whether a mempool change may concern a session: its payment is not confirmed, or its spec names a payout."""
    funding = session.status.get("funding") or {}
    return funding.get("state") != FundingState.CONFIRMED or session.spec.settlement is not None


def assess(reading: Reading, *, amount: str, confirmations: int, payout: str | None = None) -> Funding:
    """Judge a reading against the ``amount`` (XMR) and the ``confirmations`` that the session asks for.

    ``payout`` is the txid of a settlement under way or final: its change is no payment, and the money it moves is no
    longer held for the trade.

    Outputs count as funded if two wallets report them as the escrow's, they are deep enough in monerod's chain and not
    time-locked, and monerod reports as unspent a key image that two wallets know. An output whose key image is not
    known does not reduce what the others count for.
    """
    wanted = parse_xmr(amount)
    payments = _payments(reading, confirmations, payout)
    state, decisive = _state(payments, wanted)
    received = format_xmr(payments.sum())
    funding: dict[str, Any] = {
        "state": state.value,
        "received": received,
        "confirmations": decisive.depth if decisive else 0,
    }
    if decisive:
        funding["txid"] = decisive.txid
    if pending := payments.sum(deep=False):
        funding["pending"] = format_xmr(pending)
    fields = {"funding": funding, "balance": _balance(reading)}
    if payout is not None:
        return Funding(
            fields, Condition(FUNDED, False, PAID_OUT, "Paid out, or on its way: the Settled condition says how far.")
        )
    depth = decisive.depth if decisive else 0
    return Funding(fields, _condition(payments, wanted, state, depth, reading.money.dissenters))


def money_moved_at(session: Session, funded: Condition, *, now: datetime) -> str | None:
    """When money was first seen to be gone by no payout that the spec names; None where all is accounted for.

    It outlives the closing of the session, after which nobody looks, and readings that cannot tell: a known one goes
    only when the escrow is funded, or paid out as the spec says. Wallets with a past (setup Open, or reused ones) have
    spent outputs of former trades: there only money that had been Confirmed in this session counts.
    """
    known: str | None = session.status.get("moneyMovedAt")
    if known is not None and parse_time(known) > now:
        # Of a clock that was ahead: it would be young for long.
        known = format_time(now)
    if funded.reason in (CONFIRMED, PAID_OUT):
        return None
    if funded.reason != SPENT or known:
        return known
    has_past = session.spec.setup is Setup.OPEN or session.spec.reuse_settled_wallets
    state = (session.status.get("funding") or {}).get("state")
    return format_time(now) if state == FundingState.CONFIRMED or not has_past else None


def _payments(reading: Reading, confirmations: int, payout: str | None) -> _Payments:
    """The oldest payments count first, so that a later extra payment does not revoke what was funded before."""
    paid_out = reading.chain.transactions.get(payout or "")
    spent_by_payout = paid_out.key_images if paid_out else frozenset()
    there, gone, locked = [], 0, 0
    for output, found in reading.held:
        if output.txid == payout:
            continue
        if reading.is_spent(output) and output.key_image not in spent_by_payout:
            gone += output.amount
        elif found.unlock_time:
            locked += output.amount
        else:
            depth = reading.chain.confirmations(output.txid)
            there.append(_Payment(output.txid, output.amount, depth, bool(output.key_image)))
    for announced in reading.money.announced:
        if announced.txid == payout:
            continue
        if announced.unlock_time:
            locked += announced.amount
        else:
            there.append(_Payment(announced.txid, announced.amount, 0, certain=False))
    there.sort(key=lambda p: (not (p.certain and p.depth >= confirmations), -p.depth, p.txid))
    return _Payments(tuple(there), gone, locked, confirmations)


def _state(payments: _Payments, wanted: int) -> tuple[FundingState, _Payment | None]:
    """The state, and the payment that brings the sum to ``wanted`` piconero, else the newest; None without payments."""
    so_far = 0
    for payment in payments.there:
        so_far += payment.amount
        if so_far >= wanted:
            if payment.depth == 0:
                return FundingState.MEMPOOL, payment
            deep = payment.depth >= payments.confirmations
            return FundingState.CONFIRMED if deep else FundingState.CONFIRMING, payment
    return (FundingState.PARTIAL, payments.there[-1]) if payments.there else (FundingState.AWAITING, None)


def _condition(payments: _Payments, wanted: int, state: FundingState, depth: int, roles: Sequence[Role]) -> Condition:
    """Funded. ``depth`` is that of the payment that decides the state; ``roles`` are those whose wallets disagree."""
    progress = f"{min(depth, payments.confirmations)} of {payments.confirmations} confirmations"
    if payments.sum(deep=True, certain=True) >= wanted:
        status, reason, message = True, CONFIRMED, f"{format_xmr(payments.sum())} XMR received, {progress}."
    elif state is FundingState.CONFIRMED:
        status, reason, message = None, "KeyImagesNeeded", KEY_IMAGES_TEXT
    else:
        status, (reason, message) = False, _missing(payments, wanted, state, progress)
    if roles and reason in (AWAITING_PAYMENT, "PartiallyPaid"):
        reason = "WalletsDisagree"
    return Condition(FUNDED, status, reason, message + _dissent(roles))


def _missing(payments: _Payments, wanted: int, state: FundingState, progress: str) -> tuple[str, str]:
    """Reason and message while the escrow is not funded."""
    paid, asked = format_xmr(payments.sum()), format_xmr(wanted)
    if state is FundingState.MEMPOOL:
        return "InMempool", f"{paid} XMR seen, not yet in a block."
    if state is FundingState.CONFIRMING:
        return "Confirming", f"{paid} XMR received, {progress}."
    if payments.gone:
        # Before time-locked payments, with which anybody could hide it.
        total = format_xmr(_sum((payments.sum(), payments.gone)))
        return SPENT, f"Of {total} XMR received, {paid} are left; {asked} are asked for."
    if payments.locked:
        locked = format_xmr(payments.locked)
        return "TimeLocked", f"{paid} of {asked} XMR received. {locked} XMR more {LOCKED_TEXT}"
    if state is FundingState.AWAITING:
        return AWAITING_PAYMENT, f"Nothing received yet of {asked} XMR."
    return "PartiallyPaid", f"{paid} of {asked} XMR received."


def _dissent(roles: Sequence[Role]) -> str:
    if not roles:
        return ""
    return f" The {roles[0]}'s wallet says otherwise." if len(roles) == 1 else " No two wallets say the same."


def _balance(reading: Reading) -> dict[str, Any] | None:
    """The unspent money, payments in the pool included; None while it is not known.

    It is not known while outputs exist and no key image of them is known, and while a transaction in the pool spends
    some: how much of that returns as change shows only in a block.
    """
    if not all(reading.chain.spent.values()):
        return None
    unspent = [(output, found) for output, found in reading.held if not reading.is_spent(output)]
    certain = [(output, found) for output, found in unspent if output.key_image]
    if unspent and not certain:
        return None
    waits = [_blocks_to_unlock(found, reading.chain) for _, found in certain]
    unlocked = (output.amount for (output, _), blocks in zip(certain, waits, strict=True) if blocks == 0)
    total = [output.amount for output, _ in certain] + [payment.amount for payment in reading.money.announced]
    return {
        "total": format_xmr(_sum(total)),
        "unlocked": format_xmr(_sum(unlocked)),
        "blocksToUnlock": max((blocks for blocks in waits if blocks is not None), default=0),
    }


def _blocks_to_unlock(found: ChainTransaction, chain: ChainFacts) -> int | None:
    """Blocks until an output can be spent; None if it is locked by a time rather than a height, or not in a block."""
    if found.unlock_time >= FIRST_UNIX_TIME or found.block_height is None:
        return None
    return max(0, found.block_height + SPENDABLE_AGE - chain.height, found.unlock_time - chain.height)


def _sum(amounts: Iterable[int]) -> int:
    """The sum, at most ``MAX_PICONERO``, whatever the wallets report."""
    return min(sum(amounts), MAX_PICONERO)
