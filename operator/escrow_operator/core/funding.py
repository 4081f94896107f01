"""From what a wallet reports to what the status says: balance, payments, and whether the escrow is funded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from escrow_operator.core.conditions import Condition
from escrow_operator.models.monero import Transfer, TransferType, WalletBalance, format_xmr, parse_xmr
from escrow_operator.models.session import FundingState, Session

FUNDED = "Funded"

AWAITING_PAYMENT = "AwaitingPayment"
"""The reason while nothing was received."""

INCOMING = frozenset({TransferType.IN, TransferType.POOL})


@dataclass(frozen=True)
class Reading:
    """What the wallets said at one moment.

    ``transfers`` are of types in, pool and out; ``payout`` is what each wallet knows of the settlement's
    transaction (empty when there is none to follow).
    """

    balance: WalletBalance
    transfers: tuple[Transfer, ...]
    height: int
    payout: tuple[Transfer | None, ...] = ()


@dataclass(frozen=True)
class Funding:
    """The part of the status about payments into the escrow, and the Funded condition."""

    fields: dict[str, Any]
    condition: Condition


def awaits_money(session: Session) -> bool:
    """Whether what is new in the mempool may concern a session: its payment is not confirmed, or it pays out."""
    funding = session.status.get("funding") or {}
    return funding.get("state") != FundingState.CONFIRMED or session.spec.settlement is not None


def assess(reading: Reading, *, amount: str, confirmations: int, payout: str | None = None) -> Funding:
    """Judge a reading against what the session asks for.

    ``payout`` is the txid of a settlement under way or final: its change is no payment, and the money it moves is no
    longer held for the trade.

    The balance is given only when the wallet can know it: with ``multisig_import_needed`` it may count outputs that
    are spent. The payments are facts of the chain either way.
    """
    wanted = parse_xmr(amount)
    payments = [transfer for transfer in reading.transfers if transfer.type in INCOMING and transfer.txid != payout]
    state, decisive, received = _payments(payments, wanted, confirmations)
    funding: dict[str, Any] = {
        "state": state.value,
        "received": format_xmr(received),
        "confirmations": decisive.confirmations if decisive else 0,
    }
    if decisive:
        funding["txid"] = decisive.txid
    known = not reading.balance.multisig_import_needed
    fields = {"funding": funding, "balance": _balance(reading.balance) if known else None}
    if payout is not None:
        return Funding(
            fields, Condition(FUNDED, False, "PaidOut", "Paid out, or on its way: the Settled condition says how far.")
        )
    return Funding(
        fields=fields,
        condition=_condition(
            state,
            reading.balance,
            wanted,
            format_xmr(received),
            f"{min(funding['confirmations'], confirmations)} of {confirmations}",
        ),
    )


def _balance(balance: WalletBalance) -> dict[str, Any]:
    return {
        "total": format_xmr(balance.total),
        "unlocked": format_xmr(balance.unlocked),
        "blocksToUnlock": balance.blocks_to_unlock,
    }


def _payments(
    incoming: Sequence[Transfer], wanted: int, confirmations: int
) -> tuple[FundingState, Transfer | None, int]:
    """State, the payment that brings the sum to what is wanted (else the newest), and the sum.

    Double spends do not count. The oldest payments count first, so that a later extra payment does not take back
    what was funded before.
    """
    valid = sorted((t for t in incoming if not t.double_spend_seen), key=lambda t: -t.confirmations)
    received = sum(transfer.amount for transfer in valid)
    if not valid:
        return FundingState.AWAITING, None, 0
    so_far = 0
    for transfer in valid:
        so_far += transfer.amount
        if so_far >= wanted:
            return _state(transfer, confirmations), transfer, received
    return FundingState.PARTIAL, valid[-1], received


def _state(transfer: Transfer, confirmations: int) -> FundingState:
    if transfer.type is TransferType.POOL or transfer.confirmations == 0:
        return FundingState.MEMPOOL
    return FundingState.CONFIRMED if transfer.confirmations >= confirmations else FundingState.CONFIRMING


def _condition(state: FundingState, balance: WalletBalance, wanted: int, paid: str, progress: str) -> Condition:
    """``paid`` and ``progress`` are the amount received and the confirmations, as text."""
    if state is not FundingState.CONFIRMED:
        reason, message = {
            FundingState.AWAITING: (AWAITING_PAYMENT, f"Nothing received yet of {format_xmr(wanted)} XMR."),
            FundingState.PARTIAL: ("PartiallyPaid", f"{paid} of {format_xmr(wanted)} XMR received."),
            FundingState.MEMPOOL: ("InMempool", f"{paid} XMR seen, not yet in a block."),
            FundingState.CONFIRMING: ("Confirming", f"{paid} XMR received, {progress} confirmations."),
        }[state]
        return Condition(FUNDED, False, reason, message)
    if balance.multisig_import_needed:
        return Condition(
            FUNDED,
            None,
            "KeyImagesNeeded",
            "The wallets have yet to exchange key images to know whether the payment is unspent; this is done"
            " as soon as all three answer.",
        )
    if balance.total < wanted:
        return Condition(FUNDED, False, "Spent", f"Of {paid} XMR received, {format_xmr(balance.total)} are left.")
    return Condition(FUNDED, True, "Confirmed", f"{paid} XMR received, {progress} confirmations.")
