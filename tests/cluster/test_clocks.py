"""Inactivity and age: what is activity, what is not, and what is left when the time is up (invariants I5 and I6)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.models.common import Label, parse_time
from harness.api import Body
from harness.escrow import condition
from harness.place import Place
from harness.waiting import wait_for

TTL_SECONDS = 12


async def test_an_idle_session_expires_and_comes_back_when_it_is_used(place: Place) -> None:
    escrow = await place.active("idle", ttl=f"{TTL_SECONDS}s")
    status = await escrow.status()
    assert parse_time(status["expiresAt"]) == parse_time(status["lastActivityTime"]) + timedelta(seconds=TTL_SECONDS)
    expired = await escrow.until_phase("Expired")
    assert condition(expired, "Ready")["reason"] == "Expired"
    assert "wallets" not in expired
    assert "expiresAt" not in expired
    assert condition(expired, "WalletsOpen")["status"] == "False"
    assert condition(expired, "DaemonSynced")["status"] == condition(expired, "Funded")["status"] == "Unknown"
    await place.until_warm()
    await escrow.touch()
    assert (await escrow.until_active())["address"] == status["address"]
    await escrow.until_phase("Expired")
    await place.until_warm()
    await escrow.change(ttl="300s")
    assert (await escrow.until_active())["address"] == status["address"]
    await escrow.delete()


async def test_a_touch_in_the_far_future_does_not_keep_a_session(place: Place) -> None:
    escrow = await place.active("far", ttl=f"{TTL_SECONDS}s")
    patch = {"metadata": {"annotations": {Label.TOUCH: "2999-01-01T00:00:00Z"}}}
    await place.api.merge(SESSIONS, place.namespace, escrow.name, patch)
    await escrow.until_phase("Expired")
    await escrow.delete()


async def test_i6_reading_is_no_activity_but_a_touch_and_a_change_are(place: Place) -> None:
    escrow = await place.active("used", ttl="300s")
    first = (await escrow.status())["lastActivityTime"]

    async def later() -> bool:
        return datetime.now(UTC) > parse_time(first) + timedelta(seconds=3)

    await wait_for(later, what="a clock that has moved on by more than a monitor interval")
    assert (await escrow.status())["lastActivityTime"] == first

    async def moved(before: str) -> Body:
        return await escrow.until(lambda s: s["lastActivityTime"] > before, "later activity")

    await escrow.touch()
    second = await moved(first)
    assert parse_time(second["expiresAt"]) == parse_time(second["lastActivityTime"]) + timedelta(seconds=300)
    await wait_for(later, what="another second")
    await escrow.change(ttl="400s")
    third = await moved(first)
    await escrow.until(
        lambda s: parse_time(s["expiresAt"]) == parse_time(s["lastActivityTime"]) + timedelta(seconds=400),
        "expiresAt by the new ttl",
    )
    assert third["phase"] == "Active"
    await escrow.delete()


async def test_max_age_ends_even_a_session_in_use(place: Place) -> None:
    escrow = await place.active("aged", ttl=f"{TTL_SECONDS}s")
    created = parse_time((await escrow.get())["metadata"]["creationTimestamp"])
    # However long it took to open.
    age = (datetime.now(UTC) - created).total_seconds()
    await escrow.change(maxAge=f"{age + TTL_SECONDS:.0f}s")

    async def keep_using() -> None:
        while True:
            await escrow.touch()
            await asyncio.sleep(1)

    use = asyncio.create_task(keep_using())
    try:
        await escrow.until_phase("Expired")
    finally:
        use.cancel()
        await asyncio.gather(use, return_exceptions=True)
    await place.until_warm()
