"""What a person and Prometheus see of a pool: how many of how many, and since when."""

from __future__ import annotations

import re

from escrow_operator.models.common import ROLES, Role, parse_time
from harness.api import Body
from harness.operator import OperatorUnderTest
from harness.place import Place
from harness.waiting import wait_for

CAP = 10


def metric(text: str, name: str, **labels: str) -> float:
    """The value of a metric with all these labels; 0 when it is not there."""
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
            return float(found[2])
    return 0.0


async def test_one_session_of_ten(place: Place, operator: OperatorUnderTest) -> None:
    escrow = await place.active("one")
    opened = (await escrow.status())["openedAt"]
    # Replacements start when the wallets are open, which is sooner than they are ready.
    await place.until_refilled()

    async def counted() -> Body | None:
        pool = await place.pool()
        return pool if "meanOpenedAt" in pool else None

    pool = await wait_for(counted, what="the pool's statistics", explain=place.explain)
    assert (pool["activeSessions"], pool["maxSessions"], pool["utilisation"]) == (1, CAP, "10%")
    assert parse_time(pool["meanOpenedAt"]) == parse_time(opened)
    assert pool["adopted"] == {role.value: 1 for role in ROLES}

    text = await operator.metrics()
    mine = {"namespace": place.namespace, "pool": place.pool_name}
    assert metric(text, "xmr_escrow_sessions_max") == CAP
    assert metric(text, "xmr_escrow_sessions_active") >= 1
    assert metric(text, "xmr_escrow_sessions", namespace=place.namespace, phase="Active") == 1
    for role in ROLES:
        assert metric(text, "xmr_escrow_slots", role=role.value, state="adopted", **mine) == 1
        assert metric(text, "xmr_escrow_slots", role=role.value, state="free", **mine) == 1

    ended = metric(text, "xmr_escrow_sessions_ended_total", phase="Expired")
    await escrow.change(ttl="10s")
    await escrow.until_phase("Expired")
    await place.until_warm()
    text = await operator.metrics()
    assert metric(text, "xmr_escrow_sessions_ended_total", phase="Expired") == ended + 1
    assert metric(text, "xmr_escrow_sessions", namespace=place.namespace, phase="Active") == 0
    assert metric(text, "xmr_escrow_slots", role=Role.BUYER.value, state="adopted", **mine) == 0


async def test_a_balance_check_needs_no_opening_and_leaves_the_wallet_open(place: Place) -> None:
    escrow = await place.active("asked")
    pods = {pod["metadata"]["uid"] for pod in await escrow.pods()}
    async with escrow.wallets(Role.BUYER) as wallets:
        # The deadline is what clients of the old way could not set: there an open took 2 to 3 s.
        balances = [await wallets[Role.BUYER].balance(deadline=1.0) for _ in range(3)]
        assert {balance.total for balance in balances} == {0}
        assert await wallets[Role.BUYER].address() == (await escrow.status())["address"]
    assert {pod["metadata"]["uid"] for pod in await escrow.pods()} == pods
    await escrow.delete()
