"""Who adopted what, as a watch tells it; load at a fixed rate; what kwok is told."""

from __future__ import annotations

import asyncio

import yaml

from benchmarks.fleet.client import Adoptions, in_parallel
from benchmarks.fleet.kwok import STAGES, node
from benchmarks.fleet.load import Load, offer
from escrow_operator.models.common import Label
from harness.api import ApiError, Body


def pod(uid: str, session: str, role: str) -> Body:
    return {"uid": uid, "labels": {Label.SESSION_UID: session, Label.ROLE: role}}


def adopted(*pods: tuple[str, str, str]) -> Adoptions:
    seen = Adoptions()
    for moment, (uid, session, role) in enumerate(pods):
        seen.see(pod(uid, session, role), float(moment))
    return seen


def test_a_session_is_complete_with_its_third_role() -> None:
    seen = adopted(("1", "s", "buyer"), ("1", "s", "buyer"), ("2", "s", "vendor"))
    assert seen.complete == {}
    seen.see(pod("3", "s", "arbiter"), 7.0)
    seen.see(pod("3", "s", "arbiter"), 8.0)
    assert seen.complete == {"s": 7.0}
    assert seen.twice() == 0


def test_a_pod_of_two_sessions_and_a_role_with_two_pods_are_noticed() -> None:
    assert adopted(("1", "s", "buyer"), ("1", "t", "buyer")).twice() == 1
    assert adopted(("1", "s", "buyer"), ("2", "s", "buyer")).twice() == 1


async def test_waiting_ends_with_the_last_session_or_the_time() -> None:
    seen = adopted(("1", "s", "buyer"), ("2", "s", "vendor"))
    assert not await seen.until(1, within=0.01)
    asyncio.get_running_loop().call_later(0.01, seen.see, pod("3", "s", "arbiter"), 1.0)
    assert await seen.until(1, within=5)


async def test_load_keeps_its_rate_whatever_the_answers_take() -> None:
    begun: list[float] = []
    loop = asyncio.get_running_loop()

    async def send(number: int) -> str:
        begun.append(loop.time())
        await asyncio.sleep(0.2)
        if number == 3:
            raise ApiError(409, "no")
        return str(number)

    sent = await offer(Load(50, 5), send)
    assert 0.07 < begun[-1] - begun[0] < 0.19
    assert set(sent.at) == {"0", "1", "2", "4"}
    assert sent.errors == ["ApiError: no"]
    assert sent.behind < 0.1
    assert (Load(50, 5).title, Load(None, 5).title) == ("50/s", "5 at once")


async def test_work_in_parallel_is_bounded_and_done_once() -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        await asyncio.sleep(0)
        done.append(item)

    await in_parallel(range(10), work, tasks=3)
    assert sorted(done) == list(range(10))


def test_stages_are_yaml() -> None:
    kinds = [document["metadata"]["name"] for document in yaml.safe_load_all(STAGES.read_text())]
    assert kinds == ["node-initialize", "pod-ready", "pod-delete"]


def test_simulated_nodes_take_no_other_pods() -> None:
    assert node(0)["spec"]["taints"][0]["effect"] == "NoSchedule"
