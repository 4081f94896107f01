"""The release as those see it who install it, upgrade it, and have it applied from a repository."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import sbom
from escrow_operator.adapters.kube import PODS
from escrow_operator.models.common import API_VERSION, ROLES
from harness.api import Body, is_ready
from harness.escrow import AMOUNT, Escrow, condition
from harness.gateway import GATEWAY
from harness.gateway import LABELS as GATEWAY_LABELS
from harness.operator import NAMESPACE, RELEASE
from harness.place import FIRST_PATIENCE, Place
from harness.waiting import wait_for
from harness.world import World
from testbed.errors import ToolingError
from testbed.helm import Helm
from testbed.settings import REPO_ROOT

ANOTHER = 1000650000
"""A user as OpenShift gives one to a namespace: no image knows it, and its group is 0."""

USER = {"runAsUser": ANOTHER, "runAsGroup": 0, "fsGroup": ANOTHER}

ALONE = True
"""The place of the next module is not made ready meanwhile: its slots would run as the other user."""


async def test_helm_test_passes(world: World) -> None:
    await asyncio.to_thread(Helm(world.cluster).test, RELEASE, NAMESPACE)


async def test_nothing_in_the_operators_image_runs_commands(world: World) -> None:
    (operator,) = await world.operator.pods()
    words = ("exec", "--namespace", NAMESPACE, operator["metadata"]["name"], "--")
    assert (await world.operator.python("print(6 * 7)")).strip() == "42"
    for shell in ("sh", "bash", "/bin/busybox", "/usr/bin/env", "perl"):
        with pytest.raises(ToolingError, match=r"no such file|not found"):
            await asyncio.to_thread(world.cluster.kubectl, *words, shell, "-c", "true")


async def test_the_list_of_what_is_in_the_image_has_all_that_was_locked(world: World) -> None:
    text = await asyncio.to_thread(
        sbom.of_image, world.cluster.engine, world.images.operator, "xmr-escrow-operator", "test"
    )
    listed = {part["purl"] for part in json.loads(text)["components"]}
    pins = re.findall(r"(?m)^([a-z0-9-]+)==([^ ;]+)", (REPO_ROOT / "requirements" / "operator.txt").read_text())
    assert len(pins) > 20
    assert {f"pkg:pypi/{name}@{version}" for name, version in pins} <= listed
    assert any(purl.startswith("pkg:deb/debian/ca-certificates@") for purl in listed)


async def differences(world: World, manifests: str, *args: str) -> str:
    """What applying would change; empty when it is nothing."""
    argv = ("diff", "--server-side", "--force-conflicts", *args, "-f", "-")
    try:
        # It fails when there are differences, and when it cannot tell.
        await asyncio.to_thread(world.cluster.kubectl, *argv, stdin=manifests)
    except ToolingError as error:
        shown = await asyncio.to_thread(world.cluster.kubectl, *argv, stdin=manifests, check=False)
        return shown or str(error)
    return ""


async def test_what_is_rendered_is_what_is_installed(world: World) -> None:
    """Whoever applies manifests again and again changes nothing."""
    # One that the chart makes would be another each time.
    tls = {"tls": {"secretName": f"{GATEWAY}-tls"}}
    manifests = await asyncio.to_thread(world.operator.rendered, world.images.operator, gateway=tls)
    assert await differences(world, manifests) == ""


@asynccontextmanager
async def upgraded(world: World) -> AsyncIterator[None]:
    """Another version, as far as the cluster can tell: other templates of all pods, and each runs as another user."""
    try:
        await asyncio.to_thread(
            world.operator.install,
            world.images.operator,
            podSecurityContext=USER,
            walletPods={"securityContext": USER, "annotations": {"example.com/version": "next"}},
        )
        await world.operator.until_ready()
        yield
    finally:
        await asyncio.to_thread(world.operator.install, world.images.operator)
        await world.operator.until_ready()


async def uids(escrow: Escrow) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await escrow.pods()}


def user_of(pod: Body) -> tuple[int, int]:
    security = pod["spec"]["securityContext"]
    return security["runAsUser"], security["runAsGroup"]


@pytest.mark.timeout(400, func_only=True)
async def test_an_upgrade_keeps_open_sessions_in_their_pods_and_leaves_manifests_true(
    world: World, place: Place
) -> None:
    """What was open stays so through two upgrades; what is new runs as a user that no image knows."""
    items = [
        {"apiVersion": API_VERSION, "kind": kind, "metadata": meta | {"namespace": place.namespace}, "spec": spec}
        for kind, meta, spec in (
            ("WalletPool", {"name": place.pool_name}, place.pool_spec()),
            ("EscrowSession", {"name": "kept"}, {"poolRef": {"name": place.pool_name}, "amount": AMOUNT}),
        )
    ]
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    await asyncio.to_thread(world.cluster.apply, manifests)
    kept = place.escrow("kept")
    before, held = await kept.until_active(), await uids(kept)

    async with kept.history() as history, upgraded(world):
        (operator,) = await world.operator.pods()
        gateways = await world.api.list(PODS, NAMESPACE, labels=GATEWAY_LABELS)
        running = [pod for pod in (operator, *gateways) if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        assert len(running) > 1
        assert {user_of(pod) for pod in running} == {(ANOTHER, 0)}

        async def renewed() -> bool:
            free = [pod for pod in await place.free_slots() if "deletionTimestamp" not in pod["metadata"]]
            noted = all("example.com/version" in pod["metadata"]["annotations"] for pod in free)
            return noted and len(free) == len(ROLES) and all(is_ready(p) and user_of(p) == (ANOTHER, 0) for p in free)

        await wait_for(renewed, what="free slots of the new template", explain=place.explain)
        fresh = place.escrow("fresh")
        await fresh.apply()
        # Keys are exchanged while pods of two upgrades come and go.
        await fresh.until_active(within=FIRST_PATIENCE)
        assert {user_of(pod) for pod in await fresh.pods()} == {(ANOTHER, 0)}
        await fresh.delete()
        assert await differences(world, manifests) == ""

    after = await kept.until_active()
    assert await uids(kept) == held
    assert (after["address"], after["openedAt"]) == (before["address"], before["openedAt"])
    assert {status["phase"] for status in history} == {"Active"}
    assert {condition(status, "Ready")["status"] for status in history} == {"True"}
    assert await differences(world, manifests) == "", "also when the operator was another one twice"
    await kept.delete()
