"""The cluster-wide cap with ten real sessions (invariant I5), and what becomes of the one that is evicted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.models.common import ROLES
from harness.escrow import Escrow, condition
from harness.operator import OperatorUnderTest
from harness.place import Place
from harness.waiting import wait_for
from harness.world import World

CAP = 10
"""The default of sessions.maxActive."""

SMALL_CAP = 2
MINUTES = 60.0


@asynccontextmanager
async def configured(world: World, **sessions: object) -> AsyncIterator[None]:
    """The operator with other values of ``sessions``, and with its defaults again afterwards."""
    world.operator.install(world.images.operator, sessions=sessions)
    await world.operator.until_ready()
    try:
        yield
    finally:
        world.operator.install(world.images.operator)
        await world.operator.until_ready()


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def nobody_else(world: World, place: Place) -> None:
    """The cap is the cluster's, and the namespaces of the tests before end in their own time."""

    async def alone() -> bool:
        sessions = await world.api.list(SESSIONS, None)
        return {body["metadata"]["namespace"] for body in sessions} <= {place.namespace}

    await wait_for(alone, what="the sessions of other tests to be gone", within=3 * MINUTES)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cap_of_one(world: World) -> AsyncIterator[None]:
    """Room for one session, for the tests at the end of this file: each change of a setting restarts the operator."""
    async with configured(world, maxActive=1):
        yield


async def all_active(escrows: Sequence[Escrow]) -> None:
    """Wait until all are Active; they make their wallets at the same time, so it takes a while."""
    await asyncio.gather(*(escrow.until_active(within=8 * MINUTES) for escrow in escrows))


async def used_in_order(escrows: Sequence[Escrow], *, after: Escrow) -> None:
    """Touch them one after the other, each in a second of its own, all of them later than the last use of ``after``."""
    for escrow in escrows:
        before = max([(await one.status())["lastActivityTime"] for one in (after, escrow)])

        async def later(escrow: Escrow = escrow, before: str = before) -> bool:
            await escrow.touch()
            return bool((await escrow.status())["lastActivityTime"] > before)

        await wait_for(later, what=f"{escrow.name} to count as used")


@pytest.mark.timeout(1200, func_only=True)
async def test_i5_the_11th_session_of_10_evicts_exactly_the_least_recently_used(place: Place, world: World) -> None:
    escrows = [place.escrow(f"trade-{n}") for n in range(CAP)]
    for escrow in escrows:
        await escrow.apply()
    await all_active(escrows)
    status = await place.pool()
    assert (status["activeSessions"], status["maxSessions"], status["utilisation"]) == (CAP, CAP, "100%")
    pods = [pod["metadata"]["name"] for escrow in escrows for pod in await escrow.pods()]
    assert len(set(pods)) == CAP * len(ROLES)

    victim = escrows[4]
    address = (await victim.status())["address"]
    await used_in_order([escrow for escrow in escrows if escrow is not victim], after=victim)
    newcomer = place.escrow("newcomer")
    await newcomer.apply()
    await newcomer.until_active(within=2 * MINUTES)
    await victim.until_gone()
    left = {body["metadata"]["name"] for body in await world.api.list(SESSIONS, place.namespace)}
    assert left == {escrow.name for escrow in escrows if escrow is not victim} | {"newcomer"}
    await victim.until_event("Evicted")

    # Re-applied it opens the wallets it had; now the first one that was touched is evicted.
    await victim.apply()
    again = await victim.until_active(within=2 * MINUTES)
    assert again["address"] == address
    await victim.until_event("WalletsReused")
    await escrows[0].until_gone()
    for escrow in [*escrows, newcomer]:
        await escrow.delete(wait=False)
    await place.until_warm(within=3 * MINUTES)


@pytest.mark.timeout(600, func_only=True)
async def test_i5_without_a_victim_newcomers_wait_in_order_and_go_on_by_themselves(place: Place, world: World) -> None:
    async with configured(world, maxActive=SMALL_CAP):
        pinned = [place.escrow(f"pinned-{n}") for n in range(SMALL_CAP)]
        for escrow in pinned:
            await escrow.apply(eviction="Never")
        await all_active(pinned)
        first, second = place.escrow("first"), place.escrow("second")
        # Else the second could have it evicted as soon as it is open.
        await first.apply(eviction="Never")
        await first.until_condition("Ready", "False", "AtCapacity")
        await second.apply()
        waiting = await second.until_condition("Ready", "False", "AtCapacity")
        assert "none of them may be evicted" in waiting["message"]
        assert (await second.status())["phase"] == "Pending"
        await pinned[0].delete()
        await first.until_active()
        assert (await second.status())["phase"] == "Pending"
        await pinned[1].delete()
        await second.until_active()
        for escrow in (first, second):
            await escrow.delete()


@pytest.mark.timeout(600, func_only=True)
async def test_suspended_sessions_are_kept_and_resume_when_used(place: Place, world: World) -> None:
    async with configured(world, maxActive=1, evictionPolicy="Suspend"):
        old = await place.active("old")
        address = (await old.status())["address"]
        new = await place.active("new")
        suspended = await old.until_phase("Suspended")
        assert condition(suspended, "Ready")["reason"] == "Suspended"
        assert "wallets" not in suspended
        await old.touch()
        resumed = await old.until_active()
        assert resumed["address"] == address
        await new.until_phase("Suspended")
        await new.change(ttl="3h")
        await new.until_active()
        await old.until_phase("Suspended")
        for escrow in (old, new):
            await escrow.delete()


@pytest.mark.timeout(600, func_only=True)
@pytest.mark.usefixtures("cap_of_one")
async def test_nobody_gives_way_for_wallet_files_that_are_not_there(place: Place) -> None:
    made = await place.active("made")
    wallets = await made.deeds_as_wallets()
    address = (await made.status())["address"]
    await made.delete()
    good = await place.active("good")
    await place.until_free(1)
    mistaken = place.escrow("mistaken")
    await mistaken.apply(setup="Open", wallets=wallets | {"vendor": wallets["vendor"] | {"file": "nowhere"}})
    await mistaken.until_condition("Stalled", "True", "WalletFileNotFound")
    assert (await good.status())["phase"] == "Active"
    # The slots that were asked for the files are as free as before.
    right = place.escrow("right")
    await right.apply(setup="Open", wallets=wallets)
    assert (await right.until_active())["address"] == address
    await good.until_gone()
    for escrow in (mistaken, right):
        await escrow.delete()


@pytest.mark.timeout(600, func_only=True)
@pytest.mark.usefixtures("cap_of_one")
async def test_i7_killed_while_evicting_and_while_claiming_the_next_operator_carries_on(
    place: Place, operator: OperatorUnderTest
) -> None:
    old = await place.active("giving-way")
    new = place.escrow("taking-over")
    async with old.history() as seen:
        await new.apply()

        async def evicting() -> bool:
            return any(status.get("phase") == "Evicted" for status in seen)

        await wait_for(evicting, what="the eviction to begin", explain=new.explain)
    await operator.kill()
    await old.until_gone()
    await new.until_phase("Opening")
    await operator.kill()
    await new.until_active()
    assert len(await new.pods()) == len(ROLES)
    assert condition(await new.status(), "Ready")["status"] == "True"
    await new.delete()
    await place.until_warm()
