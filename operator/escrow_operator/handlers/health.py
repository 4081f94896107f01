"""What kubelet's probes are told; ``lifecycle`` serves them from before the first list is read."""

from __future__ import annotations

from escrow_operator.handlers.memo import Memo


def not_alive(memo: Memo) -> str | None:
    """What is wrong with the process itself, so that a restart may help: an API server that is away is not."""
    if memo.running is not None and not memo.running.resync.is_alive:
        return "no sweep was tried for too long"
    return None


def not_ready(memo: Memo) -> str | None:
    """Why what the operator knows of the cluster may not be true."""
    if memo.running is None:
        return "the operator is still starting"
    return None if memo.running.resync.is_fresh else "no sweep ended well for too long"
