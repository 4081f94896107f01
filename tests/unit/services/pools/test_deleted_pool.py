"""A pool that is being deleted serves those who have its slots, and nobody else."""

from __future__ import annotations

from typing import Any, cast

import pytest

from escrow_operator.models.common import ROLES
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Phase, Session
from escrow_operator.services.monerod.poller import DaemonPoller
from escrow_operator.services.runtime.outcomes import Blocked
from escrow_operator.services.sessions.inspection import Inspector
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.slots.claims import SlotClaims
from escrow_operator.services.slots.prepared import PreparedEscrows
from escrow_operator.services.wallets.monitor import WalletMonitor
from unit.factories import pool_body, session, slot_body
from unit.world.context import make_context

FILES = {role: f"file-{role}" for role in ROLES}


class Bench:
    """A pool with a free slot of each role."""

    def __init__(self) -> None:
        ctx = make_context(object(), max_active=10)
        self.store = ctx.store
        self.see_pool(deleting=False)
        self.claims = SlotClaims(ctx, Capacity(ctx), PreparedEscrows(ctx))
        self.inspector = Inspector(ctx, cast("DaemonPoller", object()), cast("WalletMonitor", object()))
        for role in ROLES:
            assert self.store.see_slot(slot_body(f"free-{role}", role))

    def see_pool(self, *, deleting: bool) -> None:
        body: dict[str, Any] = pool_body()
        if deleting:
            body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert self.store.see_pool(body)

    def give_slots(self, owner: Session) -> None:
        for role in ROLES:
            assert self.store.see_slot(
                slot_body(f"{owner.key.name}-{role}", role, owner=owner, wallet_file=FILES[role])
            )

    @property
    def pool(self) -> Pool:
        return next(iter(self.store.pools.values()))


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.OPENING, Phase.ACTIVE, Phase.SETTLING])
def test_who_has_slots_keeps_the_pool(phase: Phase) -> None:
    bench = Bench()
    open_one, newcomer = session("open", phase=phase), session("new", phase=phase)
    bench.give_slots(open_one)
    bench.see_pool(deleting=True)
    assert bench.inspector.pool(open_one).deleting
    with pytest.raises(Blocked) as refused:
        bench.inspector.pool(newcomer)
    assert refused.value.reason == "PoolNotFound"
    assert "is being deleted" in refused.value.message


async def test_a_claim_that_began_before_the_deletion_was_seen_takes_nothing() -> None:
    """Else the pool, which sees no slots in use, would be gone under the session that just took some."""
    bench = Bench()
    newcomer = session("new")
    before = bench.inspector.pool(newcomer)
    bench.see_pool(deleting=True)
    with pytest.raises(Blocked, match="is being deleted"):
        await bench.claims.ensure(newcomer, before, FILES)
    assert not bench.claims.is_taking(bench.pool.key)
    del bench.store.pools[bench.pool.key]
    with pytest.raises(Blocked, match="There is no WalletPool default"):
        await bench.claims.ensure(newcomer, before, FILES)


async def test_who_loses_a_pod_of_it_is_told_what_to_do() -> None:
    """The pool waits for the session and starts nothing for it: nothing would ever change by itself."""
    bench = Bench()
    open_one = session("open", phase=Phase.ACTIVE)
    bench.give_slots(open_one)
    bench.see_pool(deleting=True)
    for role in ROLES:
        assert bench.store.drop_slot(slot_body(f"free-{role}", role))
    assert bench.store.drop_slot(slot_body(f"open-{ROLES[1]}", ROLES[1], owner=open_one))
    with pytest.raises(Blocked, match="Delete the session") as refused:
        await bench.claims.ensure(open_one, bench.inspector.pool(open_one), FILES)
    assert refused.value.reason == "PoolDeleting"
    assert not refused.value.keeps_place
    assert not bench.claims.waiting(bench.pool.key)
