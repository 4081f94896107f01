"""Nothing begins behind a fence that is closed, and what is under way ends; whoever woke up late included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from escrow_operator.adapters.fence import Fence, must_still_pass
from escrow_operator.adapters.fenced_kube import FencedKube
from escrow_operator.adapters.kube import PODS, SECRETS, Kube
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import NotLeading, WalletUnreachable
from escrow_operator.models.monero import Login
from simulation.clock import SimClock
from simulation.network import Network
from simulation.world import run
from unit.clocks import FakeClock
from unit.kube import InstantKube

TERM = 7

Test = Callable[[], Coroutine[Any, Any, None]]


def timed(test: Test) -> Callable[[], None]:
    """On a clock of its own, on which no time is waited for."""

    def ran() -> None:
        run(test())

    ran.__name__, ran.__doc__ = test.__name__, test.__doc__
    return ran


def opened(seconds: float) -> Fence:
    fence = Fence(SimClock())
    fence.open(TERM, asyncio.get_running_loop().time() + seconds)
    return fence


@timed
async def test_it_is_closed_before_there_is_a_term() -> None:
    fence = Fence(SimClock())
    with pytest.raises(NotLeading, match="does not lead"):
        fence.must_be_open()
    with pytest.raises(NotLeading):
        async with fence.passing():
            raise AssertionError("somebody passed")


@timed
async def test_it_closes_by_itself_and_cancels_what_is_under_way() -> None:
    fence = opened(10.0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(NotLeading, match="leadership 7 is over"):
        async with fence.passing():
            await asyncio.sleep(60.0)
    assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)
    assert not fence.is_open
    assert fence.left == 0


@timed
async def test_who_holds_the_lease_for_longer_goes_on() -> None:
    fence = opened(10.0)
    asyncio.get_running_loop().call_later(9.0, fence.extend, 19.0)
    async with fence.passing():
        await asyncio.sleep(18.0)
    assert fence.is_open


@timed
async def test_a_term_that_is_over_does_not_begin_again() -> None:
    fence = opened(10.0)
    await asyncio.sleep(10.0)
    assert not fence.extend(100.0)
    assert not fence.is_open
    with pytest.raises(ValueError, match="once"):
        fence.open(TERM + 1, 100.0)


@timed
async def test_it_can_be_closed_early() -> None:
    fence = opened(10.0)
    asyncio.get_running_loop().call_later(1.0, fence.close)
    with pytest.raises(NotLeading):
        async with fence.passing():
            await asyncio.sleep(5.0)
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)


@timed
async def test_a_deadline_of_the_request_itself_is_none_of_the_term() -> None:
    fence = opened(10.0)
    with pytest.raises(TimeoutError):
        async with fence.passing(), asyncio.timeout(1.0):
            await asyncio.sleep(5.0)
    assert fence.is_open


@timed
async def test_a_request_that_was_answered_is_an_answer() -> None:
    fence = opened(10.0)
    async with fence.passing():
        await asyncio.sleep(1.0)
    fence.close()


async def test_whoever_was_paused_finds_it_closed_before_any_timer_runs() -> None:
    clock = FakeClock()
    fence = Fence(clock)
    fence.open(TERM, 10.0)
    must_still_pass()
    async with fence.passing():
        must_still_pass()
        clock.seconds = 10.0
        with pytest.raises(NotLeading):
            must_still_pass()
    must_still_pass()
    with pytest.raises(NotLeading):
        fence.must_be_open()
    fence.close()


async def test_one_without_an_end_lets_everybody_pass() -> None:
    fence = Fence.without_end(FakeClock())
    async with fence.passing():
        must_still_pass()
    assert fence.token == ""


async def test_who_does_not_lead_reads_and_writes_nothing() -> None:
    kube, clock = InstantKube(), FakeClock()
    fence = Fence(clock)
    fence.open(TERM, 10.0)
    fenced = FencedKube(cast("Kube", kube), fence)
    body = {"metadata": {"name": "one", "namespace": "shop", "labels": {}}}
    writes: list[Callable[[], Coroutine[Any, Any, Any]]] = [
        lambda: fenced.create(SECRETS, "shop", body),
        lambda: fenced.apply(SECRETS, "shop", body),
        lambda: fenced.patch(SECRETS, "shop", "one", [{"op": "add", "path": "/data", "value": {}}]),
        lambda: fenced.merge(SECRETS, "shop", "one", {"data": {}}),
        lambda: fenced.delete(SECRETS, "shop", "one"),
    ]
    for write in writes:
        await write()
    assert len(kube.writes) == len(writes)
    clock.seconds = 10.0
    kube.put(SECRETS, body)
    for write in writes:
        with pytest.raises(NotLeading):
            await write()
    assert len(kube.writes) == len(writes)

    assert (await fenced.get(SECRETS, "shop", "one"))["metadata"]["name"] == "one"
    assert [len(page.items) async for page in fenced.pages(PODS)] == [0]
    assert fenced.requests["get", "secrets"] == 1
    fence.close()


@timed
async def test_who_does_not_lead_calls_no_wallet() -> None:
    network = Network()
    fence = opened(10.0)
    wallet = WalletRpc("http://pod:18083", Login("a", "b"), session=network.session(), fence=fence)
    with pytest.raises(WalletUnreachable):
        await wallet.address()
    fence.close()
    with pytest.raises(NotLeading):
        await wallet.address()
    assert [call.method for call in network.calls] == ["get_address"]


@timed
async def test_a_call_that_waited_for_an_earlier_one_is_not_sent_late() -> None:
    """By the clock alone: as in a process that was paused, in which no timer has run yet."""
    network, clock = Network(), FakeClock()
    fence = Fence(clock)
    fence.open(TERM, 10.0)
    wallet = WalletRpc("http://pod:18083", Login("a", "b"), session=network.session(), fence=fence)
    first, second = (asyncio.create_task(wallet.address()) for _ in range(2))
    await asyncio.sleep(0)
    clock.seconds = 10.0
    found = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(one) for one in found] == [WalletUnreachable, NotLeading]
    assert len(network.calls) == 1
    fence.close()


async def test_whoever_has_no_fence_calls_as_before() -> None:
    network = Network()
    wallet = WalletRpc("http://pod:18083", Login("a", "b"), session=network.session())
    with pytest.raises(WalletUnreachable):
        await wallet.address()
