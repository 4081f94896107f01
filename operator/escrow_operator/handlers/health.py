"""Answers to kubelet's probes; ``lifecycle`` serves them from before the first list is read."""

from __future__ import annotations

from escrow_operator.handlers.memo import Memo


def not_alive(memo: Memo) -> str | None:
    """What is wrong with the process itself, or None. An unreachable API server is not: no restart helps there."""
    if memo.running is not None and not memo.running.resync.is_alive:
        return "no sweep was tried for too long"
    return None


def not_ready(memo: Memo) -> str | None:
    """Why the operator's view of the cluster may be stale, or None."""
    if memo.running is None:
        return "the operator is still starting"
    return None if memo.running.resync.is_fresh else "no sweep ended well for too long"
