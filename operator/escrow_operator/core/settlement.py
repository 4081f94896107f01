"""Follows the payout of a trade until it is final."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from escrow_operator.core.conditions import Condition
from escrow_operator.core.funding import Reading
from escrow_operator.models.monero import ChainTransaction, format_xmr
from escrow_operator.models.session import Outcome, Phase, Remainder, Session, Settlement

SETTLED = "Settled"


class SettlementState(StrEnum):
    """How far a payout is."""

    MEMPOOL = "Mempool"
    CONFIRMING = "Confirming"
    CONFIRMED = "Confirmed"
    NOT_FOUND = "NotFound"
    DOUBLE_SPENT = "DoubleSpent"
    NOT_A_PAYOUT = "NotAPayout"


UNDER_WAY = frozenset({SettlementState.MEMPOOL, SettlementState.CONFIRMING})
"""In these states the session is Settling: it neither expires nor is evicted, and spec.settlement may not change."""


@dataclass(frozen=True)
class SettlementView:
    """How far the payout is, and what that means for the session. ``left`` is the piconero that stay in the escrow."""

    state: SettlementState
    confirmations: int
    fields: dict[str, Any]
    condition: Condition
    left: int = 0

    @property
    def pays_out(self) -> bool:
        """Whether the money is on its way out of the escrow, or is gone."""
        return self.state in UNDER_WAY or self.state is SettlementState.CONFIRMED

    @property
    def phase(self) -> Phase:
        """Settling while the transaction is on its way; a payout that failed leaves the session usable."""
        return Phase.SETTLING if self.state in UNDER_WAY else Phase.ACTIVE

    @property
    def is_final(self) -> bool:
        """Whether the payout has all the confirmations that the session asks for and leaves no remainder to pay out."""
        return self.state is SettlementState.CONFIRMED and not self.left


def is_followed(session: Session) -> bool:
    """Whether a payout is on its way, or the spec names one that the status does not report on yet."""
    if session.spec.settlement is None:
        return False
    seen = session.status.get("settlement") or {}
    return seen.get("txid") != session.spec.settlement.txid or seen.get("state") in UNDER_WAY


def final_phase(outcome: Outcome) -> Phase:
    """The phase of a session whose payout is final."""
    return Phase.COMPLETED if outcome is Outcome.RELEASE else Phase.REFUNDED


def assess_settlement(settlement: Settlement, reading: Reading, *, confirmations: int) -> SettlementView:
    """Judge what monerod reports of the transaction, by the outputs that two of the wallets report as the escrow's.

    A transaction is a payout if it spends a key image that two wallets know as the escrow's. No wallet is queried for
    the transaction itself, so none can pass off another transaction as a payout, or hide one. monerod decides whether
    the payout exists and how deep it is: a wallet goes on reporting as pending one that the network dropped.

    A remainder stays in the escrow if ``settlement.remainder`` is Keep, or if it is not more than the fee of the payout
    itself: nobody could move it, and anybody could put it there.
    """
    found = reading.chain.transactions.get(settlement.txid)
    depth = reading.chain.confirmations(settlement.txid)
    state = _state(settlement.txid, reading, found, depth, confirmations)
    fields = {"txid": settlement.txid, "confirmations": depth, "state": state.value}
    left = 0
    if found is not None and state is SettlementState.CONFIRMED:
        left = reading.left(settlement.txid)
        if left:
            fields["remainder"] = format_xmr(left)
        if settlement.remainder is Remainder.KEEP or left <= found.fee:
            left = 0
    uncertain = state in UNMATCHED and any(not output.key_image for output in reading.money.outputs)
    condition = (
        _undecided(settlement) if uncertain and found else _condition(state, settlement, depth, confirmations, left)
    )
    return SettlementView(state=state, confirmations=depth, fields=fields, condition=condition, left=left)


UNMATCHED = frozenset({SettlementState.NOT_FOUND, SettlementState.NOT_A_PAYOUT})
"""States of a transaction that spends no output known to be the escrow's."""


def _state(
    txid: str, reading: Reading, found: ChainTransaction | None, depth: int, confirmations: int
) -> SettlementState:
    if found is None:
        return SettlementState.NOT_FOUND
    ours = frozenset(output.key_image for output in reading.money.outputs if output.key_image)
    if not found.key_images & ours:
        into = {output.txid for output in reading.money.outputs} | {paid.txid for paid in reading.money.announced}
        return SettlementState.NOT_A_PAYOUT if txid in into else SettlementState.NOT_FOUND
    if found.double_spend_seen:
        return SettlementState.DOUBLE_SPENT
    if depth == 0:
        return SettlementState.MEMPOOL
    return SettlementState.CONFIRMED if depth >= confirmations else SettlementState.CONFIRMING


def _undecided(settlement: Settlement) -> Condition:
    return Condition(
        SETTLED,
        None,
        "KeyImagesNeeded",
        f"The wallets have yet to exchange key images to know whether {settlement.txid[:12]}… pays out of this escrow;"
        " this is done as soon as two of them answer.",
    )


def _condition(state: SettlementState, settlement: Settlement, depth: int, confirmations: int, left: int) -> Condition:
    what = f"The {settlement.outcome.value.lower()} {settlement.txid[:12]}…"
    progress = f"{depth} of {confirmations} confirmations"
    again = "The session stays usable: make another payout and set spec.settlement to it."
    if left:
        return Condition(
            SETTLED,
            True,
            "RemainderLeft",
            f"{what} has {progress}, and {format_xmr(left)} XMR are left in the escrow. Pay them out and set"
            " spec.settlement to that payout, or set spec.settlement.remainder to Keep to close the session with them.",
        )
    reason, message = {
        SettlementState.MEMPOOL: ("InMempool", f"{what} is in the transaction pool, in no block yet."),
        SettlementState.CONFIRMING: ("Confirming", f"{what} has {progress}."),
        SettlementState.CONFIRMED: ("Final", f"{what} has {progress}."),
        SettlementState.DOUBLE_SPENT: (
            "DoubleSpent",
            f"{what} conflicts with another transaction that spends the same money. {again}",
        ),
        SettlementState.NOT_FOUND: (
            "TransactionNotFound",
            (
                f"{what} is not on the chain, not in monerod's transaction pool, or not of these wallets: it was not"
                " relayed yet, was dropped, or is another escrow's. It is looked for at every block. Check the txid, or"
                f" relay the transaction again. {again}"
            ),
        ),
        SettlementState.NOT_A_PAYOUT: (
            "NotAPayout",
            f"{what} pays into this escrow and not out of it. Set spec.settlement.txid to the payout.",
        ),
    }[state]
    return Condition(SETTLED, state is SettlementState.CONFIRMED, reason, message)
