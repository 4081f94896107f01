"""Operators that know no lease are told from those that do, and from all other pods."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import NAMESPACES, PODS, Kube
from escrow_operator.adapters.kube_errors import UnavailableError
from escrow_operator.adapters.predecessors import LEASE_NAME, Predecessors
from harness.operator import RELEASE
from unit.kube import InstantKube
from unit.packaging.helm import render

HOME = "xmr-escrow-system"
LABELS = {"app.kubernetes.io/name": "xmr-escrow-operator", "app.kubernetes.io/instance": "one"}


@pytest.fixture
def kube() -> InstantKube:
    kube = InstantKube()
    kube.put(NAMESPACES, {"metadata": {"name": HOME}})
    return kube


def operators(kube: InstantKube, labels: dict[str, str] = LABELS) -> Predecessors:
    return Predecessors(cast("Kube", kube), HOME, labels, lease=RELEASE)


def pod(name: str, labels: dict[str, str] = LABELS, *, phase: str = "Running", **container: Any) -> dict[str, Any]:
    container = {"name": "operator", "image": "i", **container}
    return {
        "metadata": {"name": name, "namespace": HOME, "labels": labels},
        "spec": {"containers": [container]},
        "status": {"phase": phase},
    }


async def test_those_without_a_lease_are_found_until_they_are_gone(kube: InstantKube) -> None:
    kube.put(PODS, pod("old"))
    kube.put(PODS, pod("starts", phase="Pending"))
    kube.put(PODS, pod("ended", phase="Succeeded"))
    kube.put(PODS, pod("evicted", phase="Failed"))
    kube.put(PODS, pod("another-release", LABELS | {"app.kubernetes.io/instance": "two"}))
    assert await operators(kube).running() == ["old", "starts"]
    await kube.delete(PODS, HOME, "old")
    await kube.delete(PODS, HOME, "starts")
    assert await operators(kube).running() == []


async def test_what_the_chart_makes_is_none(kube: InstantKube) -> None:
    (deployment,) = [
        body
        for body in render({})
        if body["kind"] == "Deployment" and not body["metadata"]["name"].endswith("-gateway")
    ]
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    labels = template["metadata"]["labels"]
    del container["name"]
    kube.put(PODS, pod("new", labels, **container))
    kube.put(PODS, pod("of-another-lease", labels, **container | {"env": [{"name": LEASE_NAME, "value": "other"}]}))
    # As an older chart starts them; and as this one would start an older image, which has no such module.
    kube.put(PODS, pod("old", labels, env=container["env"]))
    apart = await operators(kube, deployment["spec"]["selector"]["matchLabels"]).running()
    assert apart == ["of-another-lease", "old"]
    assert find_spec(container["command"][-1]) is not None


async def test_an_api_server_that_does_not_say_is_no_answer(kube: InstantKube) -> None:
    kube.refuses[None] = UnavailableError(503, "Unavailable", "away")
    with pytest.raises(UnavailableError):
        await operators(kube).running()


async def test_without_labels_nobody_is_asked_for(kube: InstantKube) -> None:
    kube.put(PODS, pod("any", {}))
    assert await operators(kube, {}).running() == []
