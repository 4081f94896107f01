"""Pods that stay the same objects but run anew, as after a restart of their node, and pods that have to be replaced."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest_asyncio

from escrow_operator.adapters.kube import ENDPOINT_SLICES, PODS, POOLS
from escrow_operator.models.common import ROLES, Label, Role
from harness.api import Body, is_ready
from harness.escrow import Escrow, condition
from harness.operator import OperatorUnderTest
from harness.place import POOL, Place
from harness.waiting import PATIENCE, wait_for
from testbed import regtest


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def steady(place: Place) -> Escrow:
    """An Active session."""
    return await place.active("steady")


async def _end_sandbox(place: Place, pod: Body) -> None:
    """What a restart of its node does to a pod: its network and all its processes are gone, the object stays."""
    node, uid = pod["spec"]["nodeName"], pod["metadata"]["uid"]
    sandbox = f'labels."io.kubernetes.pod.uid"=={uid},labels."io.cri-containerd.kind"==sandbox'
    ctr = ("exec", node, "ctr", "--namespace", "k8s.io")
    engine = place.world.cluster.engine
    found = await asyncio.to_thread(engine.capture, *ctr, "containers", "ls", "--quiet", sandbox)
    for name in found.split():
        await asyncio.to_thread(engine.capture, *ctr, "tasks", "kill", "--signal", "SIGKILL", name)


async def _host_names(place: Place, escrow: Escrow) -> dict[str, str]:
    """The address of each pod that the session's host names lead to."""
    body = await place.api.get(ENDPOINT_SLICES, place.namespace, f"{escrow.name}-wallets")
    return {e["targetRef"]["name"]: e["addresses"][0] for e in body["endpoints"] if e["conditions"]["ready"]}


def _address(pod: Body) -> str | None:
    found: str | None = pod["status"].get("podIP")
    return found


async def test_pods_that_come_back_with_other_addresses_are_followed_there(
    place: Place, steady: Escrow, operator: OperatorUnderTest
) -> None:
    before = await steady.until_active()
    former = {pod["metadata"]["name"]: pod for pod in await steady.pods()}
    async with steady.history() as history:
        await asyncio.gather(*(_end_sandbox(place, pod) for pod in former.values()))

        async def moved() -> list[Body] | None:
            pods = await steady.pods()
            elsewhere = (_address(pod) != _address(former[pod["metadata"]["name"]]) for pod in pods)
            return pods if all(map(is_ready, pods)) and all(elsewhere) else None

        pods = await wait_for(moved, what="the pods to have other addresses", explain=place.explain)
        assert {p["metadata"]["uid"] for p in pods} == {p["metadata"]["uid"] for p in former.values()}

        async def interrupted() -> bool:
            return any(condition(status, "Ready").get("status") == "False" for status in history)

        await wait_for(interrupted, what="Ready False", explain=steady.explain)
        after = await steady.until_active()
    places = {pod["metadata"]["name"]: _address(pod) for pod in pods}
    moved_to = {role: wallet | {"podIP": places[wallet["pod"]]} for role, wallet in before["wallets"].items()}
    assert (after["address"], after["wallets"]) == (before["address"], moved_to)
    assert await _host_names(place, steady) == {pod["metadata"]["name"]: _address(pod) for pod in pods}
    async with steady.wallets() as wallets:
        assert [await wallets[role].address() for role in ROLES] == [before["address"]] * len(ROLES)
    ip = next(_address(pod) for pod in pods if pod["metadata"]["labels"][Label.ROLE] == Role.VENDOR)
    host = (await steady.connection(Role.VENDOR))["host"]
    look_up = f"import json, socket; print(json.dumps(socket.gethostbyname_ex({host!r})[2]))"

    async def resolves() -> bool:
        addresses: list[str] = json.loads(await operator.python(look_up))
        return addresses == [ip]

    # CoreDNS caches an answer for a few seconds.
    await wait_for(resolves, what=f"{host} to be {ip} inside the cluster")
    assert "SlotReplaced" not in await steady.reasons()


async def test_a_changed_daemon_reaches_an_open_session_by_one_new_pod_after_the_other(
    place: Place, steady: Escrow
) -> None:
    before = await steady.until_active()
    former = {role: before["wallets"][role]["pod"] for role in ROLES}
    address = regtest.RPC_ADDRESS.replace(".svc:", ".svc.cluster.local:")
    assert address != regtest.RPC_ADDRESS
    async with steady.history() as history:
        await place.api.merge(POOLS, place.namespace, POOL, {"spec": {"daemon": {"address": address}}})
        await steady.until(
            lambda s: (
                condition(s, "Ready").get("status") == "True"
                and all(s["wallets"][role]["pod"] != former[role] for role in ROLES)
            ),
            "three other pods",
            within=2 * PATIENCE,
        )
    after = await steady.until_active()
    assert after["address"] == before["address"]
    open_with = [
        tuple(status["wallets"][role]["pod"] for role in ROLES)
        for status in history
        if condition(status, "Ready").get("status") == "True"
    ]
    steps = list(dict.fromkeys(open_with))
    changed = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in pairwise(steps)]
    assert changed == [1, 1, 1], steps
    for pod in steps[-1]:
        body = await place.api.get(PODS, place.namespace, pod)
        assert f"--daemon-address={address}" in body["spec"]["containers"][0]["args"]
    await steady.until_event("DaemonChanged", times=3)
    async with steady.wallets() as wallets:
        assert [await wallets[role].address() for role in ROLES] == [before["address"]] * len(ROLES)
