"""Follows the payout of a trade until it is final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from escrow_operator.core.conditions import Condition
from escrow_operator.models.monero import ChainTransaction, Transfer, TransferType
from escrow_operator.models.session import Outcome, Phase, Session, Settlement

SETTLED = "Settled"


class SettlementState(StrEnum):
    """How far a payout is."""

    MEMPOOL = "Mempool"
    CONFIRMING = "Confirming"
    CONFIRMED = "Confirmed"
    FAILED = "Failed"
    NOT_FOUND = "NotFound"
    DOUBLE_SPENT = "DoubleSpent"
    NOT_A_PAYOUT = "NotAPayout"


UNDER_WAY = frozenset({SettlementState.MEMPOOL, SettlementState.CONFIRMING})
"""The session is Settling: it neither expires nor gives way, and spec.settlement may not change."""


@dataclass(frozen=True)
class SettlementView:
    """What the wallets say of the payout, and what that means for the session."""

    state: SettlementState
    confirmations: int
    fields: dict[str, Any]
    condition: Condition

    @property
    def phase(self) -> Phase:
        """Settling while the transaction is on its way; a payout that failed leaves the session usable."""
        return Phase.SETTLING if self.state in UNDER_WAY else Phase.ACTIVE

    @property
    def is_final(self) -> bool:
        """Whether it has all the confirmations that the session asks for."""
        return self.state is SettlementState.CONFIRMED


def is_followed(session: Session) -> bool:
    """Whether a payout is on its way, or was named and not looked at yet."""
    if session.spec.settlement is None:
        return False
    seen = session.status.get("settlement") or {}
    return seen.get("txid") != session.spec.settlement.txid or seen.get("state") in UNDER_WAY


def final_phase(outcome: Outcome) -> Phase:
    """The phase of a session whose payout is final."""
    return Phase.COMPLETED if outcome is Outcome.RELEASE else Phase.REFUNDED


def assess_settlement(
    settlement: Settlement,
    seen: Sequence[Transfer | None],
    on_chain: ChainTransaction | None,
    *,
    confirmations: int,
) -> SettlementView:
    """Judge what the three wallets and monerod say of the transaction.

    monerod decides whether it is there at all: a wallet that sent it goes on calling it pending for minutes after the
    network has dropped it. The wallets decide whether it pays out of this escrow: one that did not sign and lacks key
    images may not know a payout, or take its change for a payment, so any wallet that calls it outgoing is believed.
    Confirmations are the highest that any wallet reports.
    """
    known = [transfer for transfer in seen if transfer is not None]
    depth = max((transfer.confirmations for transfer in known), default=0)
    state = _state(known, on_chain, depth, confirmations)
    return SettlementView(
        state=state,
        confirmations=depth,
        fields={"txid": settlement.txid, "confirmations": depth, "state": state.value},
        condition=_condition(state, settlement, depth, confirmations),
    )


def _state(
    known: Sequence[Transfer], on_chain: ChainTransaction | None, depth: int, confirmations: int
) -> SettlementState:
    kinds = {transfer.type for transfer in known}
    if any(transfer.double_spend_seen for transfer in known) or (on_chain and on_chain.double_spend_seen):
        return SettlementState.DOUBLE_SPENT
    if not known or on_chain is None:
        return SettlementState.FAILED if TransferType.FAILED in kinds else SettlementState.NOT_FOUND
    if depth == 0:
        # In the pool even a payout may look like a payment to a wallet that did not sign it: its change is one.
        return SettlementState.FAILED if TransferType.FAILED in kinds else SettlementState.MEMPOOL
    if TransferType.OUT not in kinds:
        return SettlementState.NOT_A_PAYOUT
    return SettlementState.CONFIRMED if depth >= confirmations else SettlementState.CONFIRMING


def _condition(state: SettlementState, settlement: Settlement, depth: int, confirmations: int) -> Condition:
    what = f"The {settlement.outcome.value.lower()} {settlement.txid[:12]}…"
    progress = f"{depth} of {confirmations} confirmations"
    again = "The session stays usable: make another payout and set spec.settlement to it."
    reason, message = {
        SettlementState.MEMPOOL: ("InMempool", f"{what} is in the transaction pool, in no block yet."),
        SettlementState.CONFIRMING: ("Confirming", f"{what} has {progress}."),
        SettlementState.CONFIRMED: ("Final", f"{what} has {progress}."),
        SettlementState.FAILED: ("TransactionFailed", f"{what} failed: the network did not take it. {again}"),
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
