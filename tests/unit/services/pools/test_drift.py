"""What was applied of a pool says nothing of another pool of its name."""

from __future__ import annotations

from escrow_operator.adapters.kube import DEPLOYMENTS
from escrow_operator.services.pools.drift import Applied
from unit.factories import pool
from unit.world.context import make_context


def test_a_pool_that_is_made_again_is_applied_again() -> None:
    applied = Applied(make_context())
    former, again = pool(), pool(uid="made-again")
    applied.note(former, DEPLOYMENTS, {"metadata": {"name": "d", "uid": "1", "generation": 1}}, "digest")
    assert applied.is_current(former, DEPLOYMENTS, "d", "digest")
    assert not applied.is_current(again, DEPLOYMENTS, "d", "digest")
