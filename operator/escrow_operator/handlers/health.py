"""Answers to kubelet's probes; ``lifecycle`` serves them from before the first list is read."""

from __future__ import annotations

from escrow_operator.handlers.memo import Memo


def not_alive(memo: Memo) -> str | None:
    """What is wrong with the process itself, or None. An unreachable API server is not: no restart helps there."""
    return memo.replica.not_alive() if memo.replica else None


def not_ready(memo: Memo) -> str | None:
    """Why the operator's view of the cluster may be stale, or None: one that waits to lead is ready for that."""
    return memo.replica.not_ready() if memo.replica else "the operator is still starting"
