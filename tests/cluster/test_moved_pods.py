"""Pods that stay the same objects but run anew, as after a restart of their node, and pods that have to be replaced."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest_asyncio

from escrow_operator.adapters.kube import ENDPOINT_SLICES, PODS, POOLS
from escrow_operator.models.common import ROLES, Role
from harness.api import Body
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
    """What a restart of the node does to one pod: its network and all its processes are gone, the object stays."""
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


async def test_a_pod_that_comes_back_with_another_address_is_followed_there(
    place: Place, steady: Escrow, operator: OperatorUnderTest
) -> None:
    before = await steady.until_active()
    name = before["wallets"]["vendor"]["pod"]
    old = await place.api.get(PODS, place.namespace, name)
    async with steady.history() as history:
        await _end_sandbox(place, old)

        async def moved() -> Body | None:
            pod = await place.api.get(PODS, place.namespace, name)
            ip = pod["status"].get("podIP")
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
            return pod if ready and ip not in (None, old["status"]["podIP"]) else None

        new = await wait_for(moved, what=f"pod {name} to have another address", explain=place.explain)
        assert new["metadata"]["uid"] == old["metadata"]["uid"]

        async def interrupted() -> bool:
            return any(condition(status, "Ready").get("status") == "False" for status in history)

        await wait_for(interrupted, what="Ready False", explain=steady.explain)
        after = await steady.until_active()
    assert (after["address"], after["wallets"]) == (before["address"], before["wallets"])
    ip = new["status"]["podIP"]
    assert (await _host_names(place, steady))[name] == ip
    async with steady.wallets(Role.VENDOR) as wallets:
        assert await wallets[Role.VENDOR].address() == before["address"]
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
