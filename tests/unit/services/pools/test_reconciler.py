"""What a pool says of itself, and how it goes."""

from __future__ import annotations

from escrow_operator.adapters.kube import POOLS
from escrow_operator.core.daemon import DaemonView
from escrow_operator.core.poolstatus import REPLACEMENT_GRACE
from escrow_operator.models.common import ROLES
from unit.services.pools.bench import FINALIZER, KEY, PARTS, SPEC, Bench


async def test_a_pool_has_its_finalizer_before_it_makes_anything() -> None:
    bench = Bench()
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == [FINALIZER]
    assert bench.api.writes[0] == ("patch", "walletpools", KEY.name)


async def test_a_deleted_pool_keeps_what_open_sessions_use_and_says_for_whom_it_waits() -> None:
    bench = Bench()
    await bench.look()
    bench.adopt("trade-1")
    bench.delete_pool()
    await bench.look()
    status, reason, message = bench.condition("Ready")
    assert (status, reason) == ("False", "SessionsOpen")
    assert "trade-1" in message
    for resource, name, _ in PARTS:
        assert bench.api.find(resource, name), name
    assert bench.replicas() == dict.fromkeys(ROLES, 0), "it still starts slots"
    assert bench.pool["status"]["activeSessions"] == 1
    bench.end()
    await bench.look()
    assert bench.api.find(POOLS, KEY.name) is None


async def test_it_names_five_sessions_at_most() -> None:
    bench = Bench()
    await bench.look()
    for number in range(7):
        bench.adopt(f"trade-{number}", generation=str(number))
    bench.delete_pool()
    await bench.look()
    message = bench.condition("Ready")[2]
    assert "trade-4 and 2 more" in message
    assert "trade-5" not in message


async def test_a_killed_operators_successor_goes_on_with_the_deletion() -> None:
    bench = Bench()
    await bench.look()
    bench.adopt("trade-1")
    bench.delete_pool()
    bench.start()
    await bench.look()
    assert bench.condition("Ready")[1] == "SessionsOpen"
    bench.end()
    bench.start()
    await bench.look()
    assert bench.api.find(POOLS, KEY.name) is None


async def test_a_deleted_pool_without_sessions_goes_at_once_with_the_finalizers_of_others_kept() -> None:
    bench = Bench()
    bench.store.pools.clear()
    bench.see(bench.put_pool(SPEC, finalizers=["theirs.dev/first"]))
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == ["theirs.dev/first", FINALIZER]
    bench.delete_pool()
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == ["theirs.dev/first"]
    assert await bench.look() is None
    assert bench.pool["metadata"]["finalizers"] == ["theirs.dev/first"]


async def test_the_pool_of_an_ending_namespace_loses_its_finalizer_before_it_is_deleted_itself() -> None:
    """The operator's Role goes with the namespace's pools, and maybe before them."""
    bench = Bench()
    await bench.look()
    assert bench.pool["metadata"]["finalizers"] == [FINALIZER]
    bench.store.ending.add("shop")
    await bench.look()
    assert "deletionTimestamp" not in bench.pool["metadata"]
    assert not bench.pool["metadata"].get("finalizers")
    await bench.look()
    assert not bench.pool["metadata"].get("finalizers"), "and it is not put back"


async def test_a_claim_that_makes_no_news_makes_no_event() -> None:
    bench = Bench()
    await bench.look()
    bench.free()
    await bench.look()
    assert bench.condition("Ready")[0] == "True"
    since = len(bench.told)
    for number in range(3):
        bench.adopt(f"trade-{number}", generation="abc"[number])
        await bench.look()
        assert bench.condition("Ready")[0] == "True", "it flips with each claim"
        bench.free(ready=False, generation="bcd"[number])
        bench.clock.seconds += 5
        await bench.look()
        bench.free(generation="bcd"[number])
        await bench.look()
    assert bench.told[since:] == []


async def test_one_outage_of_monerod_is_one_event() -> None:
    bench = Bench()
    bench.free()
    await bench.look()
    since = len(bench.told)
    bench.daemons.view_now = DaemonView(None, "connection refused")
    await bench.look()
    assert bench.condition("Ready")[:2] == ("False", "DaemonUnreachable")
    assert bench.told[since:] == ["DaemonUnreachable"]


async def test_a_role_that_stays_without_a_slot_is_told_at_its_time() -> None:
    bench = Bench()
    bench.free()
    await bench.look()
    bench.adopt("trade-1")
    again = await bench.look()
    while bench.condition("Ready")[0] == "True":
        assert again is not None
        bench.clock.seconds += again
        again = await bench.look()
    assert bench.condition("Ready")[:2] == ("False", "SlotsStarting")
    assert bench.clock.seconds == REPLACEMENT_GRACE.total_seconds()
