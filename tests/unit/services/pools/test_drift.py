"""What was applied of a pool says nothing of another pool of its name."""

from __future__ import annotations

from escrow_operator.adapters.kube import DEPLOYMENTS
from escrow_operator.services.pools.drift import Applied
from unit.factories import pool


def test_a_pool_that_is_made_again_is_applied_again() -> None:
    applied = Applied()
    former, again = pool(), pool(uid="made-again")
    applied.begin(former)
    applied.note(former.key, DEPLOYMENTS, {"metadata": {"name": "d", "uid": "1", "generation": 1}}, "digest")
    applied.begin(former)
    assert applied.is_current(former.key, DEPLOYMENTS, "d", "digest")
    applied.begin(again)
    assert not applied.is_current(again.key, DEPLOYMENTS, "d", "digest")
