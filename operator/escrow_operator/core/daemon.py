"""Whether a pool's monerod can be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from escrow_operator.core.conditions import Condition
from escrow_operator.models.monero import DaemonInfo
from escrow_operator.models.pool import DaemonSpec

DAEMON_SYNCED = "DaemonSynced"

NOT_CHECKED = "NotChecked"
"""The reason before monerod was first queried."""

WRONG_NETWORK = "WrongNetwork"
"""The reason when monerod is on another network than the pool's spec names."""

BEHIND_BLOCKS = 2
"""Blocks by which monerod may trail its peers: it does so for a moment at every new block."""


class ChainMark(NamedTuple):
    """Changes whenever wallets may: with another top block, or another number of transactions in the mempool."""

    top: str
    height: int
    pool_size: int


@dataclass(frozen=True)
class DaemonView:
    """The last answer of a monerod, or the ``problem``; ``info`` is None when it did not answer."""

    info: DaemonInfo | None
    problem: str = ""

    @property
    def mark(self) -> ChainMark | None:
        """The chain mark of the last answer; None when monerod did not answer."""
        info = self.info
        return ChainMark(info.top_block_hash, info.height, info.tx_pool_size) if info else None


def daemon_condition(view: DaemonView | None, spec: DaemonSpec) -> Condition:
    """The DaemonSynced condition: True only when monerod answers, is on the right network and up to date."""
    if view is None:
        return Condition(DAEMON_SYNCED, None, NOT_CHECKED, "monerod has not been asked yet.")
    if view.info is None:
        return Condition(
            DAEMON_SYNCED,
            False,
            "DaemonUnreachable",
            f"monerod at {spec.address} cannot be asked: {view.problem}. Check spec.daemon of the WalletPool and"
            " that the daemon runs.",
        )
    info = view.info
    if info.nettype.value != spec.network.nettype:
        return Condition(
            DAEMON_SYNCED,
            False,
            WRONG_NETWORK,
            f"monerod at {spec.address} is on {info.nettype.value}, the WalletPool says {spec.network.value}. No"
            " wallet is opened. Point the pool at the right daemon.",
        )
    behind = info.target_height - info.height
    if info.busy_syncing or behind > BEHIND_BLOCKS or not (info.synchronized or info.offline):
        return Condition(
            DAEMON_SYNCED,
            False,
            "DaemonSyncing",
            f"monerod is at block {info.height} of {max(info.target_height, info.height)}.",
        )
    return Condition(DAEMON_SYNCED, True, "Synced", "monerod answers and is up to date.")
