"""The loop of an election: who acts when, on clocks of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from prometheus_client import CollectorRegistry

from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.kube import LEASES, NAMESPACES, PODS, Kube
from escrow_operator.adapters.kube_errors import UnavailableError
from escrow_operator.adapters.lease import Lease
from escrow_operator.adapters.predecessors import Predecessors
from escrow_operator.core.leadership import Timing
from escrow_operator.services.runtime.leadership import RENEWALS_PER_LOOK, SILENCE_SECONDS, Leadership
from escrow_operator.services.runtime.meters import LeaderMeters
from simulation.clock import SimClock
from simulation.world import run
from unit.kube import InstantKube

TIMING = Timing(lease=15.0, renew=10.0, retry=2.0)
AWAY = UnavailableError(503, "Unavailable", "the API server does not answer")
HOME = "home"
OPERATORS = {"is": "operator"}


class Silent(InstantKube):
    """An API server that may leave its clients without an answer."""

    def __init__(self, server: InstantKube) -> None:
        super().__init__()
        self.server = server.server
        self.hangs = False
        self.keeps_answers = False

    async def create(self, *args: Any, **options: Any) -> Any:
        answer = await super().create(*args, **options)
        while self.keeps_answers:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(1.0)
        return answer

    async def get(self, *args: Any, **options: Any) -> Any:
        await self._answer()
        return await super().get(*args, **options)

    async def patch(self, *args: Any, **options: Any) -> Any:
        await self._answer()
        return await super().patch(*args, **options)

    async def _answer(self) -> None:
        while self.hangs:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(1.0)


class Candidate:
    """What leads, and notes when."""

    def __init__(self, name: str, api: InstantKube, *, begins: Callable[[], Coroutine[Any, Any, None]] | None = None):
        self.name = name
        self.kube = Silent(api)
        self.clock = SimClock()
        self.fence = Fence(self.clock)
        self.terms: list[int] = []
        self.rests = 0
        self.registry = CollectorRegistry()
        self._begins = begins
        lease = Lease(
            cast("Kube", self.kube), self.clock, namespace=HOME, name="escrow", identity=name, seconds=TIMING.lease
        )
        before = Predecessors(cast("Kube", self.kube), HOME, OPERATORS, lease="escrow")
        self.leadership = Leadership(lease, before, TIMING, self, clock=self.clock, meters=LeaderMeters(self.registry))

    async def lead(self) -> None:
        self.terms.append(self.fence.term)
        if self._begins:
            await self._begins()

    async def rest(self) -> None:
        self.rests += 1
        self.fence = Fence(self.clock)

    @property
    def leads(self) -> bool:
        return self.fence.is_open

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"xmr_escrow_{name}")


def api() -> InstantKube:
    server = InstantKube()
    server.put(NAMESPACES, {"metadata": {"name": HOME}})
    # That of operators which have ended: where there is none they wait.
    server.put(LEASES, {"metadata": {"name": "escrow", "namespace": HOME}})
    return server


async def until(holds: Callable[[], Any], within: float = 60.0) -> float:
    """The seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
    return loop.time() - began


def rivals(story: Callable[[Candidate, Candidate], Coroutine[Any, Any, None]]) -> None:
    """The first one leads when the story begins, and never do both."""

    async def play() -> None:
        server = api()
        one, other = Candidate("one", server), Candidate("other", server)
        one.leadership.start()
        await until(lambda: one.leads)
        other.leadership.start()

        async def watch() -> None:
            while True:
                assert not (one.leads and other.leads), "both lead"
                await asyncio.sleep(0.005)

        watched = asyncio.ensure_future(watch())
        await asyncio.sleep(5.0)
        await story(one, other)
        assert not watched.done()
        watched.cancel()
        await asyncio.gather(one.leadership.stop(), other.leadership.stop())

    run(play())


def test_one_leads_for_as_long_as_it_renews() -> None:
    async def story(one: Candidate, other: Candidate) -> None:
        await asyncio.sleep(300.0)
        assert (one.terms, other.terms) == ([1], [])
        assert one.leadership.is_alive
        assert other.leadership.is_alive
        assert (one.metric("leader"), other.metric("leader")) == (1, 0)
        assert one.metric("leader_transitions_total") == 1

    rivals(story)


def test_one_that_is_stopped_hands_over_within_three_seconds() -> None:
    async def story(one: Candidate, other: Candidate) -> None:
        await one.leadership.stop()
        assert one.rests == 1
        assert not one.leads
        assert await until(lambda: other.terms == [2]) < 3.0

    rivals(story)


def test_one_that_is_cut_off_stops_before_the_other_begins() -> None:
    async def story(one: Candidate, other: Candidate) -> None:
        one.kube.refuses[None] = AWAY
        stopped = await until(lambda: not one.leads)
        assert TIMING.renew - TIMING.retry <= stopped <= TIMING.renew + 0.1
        began = await until(lambda: other.leads)
        assert began >= TIMING.lease - TIMING.renew - TIMING.retry
        assert stopped + began <= TIMING.lease + TIMING.retry + 0.5
        one.kube.refuses.clear()
        await asyncio.sleep(60.0)
        assert (one.terms, other.terms) == ([1], [2])
        assert one.leadership.is_alive

    rivals(story)


def test_so_does_one_that_gets_no_answer() -> None:
    async def story(one: Candidate, other: Candidate) -> None:
        one.kube.hangs = True
        assert await until(lambda: not one.leads) <= TIMING.renew + 0.1
        await until(lambda: other.leads)
        one.kube.hangs = False
        await asyncio.sleep(60.0)
        assert other.leads

    rivals(story)


def test_a_hiccup_of_the_api_server_costs_nobody_the_lease() -> None:
    async def story(one: Candidate, other: Candidate) -> None:
        for _ in range(5):
            one.kube.refuses[None] = AWAY
            await asyncio.sleep(TIMING.renew / 2)
            one.kube.refuses.clear()
            await asyncio.sleep(TIMING.renew)
        assert (one.terms, other.terms) == ([1], [])

    rivals(story)


def test_when_the_api_server_is_back_somebody_leads_again() -> None:
    async def story(one: Candidate, other: Candidate) -> None:
        for each in (one, other):
            each.kube.refuses[None] = AWAY
        await until(lambda: not one.leads)
        await asyncio.sleep(60.0)
        assert not one.leadership.is_fresh
        assert one.leadership.is_alive, "no restart helps"
        for each in (one, other):
            each.kube.refuses.clear()
        await until(lambda: one.leads or other.leads, within=TIMING.lease + TIMING.retry + 0.5)
        assert one.leadership.is_fresh

    rivals(story)


def test_a_lease_that_is_deleted_is_lost_and_nobody_acts_twice() -> None:
    async def story(one: Candidate, other: Candidate) -> None:
        one.kube.remove(LEASES, "escrow", HOME)
        await until(lambda: one.rests == 1, within=TIMING.retry + 0.1)
        await until(lambda: one.terms == [1, 2])
        await asyncio.sleep(60.0)
        assert (one.terms, other.terms) == ([1, 2], [])

    rivals(story)


def test_a_lease_that_somebody_else_took_is_lost() -> None:
    async def story(one: Candidate, _: Candidate) -> None:
        one.kube.server.merge(LEASES, HOME, "escrow", {"spec": {"holderIdentity": "third"}})
        assert await until(lambda: not one.leads) <= TIMING.retry + 0.1
        await asyncio.sleep(60.0)
        body = one.kube.find(LEASES, "escrow", HOME)
        assert body is not None
        assert body["spec"]["holderIdentity"] in ("one", "other"), "the third one never renewed it"

    rivals(story)


def test_a_container_that_is_started_again_goes_on_at_once_in_another_term() -> None:
    async def play() -> None:
        server = api()
        one, again = Candidate("pod", server), Candidate("pod", server)
        one.leadership.start()
        await until(lambda: one.leads)
        assert one.leadership._task is not None
        # As of one that was killed: nothing is released.
        one.kube.refuses[None] = AWAY
        again.leadership.start()
        assert await until(lambda: again.leads) < 1.0
        assert again.terms == [2]
        await asyncio.gather(one.leadership.stop(), again.leadership.stop())

    run(play())


def test_one_that_ends_while_it_asks_for_the_lease_keeps_nobody_waiting() -> None:
    async def play() -> None:
        server = api()
        one, other = Candidate("one", server), Candidate("other", server)
        one.kube.keeps_answers = True
        one.leadership.start()
        await until(lambda: server.find(LEASES, "escrow", HOME))
        await one.leadership.stop()
        assert one.terms == []
        other.leadership.start()
        assert await until(lambda: other.leads) < TIMING.retry
        await other.leadership.stop()

    run(play())


def test_what_cannot_begin_lets_the_other_one_lead() -> None:
    async def fails() -> None:
        await asyncio.sleep(1.0)
        raise RuntimeError("a defect")

    async def play() -> None:
        server = api()
        broken, well = Candidate("broken", server, begins=fails), Candidate("well", server)
        broken.leadership.start()
        await until(lambda: broken.leads)
        well.leadership.start()
        await until(lambda: well.leads)
        assert broken.terms == [1]
        await asyncio.sleep(60.0)
        assert well.terms == [2]
        await asyncio.gather(broken.leadership.stop(), well.leadership.stop())

    run(play())


def test_a_loop_that_stands_still_is_not_alive() -> None:
    async def play() -> None:
        stuck = asyncio.Event()
        one = Candidate("one", api())

        async def rest() -> None:
            await stuck.wait()

        one.rest = rest  # type: ignore[method-assign]
        assert not one.leadership.is_alive, "it was not started"
        one.leadership.start()
        await until(lambda: one.leads)
        one.kube.refuses[None] = AWAY
        await until(lambda: not one.leads)
        assert one.leadership.is_alive
        await asyncio.sleep(SILENCE_SECONDS)
        assert not one.leadership.is_alive
        stuck.set()
        await one.leadership.stop()
        assert not one.leadership.is_alive

    run(play())


def test_who_wakes_up_when_its_term_is_over_begins_nothing() -> None:
    """The term is counted from before the request was sent, and the answer came late."""

    async def play() -> None:
        one = Candidate("one", api())
        one.leadership.start()
        await until(lambda: one.leads)
        one.kube.hangs = True
        await asyncio.sleep(TIMING.retry + 0.5)
        first = one.fence
        one.clock.uptime = lambda: asyncio.get_running_loop().time() + 60.0  # type: ignore[method-assign]
        assert not first.is_open
        one.kube.hangs = False
        await until(lambda: one.rests == 1)
        assert not first.is_open
        await until(lambda: one.leads)
        assert one.terms[0] == 1
        assert one.fence.term == one.terms[-1] > 1
        await one.leadership.stop()

    run(play())


def test_nobody_leads_while_an_operator_runs_that_knows_no_lease() -> None:
    async def play() -> None:
        server = api()
        old = {"metadata": {"name": "old", "namespace": HOME, "labels": OPERATORS}, "spec": {"containers": [{}]}}
        server.put(PODS, old)
        one = Candidate("one", server)
        one.leadership.start()
        await asyncio.sleep(120.0)
        assert not one.terms
        assert one.leadership.is_alive
        assert one.leadership.is_fresh
        await server.delete(PODS, HOME, "old")
        assert await until(lambda: one.leads) <= TIMING.retry + 0.1
        # Somebody goes back to the version of before, with the chart of now.
        server.put(PODS, old)
        await until(lambda: not one.leads, within=RENEWALS_PER_LOOK * TIMING.retry + 1.0)
        await asyncio.sleep(120.0)
        assert not one.leads
        assert (server.find(LEASES, "escrow", HOME) or {})["spec"]["holderIdentity"] == ""
        await one.leadership.stop()

    run(play())
